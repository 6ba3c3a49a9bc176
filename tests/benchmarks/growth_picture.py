"""The growth of costs as one picture: both axes logarithmic, a colour for each series, dashed for the barest way."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, log10

Row = tuple[str, int, float, float | None]
"""Series, count, ours and bare in milliseconds."""

_LEFT, _TOP, _WIDE, _HIGH = 70, 50, 560, 380  # pixels
_COLORS = ("#1f5fa8", "#2e7d52", "#b3402f", "#7a4fa3", "#8a6d1d")
_INK, _GRID = "#222222", "#dddddd"


def picture(rows: Sequence[Row]) -> str:
    """SVG. Series are drawn in the order in which they come."""
    scale = _Scale(rows)
    series = [list(group) for _, group in groupby(rows, key=lambda row: row[0])]
    drawn = "\n".join(_series(scale, each, _COLORS[at % len(_COLORS)], at) for at, each in enumerate(series))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 480" role="img" font-family="sans-serif"
  font-size="13">
<title>How cost grows</title>
<rect width="860" height="480" fill="#ffffff"/>
<text x="16" y="24" font-size="15" fill="{_INK}">Milliseconds by the number of each; dashed: the barest way</text>
{scale.grid()}
{drawn}
</svg>
"""


class _Scale:
    """Whole powers of ten around all values."""

    def __init__(self, rows: Sequence[Row]) -> None:
        costs = [cost for row in rows for cost in row[2:] if cost]
        self._x = _powers([row[1] for row in rows])
        self._y = _powers(costs)

    def at(self, count: float, cost: float) -> tuple[float, float]:
        """Pixels."""
        x = _LEFT + _WIDE * (log10(count) - self._x[0]) / (self._x[1] - self._x[0])
        return x, _TOP + _HIGH * (self._y[1] - log10(cost)) / (self._y[1] - self._y[0])

    def grid(self) -> str:
        """A line and its number for each power."""
        return "\n".join(
            [
                *map(self._upright, range(self._x[0], self._x[1] + 1)),
                *map(self._level, range(self._y[0], self._y[1] + 1)),
            ]
        )

    def _upright(self, power: int) -> str:
        x, _ = self.at(10**power, 10 ** self._y[0])
        line = f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _HIGH}" stroke="{_GRID}"/>'
        return (
            f'{line}<text x="{x:.1f}" y="{_TOP + _HIGH + 20}" text-anchor="middle" fill="{_INK}">{10**power:,}</text>'
        )

    def _level(self, power: int) -> str:
        _, y = self.at(10 ** self._x[0], 10**power)
        line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDE}" y2="{y:.1f}" stroke="{_GRID}"/>'
        return f'{line}<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_INK}">{10**power:,} ms</text>'


def _powers(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def _series(scale: _Scale, rows: Sequence[Row], color: str, place: int) -> str:
    ours = [scale.at(row[1], row[2]) for row in rows]
    bare = [scale.at(row[1], row[3]) for row in rows if row[3]]
    name = f'<text x="{_LEFT + _WIDE + 20}" y="{_TOP + 20 + 24 * place}" fill="{color}">{escape(rows[0][0])}</text>'
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in ours)
    return _line(ours, color) + (_line(bare, color, 'stroke-dasharray="5 4"') if bare else "") + dots + name


def _line(points: Sequence[tuple[float, float]], color: str, more: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2" {more}/>'
