"""A JobQueue that answers at once: one thread sends to Redis what all requests enqueue, several jobs in one exchange.

Whoever recorded a run need not wait for Redis: the run's row is the truth, and the sweeper gives a job to every run whose
job never arrived. So a Redis that is down, slow or silent costs this thread's time and nobody else's.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Sequence

from app.domain.errors import SyncError
from app.domain.run import Lane
from app.services.ports import JobQueue

log = logging.getLogger(__name__)

Job = tuple[str, str, str]
"""Job id, run id, lane."""
_GATHER_SECONDS = 0.03


class BackgroundQueue:
    """JobQueue in front of another one. `most` jobs wait here at a time; after a failure nothing is sent for `pause_seconds`."""

    def __init__(self, queue: JobQueue, *, most: int = 5000, batch: int = 200, pause_seconds: float = 1.0) -> None:
        self._queue, self._most, self._batch, self._pause = queue, most, batch, pause_seconds
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._crowded = False  # several jobs went together: more are on their way
        self._process: int | None = None
        self._thread: threading.Thread | None = None

    def enqueue(self, job_id: str, run_id: str, lane: str = Lane.LIVE, *, first: bool = False) -> None:  # noqa: ARG002
        """See ports.JobQueue; requests bring nothing that was interrupted, so all of it waits its turn."""
        self.enqueue_all([(job_id, run_id)], lane)

    def enqueue_all(self, jobs: Sequence[tuple[str, str]], lane: str = Lane.LIVE) -> None:
        """Take the jobs over. Error: `queue_unavailable` when too many wait already, or no thread is to be had."""
        with self._changed:
            if len(self._waiting) + len(jobs) > self._most:
                raise SyncError("queue_unavailable", f"{len(self._waiting)} jobs wait for Redis")
            try:
                self._start()
            except RuntimeError as error:
                raise SyncError("queue_unavailable", f"no thread can be started that sends jobs: {error}") from error
            self._waiting.extend((job, run, lane) for job, run in jobs)
            self._changed.notify()

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        """See ports.JobQueue."""
        return self._queue.waiting(job_ids)

    def close(self, seconds: float = 1.0) -> None:
        """Send what waits, for at most `seconds`; the sweeper does the rest."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        if self._thread and self._process == os.getpid():
            self._thread.join(seconds)

    def _start(self) -> None:
        # A thread does not survive a fork: each process starts its own, with its first job.
        if self._process == os.getpid():
            return
        thread = threading.Thread(target=self._run, name="enqueue", daemon=True)
        thread.start()
        # Not before: where none can be started, the next job tries again.
        self._process, self._thread = os.getpid(), thread
        atexit.register(self.close)

    def _run(self) -> None:
        while jobs := self._next():
            try:
                self._send(jobs)
            except SyncError as error:
                log.warning("enqueue_failed", extra={"jobs": len(jobs), "run": jobs[0][1], "code": error.code})
                self._stop.wait(self._pause)
            except Exception:
                log.exception("enqueue_defect")  # the thread must outlive it; the sweeper finds the jobs' runs
                self._stop.wait(self._pause)

    def _send(self, jobs: Sequence[Job]) -> None:
        for lane in Lane:
            if of_lane := [(job, run) for job, run, each in jobs if each == lane]:
                self._queue.enqueue_all(of_lane, lane)

    def _next(self) -> list[Job]:
        """The next jobs to send; [] when it is time to end."""
        with self._changed:
            while not self._waiting and not self._stop.is_set():
                self._changed.wait()
        if self._crowded:
            # Others are about to enqueue, too: together they cost a fraction, and nobody waits for this.
            self._stop.wait(_GATHER_SECONDS)
        with self._changed:
            jobs, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
        self._crowded = len(jobs) > 1
        return jobs
