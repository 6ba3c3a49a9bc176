"""For how long a shared cache may keep an answer (RFC 9111), and what fits the GOPROXY protocol's kinds of files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from app.doctor.conformance import Check, Outcome, judged, said
from app.doctor.observed import Failure
from app.domain.http_date import http_date

Kind = Literal["moving", "miss", "fixed"]

_LONGEST = {"moving": 3600, "miss": 300}
_DIRECTIVE = re.compile(r"""([a-z-]+)(?:\s*=\s*"?([^",\s]*)"?)?""")


def directives(control: str) -> dict[str, str]:
    """Cache-Control's directives, lower case, with their values ("" for none)."""
    return {match[1]: match[2] or "" for match in _DIRECTIVE.finditer(control.lower())}


def lifetime(headers: Mapping[str, str], now: datetime) -> int | None:
    """Seconds for which some cache may keep it unasked, the longest one counts; None: nobody says. `now`: aware."""
    control = directives(headers.get("cache-control", ""))
    if {"no-store", "no-cache"} & control.keys():
        return 0
    ages = [int(control[name]) for name in ("s-maxage", "max-age") if control.get(name, "").isdigit()]
    if ages:
        return max(ages)
    if "expires" not in headers:
        return None
    ends = http_date(headers["expires"])  # what is no date lies in the past
    return max(0, int((ends - (http_date(headers.get("date", "")) or now)).total_seconds())) if ends else 0


def check_caching(title: str, kind: Kind, outcomes: Sequence[Outcome]) -> Check:
    """What is fixed may be kept, what moves (list, @latest) and misses must not be for long; the first fault is told."""
    checks = [_checked(title, kind, outcome) for outcome in outcomes]
    return next((check for check in checks if check.result != "pass"), checks[0])


def _checked(title: str, kind: Kind, outcome: Outcome) -> Check:
    if isinstance(outcome, Failure):
        return judged(title, False, said(outcome), "an answer")
    said_of_it = (
        f"{name}: {outcome.headers[name]}" for name in ("cache-control", "expires") if name in outcome.headers
    )
    seen = f"{outcome.url.rpartition('/')[2]}: {', '.join(said_of_it) or 'nothing said'}"
    control = directives(outcome.headers.get("cache-control", ""))
    if kind == "fixed":
        fine = outcome.status != 200 or "no-store" not in control  # an error may well be forbidden to keep
        return judged(title, fine, seen, "not no-store: it never changes")
    longest, age = _LONGEST[kind], lifetime(outcome.headers, datetime.now(UTC))
    fine = "immutable" not in control and (age is None or age <= longest)
    return judged(title, fine, seen, f"kept for {longest} s at most: new versions must show")
