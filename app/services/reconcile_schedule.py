"""Gives each repository a reconcile job when it is due; no more at a time than the request rate allows."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.run import Lane
from app.services.ports import Clock
from app.services.reconcile_values import RepositoryStore

log = logging.getLogger(__name__)

JOB = "reconcile_repository"
_REQUESTS = 4  # that a repository takes: source, mirror, proxy, and one for a second module
_AGAIN = timedelta(minutes=30)  # a job that did not end by then is given up: lost with Redis, or its source was down
_MOST = 100


class CallQueue(Protocol):
    """RQ for jobs that are no run's."""

    def call(self, function: str, argument: str, job_id: str, lane: str) -> None:
        """Enqueue `workers.jobs.<function>(argument)`. Error: `queue_unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """See [reconcile] in the configuration; `interval_hours` 0: nothing by schedule."""

    interval_hours: float
    requests_per_second: float


class ReconcileSchedule:
    """Looked at every few seconds by the one sweeper that has the duty."""

    def __init__(self, store: RepositoryStore, queue: CallQueue, clock: Clock, options: ScheduleOptions) -> None:
        self._store, self._queue, self._clock, self._options = store, queue, clock, options
        self._looked: datetime | None = None

    def once(self) -> int:
        """One look; how many jobs were enqueued. Errors: store_unavailable, queue_unavailable."""
        if not self._options.interval_hours:
            return 0
        now = self._clock.now()
        room = self._room(now)
        if not room:
            return 0
        due = self._store.due(now - timedelta(hours=self._options.interval_hours), now - _AGAIN, room)
        self._looked = now
        return sum(self._give(mirror, now) for mirror in due)

    def _room(self, now: datetime) -> int:
        """How many repositories the time since the last look allows; the rest of a repository is not lost."""
        if self._looked is None:
            return 1
        seconds = (now - self._looked).total_seconds()
        return min(_MOST, int(seconds * self._options.requests_per_second / _REQUESTS))

    def _give(self, mirror: str, now: datetime) -> bool:
        if not self._store.give_job(mirror, now - _AGAIN, now):
            return False
        digest = hashlib.sha256(mirror.encode()).hexdigest()[:16]
        self._queue.call(JOB, mirror, f"reconcile-{digest}-{int(now.timestamp())}", Lane.BACKFILL)
        return True
