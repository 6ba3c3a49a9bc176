"""The lines of a run as a JSON file, a table and a picture: bars of ratio against target."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from tests.benchmarks.harness import Line

_LEFT, _WIDE, _ROW, _TOP = 230, 420, 26, 56  # pixels
_MOST = 2.0  # targets on the scale: a bar that is longer is cut, its number says all
_GOOD, _BAD, _INK, _PALE = "#2e7d52", "#b3402f", "#222222", "#8a8a8a"


def write(lines: Sequence[Line], directory: Path, name: str) -> None:
    """Write `<name>.json`, `<name>.md` (a table) and `<name>.svg` to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "system": platform.platform(terse=True), "python": platform.python_version()}
    figures = [{**asdict(line), "ratio": line.ratio, "met": line.met} for line in lines]
    told = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "figures": figures}
    (directory / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    (directory / f"{name}.md").write_text(table(lines))
    (directory / f"{name}.svg").write_text(picture(lines))


def table(lines: Sequence[Line]) -> str:
    """For docs/performance.md."""
    head = "| figure | ours | bare | ratio | target | |\n|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| {line.name} | {line.ours:.2f} {line.unit} | {line.bare:.2f} {line.unit} | {line.ratio:.2f} | {line.target:.2f} "
        f"| {'met' if line.met else '**missed**'} |\n"
        for line in lines
    )


def picture(lines: Sequence[Line]) -> str:
    """A bar for each line, as long as its ratio is of its target; the upright line is the target."""
    height = _TOP + _ROW * len(lines) + 16
    rows = "\n".join(_row(line, _TOP + _ROW * number) for number, line in enumerate(lines))
    target = _LEFT + _WIDE / _MOST
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {height}" role="img" font-family="sans-serif"
  font-size="13">
<title>Cost against the barest way, as a share of the target</title>
<rect width="860" height="{height}" fill="#ffffff"/>
<text x="16" y="24" font-size="15" fill="{_INK}">Cost against the barest way: lower is better</text>
{rows}
<line x1="{target}" y1="{_TOP - 14}" x2="{target}" y2="{height - 12}" stroke="{_INK}" stroke-dasharray="4 3"/>
<text x="{target}" y="{_TOP - 18}" text-anchor="middle" fill="{_INK}">target</text>
</svg>
"""


def _row(line: Line, top: float) -> str:
    share = min(line.ratio / line.target, _MOST)
    color = _GOOD if line.met else _BAD
    said = f"{line.ratio:.2f} (target {line.target:.2f})"
    return (
        f'<text x="{_LEFT - 10}" y="{top + 15}" text-anchor="end" fill="{_INK}">{escape(line.name)}</text>'
        f'<rect x="{_LEFT}" y="{top + 3}" width="{share * _WIDE / _MOST:.1f}" height="16" fill="{color}"/>'
        f'<text x="{_LEFT + _WIDE + 10}" y="{top + 15}" fill="{_INK if line.met else _BAD}">{said}</text>'
    )
