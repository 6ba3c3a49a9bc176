"""What the doctor prints: text for people, JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from app.doctor.conformance import Check
from app.doctor.explain import Explained
from app.doctor.findings import Finding
from app.doctor.observed import Observed
from app.doctor.settings import shown, shown_goproxy

_WIDTH = 100


def findings_json(findings: Sequence[Finding], **more: object) -> str:
    """`{findings: [{code, seen, why, fix, docs}], ...more}`."""
    return json.dumps({"findings": [finding.as_json() for finding in findings], **more}, indent=2, ensure_ascii=False)


def findings_text(findings: Sequence[Finding]) -> Iterator[str]:
    """A block for each finding."""
    for finding in findings:
        yield f"[{finding.code}]"
        yield _block("seen", finding.seen)
        yield _block("why", finding.why)
        yield _commands(finding.fix)
        yield f"  read  {finding.docs}\n"


def healthy_text(observed: Observed) -> str:
    """What was looked at when nothing was found."""
    asked = ", ".join(dict.fromkeys(shown(request.url) for request in observed.requests)) or "nobody"
    return f"Nothing found: GOPROXY={shown_goproxy(observed.settings['GOPROXY'])}; asked {asked}."


def explained_text(explained: Explained) -> Iterator[str]:
    """The findings, then the lines that no rule knows."""
    yield from findings_text(explained.findings)
    if explained.unexplained:
        yield "Not explained:"
        yield from (f"  {line}" for line in explained.unexplained)
    elif not explained.findings:
        yield "No error of go's in this text."


def checks_json(checks: Sequence[Check], url: str) -> str:
    """`{url, passed, checks: [{name, result, seen, wanted}]}`."""
    rows = [{"name": item.name, "result": item.result, "seen": item.seen, "wanted": item.wanted} for item in checks]
    passed = all(item.result != "fail" for item in checks)
    return json.dumps({"url": shown(url), "passed": passed, "checks": rows}, indent=2, ensure_ascii=False)


def checks_text(checks: Sequence[Check]) -> Iterator[str]:
    """A table: result, name, what was seen; of failures what the protocol wants, too."""
    width = max((len(item.name) for item in checks), default=0)
    for item in checks:
        yield f"{item.result:<4}  {item.name:<{width}}  {item.seen}"
        if item.result == "fail":
            yield f"{'':<4}  {'':<{width}}  wanted: {item.wanted}"
    counts = {result: sum(item.result == result for item in checks) for result in ("pass", "fail", "skip")}
    yield "\n" + ", ".join(f"{count} {result}" for result, count in counts.items())


def _block(name: str, text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=f"  {name:<4}  ", subsequent_indent=" " * 8, break_long_words=False
    )


def _commands(fix: str) -> str:
    return textwrap.indent(fix, " " * 8).replace(" " * 8, "  fix   ", 1)
