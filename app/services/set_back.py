"""What is to be done about times that lie in the future, because a clock was set back after they were written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from app.services.ports import Clock

log = logging.getLogger(__name__)

SKEW = timedelta(seconds=60)
"""By so much hosts' clocks may differ; what lies further ahead than any of them would write is wrong."""
_LOOK_SECONDS = 30.0


class SetBackStore(Protocol):
    """Times of runs and mirrors. Errors: store_unavailable."""

    def bring_back(self, now: datetime, ahead: datetime, lease_ahead: datetime) -> int:
        """Let wait until now only what would wait for a time that was written after `ahead`; leases that end after
        `lease_ahead` end now. How many runs and mirrors that were."""
        ...


class SetBack:
    """Runs must not wait as long as a clock was set back: their leases, jobs and due times look hours ahead then."""

    def __init__(
        self, store: SetBackStore, clock: Clock, lease_seconds: float, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._clock, self._lease, self._ticks = store, clock, timedelta(seconds=lease_seconds), ticks
        self._next = float("-inf")

    def once(self) -> int:
        """Look, twice a minute at most; how many were brought back. Error: store_unavailable."""
        if self._ticks() < self._next:
            return 0
        self._next = self._ticks() + _LOOK_SECONDS
        now = self._clock.now()
        count = self._store.bring_back(now, now + SKEW, now + SKEW + self._lease)
        if count:
            log.warning("clock_set_back", extra={"count": count})
        return count
