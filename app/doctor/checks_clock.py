"""Is this machine's clock right? Servers' Date headers say so; caches' do not (they carry Age)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.doctor.findings import Finding, found
from app.doctor.observed import Answer, Failure, Observed
from app.domain.http_date import http_date

_TOLERATED = timedelta(minutes=5)
_COMPARE = "date -u   # compare it with a clock that you trust; only if this one is wrong:"
_FIX = "sudo timedatectl set-ntp true   # or set the clock by hand: sudo date -u -s '{}'"


def check_clock(observed: Observed) -> Iterator[Finding]:
    """At most one finding: every server that told the time must disagree, for one may be wrong itself."""
    answers = [request.outcome for request in observed.requests if isinstance(request.outcome, Answer)]
    times = [(urlsplit(answer.url).hostname, moment) for answer in answers if (moment := _date(answer)) is not None]
    if not times or any(abs(moment - observed.now) <= _TOLERATED for _, moment in times):
        return
    hosts = {host for host, _ in times}
    if len(hosts) > 1:
        yield _wrong(times[0][1], observed.now, f"{len(hosts)} servers")
    else:  # which of the two is wrong cannot be told from here
        yield _wrong(times[0][1], observed.now, f"{times[0][0]}, whose own clock may be the wrong one", _COMPARE)


def clock_of_failure(failure: Failure, now: datetime) -> Finding | None:
    """Whether a certificate looks expired only because the clock here is wrong."""
    if failure.server_time is None or abs(failure.server_time - now) <= _TOLERATED:
        return None
    return _wrong(failure.server_time, now, f"{failure.detail}, and the server's clock")


def _wrong(there: datetime, now: datetime, by: str, first: str = "") -> Finding:
    seen = f"{by}: it is {there:%Y-%m-%d %H:%M} UTC; here it is {now:%Y-%m-%d %H:%M}"
    return found("clock-wrong", seen, *([first] if first else []), _FIX.format(f"{there:%Y-%m-%d %H:%M:%S}"))


def _date(answer: Answer) -> datetime | None:
    return None if "age" in answer.headers else http_date(answer.headers.get("date", ""))
