"""Pure decision after an error: when to try again, or to give up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.errors import Retry, SyncError

_SPREAD = 10  # what waits as long as it was told comes within a tenth of that more
_LONGEST_SPREAD = 30.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays in seconds. `give_up_after` bounds BACKOFF errors, `patience` those that are expected to appear."""

    first: float = 1.0
    factor: float = 2.0
    longest: float = 60.0
    give_up_after: float = 3600.0
    patience: float = 900.0


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The run waits until `at` and then repeats its stage."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run ends with this error."""


def decide(
    policy: RetryPolicy, error: SyncError, *, tries: int, since: datetime, now: datetime, chance: float
) -> TryAgain | GiveUp:
    """Decide after the `tries`-th (from 1) failure of a stage that began at `since`.

    `chance` in [0, 1) spreads the delays ("equal jitter": half fixed, half random), so that many runs that failed
    together do not come back together. A Retry-After of the other side is a lower bound, and never jittered below: who
    was held off by it comes within a tenth of it more (30 s at most).
    """
    limit = {Retry.NEVER: 0.0, Retry.BACKOFF: policy.give_up_after, Retry.PATIENT: policy.patience}[error.kind.retry]
    waited = (now - since).total_seconds()
    if waited >= limit:
        return GiveUp()
    base = min(policy.longest, policy.first * policy.factor ** min(tries - 1, 32))
    delay = base / 2 + base / 2 * chance
    delay = min(delay, max(limit - waited, policy.first / 2))
    if error.retry_after is not None:
        spread = min(error.retry_after / _SPREAD, _LONGEST_SPREAD)
        delay = max(delay, error.retry_after + spread * chance)
    return TryAgain(now + timedelta(seconds=delay))
