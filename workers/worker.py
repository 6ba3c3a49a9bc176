"""An RQ worker that stops in time, ends with its parent, outlives Redis, and registers itself again after Redis forgot it."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from app.adapters.job_queue import JOB_SECONDS
from app.domain.ids import ids_in
from app.services import log_ids
from workers import jobs, spare
from workers.life import Life
from workers.parent import end_with_parent
from workers.spare import Spare, Told

log = logging.getLogger(__name__)

# A stopping worker gives its job this long to end or to hand its run back; then the lease does the rest. honcho waits 5 s.
STOP_SECONDS = 3.5
# A step that asks nobody meanwhile (an HTTP request that hangs) has this long; then its run is let go as it is.
GIVE_UP_SECONDS = 2.75
# Then a worker ends whatever holds it up (a Redis that hangs): SIGTERM to exit stays below ten seconds.
LAST_SECONDS = 7.0
# RQ blocks this long for a job: until then a worker notices neither a silent Redis nor one that forgot it.
_BLOCK_SECONDS = 5
_ANSWER_SECONDS = 3
# How long a worker is known after its last sign of life; it gives one at least every _BLOCK_SECONDS.
_KNOWN_SECONDS = 30
_BEAT_SECONDS = 1
# How old a waiting process' connection to Redis may be when its job comes.
_FRESH_SECONDS = 10.0
# How often a worker looks at the job's process.
_LOOK_SECONDS = 2


class SyncWorker(Worker):
    """One queue per worker: on several, a job taken as the worker dies is in no list any more (references/rq.md)."""

    max_connection_wait_time = 1.0  # RQ doubles its pauses up to a minute while Redis is away

    def __init__(
        self,
        queue: str,
        redis: Redis,
        tidy: Callable[[], None] = lambda: None,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        """`asked`: whether a signal came already, before the worker could take it."""
        self._tidy, self._asked = tidy, asked
        self._life = Life()
        self._spare: Spare | None = None
        self._prepared_at = 0.0
        self._beaten_at = float("-inf")
        super().__init__(
            [Queue(queue, connection=redis, serializer=JSONSerializer, default_timeout=JOB_SECONDS)],
            connection=redis, serializer=JSONSerializer, worker_ttl=_BLOCK_SECONDS + 15, job_monitoring_interval=_LOOK_SECONDS,
            maintenance_interval=10, log_job_description=False,
        )  # fmt: skip

    @property
    def connection_timeout(self) -> int:
        """How long RQ waits for an answer of Redis, in seconds."""
        return int(self.dequeue_timeout) + _ANSWER_SECONDS

    @property
    def stopping(self) -> bool:
        """True once a signal asked it to stop."""
        return self._shutdown_requested_date is not None or self._stop_requested

    def _install_signal_handlers(self) -> None:
        """As RQ does; the signal of a parent's death comes once, and may have come while the worker was made."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        if self._asked():
            self._stop_requested = True

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:  # noqa: ARG002 - the base class's shape
        """As RQ does, for a shorter time, and be known again: a Redis that lost its memory has no list of workers.

        RQ gives several signs of life for each job; one in a second is enough.
        """
        if pipeline is not None or self._is_horse:
            super().heartbeat(_KNOWN_SECONDS, pipeline)
        elif time.monotonic() - self._beaten_at > _BEAT_SECONDS:
            self._beat()
            self._beaten_at = time.monotonic()

    def _beat(self) -> None:
        """One exchange; a second one where Redis has forgotten us."""
        with self.connection.pipeline() as pipeline:
            super().heartbeat(_KNOWN_SECONDS, pipeline)
            worker_registration.register(self, pipeline)
            pipeline.hexists(self.key, "birth")
            known = pipeline.execute()[-1]
        if not known:
            self.connection.hset(self.key, mapping={**self.serialize(), "state": self._state})

    def execute_job(self, job: Job, queue: Queue) -> None:
        """As RQ does; each line meanwhile, RQ's own and those of the job's process too, has the job's ids."""
        with _lines_of(job):
            super().execute_job(job, queue)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """As RQ does; the next job's process is there before its job."""
        self._have_spare()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """The process that waits takes the job; as RQ does where none is there. With a sign of life."""
        spare, self._spare = self._spare, None
        self._life.begin()
        if spare and spare.hand({"job": job.id, "execution": next(iter(self.executions))}):
            self._horse_pid = spare.pid
        else:
            self._life.begin()
            super().fork_work_horse(job, queue)
        if self.stopping:  # the signal found no process to pass it on to
            self.handle_warm_shutdown_request()
        self._have_spare()

    def end_spare(self) -> None:
        """At the worker's end."""
        spare, self._spare = self._spare, None
        if spare:
            spare.end()

    def _have_spare(self) -> None:
        if self._spare is None and not self.stopping:
            try:
                self._spare = spare.fork(self._prepare, self._take)
            except OSError as error:  # no process is to be had: perhaps when the job comes
                log.warning("no_spare_process", extra={"error": error.strerror})

    def _prepare(self) -> None:
        """In the job's process, before there is one; it may be forked while another job is at work."""
        log_ids.end()
        random.seed()
        self._prepared_at = time.monotonic()
        jobs.prepare()
        self.connection.ping()

    def _take(self, told: Told) -> None:
        """In the job's process: what RQ's fork would have had in memory."""
        if time.monotonic() - self._prepared_at > _FRESH_SECONDS:
            # Somebody between may have forgotten it without a word.
            self.connection.connection_pool.disconnect()
        job = self.job_class.fetch(told["job"], connection=self.connection, serializer=self.serializer)
        execution = Execution(told["execution"], job.id, self.connection, self.name)
        execution._job = job
        self.executions = {execution.id: execution}
        os.environ["RQ_WORKER_ID"], os.environ["RQ_JOB_ID"] = self.name, job.id
        with _lines_of(job):
            self.main_work_horse(job, self.queues[0])

    def maintain_heartbeats(self, job: Job, execution: Any) -> None:
        """As RQ does; with Redis away the job goes on, and is still waited for. One that stands still is ended."""
        if self._life.silent:
            log.warning("silent_job_ended", extra={"job": job.id})
            _signal(self.horse_pid, signal.SIGKILL)
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning("heartbeat_failed", extra={"job": job.id, "error": type(error).__name__})

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        """As RQ does; a connection that was closed under it ends the thread without a traceback."""
        try:
            super()._pubsub_exception_handler(exc, pubsub, pubsub_thread)
        except (OSError, ValueError, RedisError) as error:
            log.warning("pubsub_ended", extra={"error": type(error).__name__})
            pubsub_thread.stop()

    def handle_work_horse_killed(self, job: Job, *_how: Any) -> None:
        """The job's process died: what it had started must not go on."""
        log.warning("job_killed", extra={"job": job.id})
        self._tidy()

    def set_shutdown_requested_date(self) -> None:
        """As RQ does, from a signal handler: with Redis away it is only for show."""
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        except RedisError as error:
            log.debug("shutdown_not_shown", extra={"error": type(error).__name__})

    def handle_warm_shutdown_request(self) -> None:
        """Tell the job at once, and end it when it does not listen."""
        _after(LAST_SECONDS, lambda: os._exit(1))
        pid = self.horse_pid
        if not pid:
            return
        _signal(pid, signal.SIGTERM)
        _after(STOP_SECONDS, lambda: _signal(pid, signal.SIGKILL))

    def setup_work_horse_signals(self) -> None:
        """The job's process: Ctrl+C is the parent's business, SIGTERM (or its death) asks the flow to hand back."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _ask_to_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked since the job was taken (spare.py)
        end_with_parent(int(self.pid or 0))
        self._life.beat()


def _lines_of(job: Job) -> AbstractContextManager[None]:
    return log_ids.about(**{"job": job.id, **ids_in(job.id)})


class _RedisAway(logging.Filter):
    """RQ logs a lost Redis as a defect, with its traceback, and ends its loop; the pool begins it anew. One line is enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the record stays, told in one line."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RedisError):
            record.name, record.msg, record.args, record.exc_info = __name__, "redis_away", (), None
            record.error = type(error).__name__
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


logging.getLogger("rq.worker").addFilter(_RedisAway())


def _after(seconds: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("job_ended_first", extra={"pid": pid})


def _ask_to_stop(_number: int, _frame: object) -> None:
    jobs.stop()
    _after(GIVE_UP_SECONDS, _give_up)
    _after(STOP_SECONDS, lambda: os._exit(1))  # a killed parent cannot end us; git is tied to us


def _give_up() -> None:
    try:
        jobs.give_up()
    except Exception:
        log.exception("run_not_given_up")  # its lease ends soon, too
    os._exit(1)
