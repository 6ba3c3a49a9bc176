"""The sweeper's look: runs that should be at work and are not get a new job. The run row is the outbox."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from app.services import log_ids
from app.services.ports import Clock, JobQueue
from app.services.stores import DueRun, SweepStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """`grace_seconds`: how long a job may be under way before Redis is asked for it; `batch`: runs per look."""

    grace_seconds: float = 4.0
    batch: int = 200


class Sweep:
    """Gives a job to each run that is due and has none; Redis being away is waited out."""

    def __init__(self, store: SweepStore, queue: JobQueue, clock: Clock, options: SweepOptions) -> None:
        self._store, self._queue, self._clock, self._options = store, queue, clock, options

    def once(self) -> int:
        """One look; returns how many jobs were enqueued. Errors: store_unavailable, queue_unavailable (it ends the look)."""
        now = self._clock.now()
        due = self._store.due(now, now - timedelta(seconds=self._options.grace_seconds), self._options.batch)
        if not due:
            return 0
        suspects = [run.job for run in due if run.job and run.job_at]
        # Asked also with nothing to look for: with Redis away no job ids are spent.
        waiting = self._queue.waiting(suspects)
        alive = [run.id for run in due if run.job_at and run.job in waiting]
        self._store.still_queued(alive, now)
        return sum(self._give(run) for run in due if run.id not in alive)

    def _give(self, run: DueRun) -> bool:
        with log_ids.about(run=run.id, delivery=run.delivery):
            return self._given(run)

    def _given(self, run: DueRun) -> bool:
        job = self._store.give_job(run, self._clock.now())
        if job is None:
            return False
        # Redis may hang, half a second each time: the rest of the batch is better off with the next look.
        self._queue.enqueue(job, run.id, run.lane, first=run.interrupted)
        log.info("job_given", extra={"run": run.id, "job": job})
        return True
