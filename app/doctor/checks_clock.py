"""Is this machine's clock right? Servers' Date headers say so; caches' do not (they carry Age)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.doctor.findings import Finding, found
from app.doctor.observed import Answer, Failure, Observed

_TOLERATED = timedelta(minutes=5)
_FIX = "sudo timedatectl set-ntp true   # or set the clock by hand: sudo date -u -s '{}'"


def check_clock(observed: Observed) -> Iterator[Finding]:
    """At most one finding: every server that told the time must disagree, for one may be wrong itself."""
    answers = [request.outcome for request in observed.requests if isinstance(request.outcome, Answer)]
    times = [moment for answer in answers if (moment := _date(answer)) is not None]
    if times and all(abs(moment - observed.now) > _TOLERATED for moment in times):
        yield _wrong(times[0], observed.now, f"{len(times)} answers")


def clock_of_failure(failure: Failure, now: datetime) -> Finding | None:
    """Whether a certificate looks expired only because the clock here is wrong."""
    if failure.server_time is None or abs(failure.server_time - now) <= _TOLERATED:
        return None
    return _wrong(failure.server_time, now, f"{failure.detail}, and the server's clock")


def _wrong(there: datetime, now: datetime, by: str) -> Finding:
    seen = f"{by}: it is {there:%Y-%m-%d %H:%M} UTC; here it is {now:%Y-%m-%d %H:%M}"
    return found("clock-wrong", seen, _FIX.format(f"{there:%Y-%m-%d %H:%M:%S}"))


def _date(answer: Answer) -> datetime | None:
    if "age" in answer.headers:
        return None
    try:
        moment = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
