"""The sweeper's look: runs that should be at work and are not get a new job. The run row is the outbox."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.domain.run import Lane
from app.services import log_ids
from app.services.ports import Clock, JobQueue
from app.services.stores import DueRun, SweepStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """`grace_seconds`: how long a job may be under way before Redis is asked for it; `batch`: runs of a lane per look.

    While looks are full another one follows, for `seconds` together: the duty of sweeping is kept for some more.
    """

    grace_seconds: float = 4.0
    batch: int = 500
    seconds: float = 1.0


_LOOKS = 100  # at a time, however fast they are


class Sweep:
    """Gives a job to each run that is due and has none; Redis being away is waited out."""

    def __init__(self, store: SweepStore, queue: JobQueue, clock: Clock, options: SweepOptions) -> None:
        self._store, self._queue, self._clock, self._options = store, queue, clock, options

    def once(self) -> int:
        """Look until all was seen; how many jobs were enqueued. Errors: store_unavailable, queue_unavailable (they end it)."""
        end = self._clock.now() + timedelta(seconds=self._options.seconds)
        given = 0
        for _ in range(_LOOKS):
            due = self._due()
            given += self._put_right(due)
            if not self._is_full(due) or self._clock.now() >= end:
                break
        return given

    def _due(self) -> list[DueRun]:
        now = self._clock.now()
        return self._store.due(now, now - timedelta(seconds=self._options.grace_seconds), self._options.batch)

    def _is_full(self, due: Sequence[DueRun]) -> bool:
        return any(sum(run.lane == lane for run in due) >= self._options.batch for lane in Lane)

    def _put_right(self, due: Sequence[DueRun]) -> int:
        if not due:
            return 0
        suspects = [run.job for run in due if run.job and run.job_at]
        # Asked also with nothing to look for: with Redis away no job ids are spent.
        waiting = self._queue.waiting(suspects)
        alive = {run.id for run in due if run.job_at and run.job in waiting}
        self._store.still_queued(list(alive), self._clock.now())
        return self._give([run for run in due if run.id not in alive])

    def _give(self, due: Sequence[DueRun]) -> int:
        """One transaction, then one exchange with Redis for each lane: many lost jobs are soon back, too."""
        jobs = self._store.give_jobs(due, self._clock.now())
        given = [run for run in due if run.id in jobs]
        # Redis may hang, half a second each time: what is left then is found by a later look.
        for run in reversed([run for run in given if run.interrupted]):
            self._queue.enqueue(jobs[run.id], run.id, run.lane, first=True)
        for lane in Lane:
            others = [(jobs[run.id], run.id) for run in given if run.lane == lane and not run.interrupted]
            if others:
                self._queue.enqueue_all(others, lane)
        for run in given:
            with log_ids.about(run=run.id, delivery=run.delivery):
                log.info("job_given", extra={"run": run.id, "job": jobs[run.id]})
        return len(given)
