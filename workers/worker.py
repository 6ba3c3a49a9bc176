"""An RQ worker that stops in time, notices dead peers soon, and registers itself again after Redis forgot it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from redis import Redis
from rq import Queue, Worker, worker_registration
from rq.serializers import JSONSerializer

from app.adapters.job_queue import JOB_SECONDS
from workers import jobs

log = logging.getLogger(__name__)

# A stopping worker gives its job this long to end or to hand its run back; then the lease does the rest. honcho waits 5 s.
STOP_SECONDS = 3.5


class SyncWorker(Worker):
    """One queue per worker: on several, a job taken as the worker dies is in no list any more (references/rq.md)."""

    def __init__(self, queue: str, redis: Redis) -> None:
        super().__init__(
            [Queue(queue, connection=redis, serializer=JSONSerializer, default_timeout=JOB_SECONDS)],
            connection=redis, serializer=JSONSerializer, worker_ttl=25, job_monitoring_interval=5,
            maintenance_interval=10, log_job_description=False,
        )  # fmt: skip

    @property
    def stopping(self) -> bool:
        """True once a signal asked it to stop."""
        return self.shutdown_requested_date is not None or self._stop_requested

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """As RQ does, and be known again: a Redis that lost its memory has no list of workers."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None and not self._is_horse:
            worker_registration.register(self)

    def handle_warm_shutdown_request(self) -> None:
        """Tell the job at once, and end it when it does not listen: SIGTERM to exit stays below ten seconds."""
        pid = self.horse_pid
        if not pid:
            return
        _signal(pid, signal.SIGTERM)
        timer = threading.Timer(STOP_SECONDS, _signal, (pid, signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def setup_work_horse_signals(self) -> None:
        """The job's process: Ctrl+C is the parent's business, SIGTERM asks the flow to hand back."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _ask_to_stop)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("job_ended_first", extra={"pid": pid})


def _ask_to_stop(_number: int, _frame: object) -> None:
    jobs.stop()
