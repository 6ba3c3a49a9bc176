"""Gives each repository a reconcile job when it is due; no more at a time than the request rate allows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.ids import CallId
from app.domain.pause import Pause, PauseKind
from app.domain.run import Lane
from app.services.ports import Clock
from app.services.reconcile_values import MOST_LOST, RepositoryStore

log = logging.getLogger(__name__)

JOB = "reconcile_repository"
SEARCH = "find_unknown_mirrors"
_SEARCHED_EVERY = timedelta(hours=24)
_REQUESTS = 4  # that a repository takes: source, mirror, proxy, and one for a second module
_AGAIN = timedelta(minutes=30)  # after an error: its source was down
# A job gives signs of life (reconcile_job.py): one that is silent for so long, and in no queue, is lost.
LOST = timedelta(seconds=35)
_MOST = 100
_PAGE = 1000  # silent jobs that are looked for in Redis at once


class CallQueue(Protocol):
    """RQ for jobs that are no run's."""

    def call(self, function: str, argument: str, job_id: str, lane: str) -> None:
        """Enqueue `workers.jobs.<function>(argument)`. Error: `queue_unavailable`."""
        ...

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        """See ports.JobQueue."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """See [reconcile] in the configuration; `interval_hours` 0: nothing by schedule."""

    interval_hours: float
    requests_per_second: float


class ReconcileSchedule:
    """Looked at every few seconds by the one sweeper that has the duty."""

    def __init__(
        self, store: RepositoryStore, queue: CallQueue, clock: Clock, options: ScheduleOptions,
        pauses: Callable[[], Sequence[Pause]] = tuple,
    ) -> None:  # fmt: skip
        self._store, self._queue, self._clock, self._options = store, queue, clock, options
        self._pauses = pauses
        self._looked: datetime | None = None
        self._searches_lost = 0

    def once(self) -> int:
        """One look; how many jobs were enqueued. Errors: store_unavailable, queue_unavailable.

        None while all is paused; of another pause the job says that it holds its repository. Lost jobs are noticed always:
        without a schedule, too, somebody may have asked for a comparison (wanted.py).
        """
        now = self._clock.now()
        self._free_lost(now)
        if not self._options.interval_hours or any(pause.kind is PauseKind.ALL for pause in self._pauses()):
            return 0
        self._search(now)
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
        self._looked = min(self._looked, now)  # a clock was set back
        seconds = (now - self._looked).total_seconds()
        return min(_MOST, int(seconds * self._options.requests_per_second / _REQUESTS))

    def _give(self, mirror: str, now: datetime) -> bool:
        if not self._store.give_job(mirror, now - _AGAIN, now):
            return False
        self._queue.call(JOB, mirror, str(CallId.of(mirror, now)), Lane.BACKFILL)
        return True

    def _search(self, now: datetime) -> None:
        """Once a day: what the database does not know is due from then on, too."""
        last = self._store.searched_at()
        if (last is None or now - last >= _SEARCHED_EVERY) and self._is_search_free(now):
            self._store.search_at_work(now)
            self._queue.call(SEARCH, SEARCH, str(CallId.of(SEARCH, now)), Lane.BACKFILL)

    def _is_search_free(self, now: datetime) -> bool:
        """No job is under way for it; as with repositories, one that is silent and in no queue is lost."""
        job = self._store.search_job()
        if job is None:
            self._searches_lost = 0
            return True
        given, error = job
        if error:
            return now - given >= _AGAIN
        call = str(CallId.of(SEARCH, given))
        if now - given < LOST or call in self._queue.waiting([call]):
            return False
        return self._may_be_lost_again(now)

    def _may_be_lost_again(self, now: datetime) -> bool:
        """A search that kills its worker each time waits as after an error, and lets others work."""
        self._searches_lost += 1
        log.info("search_job_lost", extra={"times": self._searches_lost})
        if self._searches_lost < MOST_LOST:
            return True
        self._searches_lost = 0
        self._store.search_at_work(now, "internal")
        return False

    def _free_lost(self, now: datetime) -> None:
        """Jobs that were killed, or lost with Redis, or never got there: their repositories are due again.

        All of them are looked at, however many wait: behind a long backfill the oldest are no lost ones.
        """
        after: tuple[str, datetime] | None = None
        while silent := self._store.silent_jobs(now - LOST, _PAGE, after):
            after = silent[-1]
            # The id of a job that did not begin yet; of one that did, it is in no queue any more.
            ids = {str(CallId.of(mirror, given)): (mirror, given) for mirror, given in silent}
            for job in ids.keys() - self._queue.waiting(list(ids)):
                self._store.lost_job(*ids[job], now)
                log.info("reconcile_job_lost", extra={"mirror": ids[job][0]})
