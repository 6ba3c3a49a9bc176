"""A few worker processes under one parent: it starts them anew when they die, and stops them with itself.

RQ's own WorkerPool ends when Redis is away; ours has to outlive that.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from app import upkeep
from app.adapters import git_process
from app.adapters.job_queue import redis_for_worker
from app.adapters.rehearsal import rehearse
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.domain.gomod import parse_go_mod, synthesized_go_mod
from workers.parent import end_with_parent
from workers.worker import SyncWorker

log = logging.getLogger(__name__)

RESTART_SECONDS = 0.5
TIDY_SECONDS = 10.0
LOOK_SECONDS = 60.0
# A worker ends itself in time (worker.py); this is for one that cannot.
KILL_SECONDS = 8.0
# And then the parent ends, whatever holds it up: below ten seconds.
LAST_SECONDS = 9.0


class Pool:
    """Children by process id. Everything here runs in the parent's only thread, until it is asked to stop.

    `tidy` is done in between, `look` (which may take minutes) by a process of its own, one at a time.
    """

    def __init__(
        self, count: int, work: Callable[[], None], tidy: Callable[[], None], look: Callable[[], None]
    ) -> None:
        self._count, self._work, self._tidy, self._look = count, work, tidy, look
        self._children: set[int] = set()
        self._looker: int | None = None
        self._looked_at = float("-inf")
        self._stopped_at: float | None = None
        self._tidied_at = float("-inf")

    def run(self) -> None:
        """Keep `count` children until a signal; then pass it on and wait for them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        while self._stopped_at is None:
            self._tidy_now_and_then()
            while len(self._children) < self._count and self._stopped_at is None:
                self._children.add(self._forked(self._work))
            self._look_now_and_then()
            self._reap()
        for pid in self._children:  # again, for one that was being forked; RQ takes two within a second for one
            _tell(pid, signal.SIGTERM)
        while self._children:
            self._kill_late()
            self._reap()
        self._tidy()

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            _later(LAST_SECONDS, self._end)
        if self._looker:
            _tell(self._looker, signal.SIGKILL)  # what it leaves, the next one tidies
        for pid in self._children:
            _tell(pid, signal.SIGTERM)

    def _end(self) -> None:
        for pid in tuple(self._children):
            _tell(pid, signal.SIGKILL)
        os._exit(1)

    def _forked(self, work: Callable[[], None]) -> int:
        """A child's id; the child does `work` and ends."""
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            end_with_parent(parent)
            work()
            status = 0
        except Exception:
            log.exception("worker_defect")
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Wait for a child to end, or for a signal; a child that died is replaced after a moment."""
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            self._children.clear()
            self._looker = None
            return
        if pid == 0:
            time.sleep(0.1)
            return
        if pid == self._looker:
            self._looker = None
            return
        self._children.discard(pid)
        if self._stopped_at is None:
            log.warning("worker_died", extra={"pid": pid, "status": status})
            self._tidied_at = float("-inf")
            time.sleep(RESTART_SECONDS)

    def _kill_late(self) -> None:
        if self._stopped_at is not None and time.monotonic() - self._stopped_at > KILL_SECONDS:
            for pid in self._children:
                _tell(pid, signal.SIGKILL)

    def _tidy_now_and_then(self) -> None:
        if time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            self._tidy()

    def _look_now_and_then(self) -> None:
        if self._looker is None and time.monotonic() - self._looked_at > LOOK_SECONDS and self._stopped_at is None:
            self._looked_at = time.monotonic()
            self._looker = self._forked(self._look)


def run(container: Container, queue: str, count: int) -> None:
    """Work on `queue` with `count` processes until SIGTERM."""
    log.info("workers_started", extra={"queue": queue, "processes": count})
    _warm(container)
    look = upkeep.CacheKeeper(container).once
    Pool(count, lambda: work(container, queue), container.tidy_host, look).run()
    log.info("workers_stopped", extra={"queue": queue})


def work(container: Container, queue: str) -> None:
    """One worker process: an RQ worker, begun again whenever Redis comes back."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        redis, worker = redis_for_worker(container.redis_url), None
        try:
            worker = SyncWorker(queue, redis, container.tidy_host, stop.is_set)
            worker.work(logging_level="WARNING")
        except RedisError as error:
            log.warning("redis_away", extra={"error": type(error).__name__})
        finally:
            if worker is not None:
                worker.end_spare()
            redis.close()
        # RQ restored no handler of ours: until the next worker is up, a signal must end this loop.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        # After that, so that no signal falls between; also when RQ's farewell failed: a Redis that is stopped with us takes
        # the signal's moment away.
        if worker is not None and worker.stopping:
            return
        stop.wait(RESTART_SECONDS)


def exit_late() -> None:
    """End this process KILL_SECONDS from now, whatever holds it up: what is asked to stop stops."""
    _later(KILL_SECONDS, lambda: os._exit(1))


def _later(seconds: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def _warm(container: Container) -> None:
    """Import, build and learn before the fork what every job needs; no connection is kept."""
    parse_go_mod(synthesized_go_mod("m"))  # its tables
    _ = container.flow
    # Built again in the job's own process, for a lease names who works.
    del container.flow
    git_process.warm()
    try:
        rehearse(container.engine, container.clock.now())
    except SyncError as error:
        log.info("not_rehearsed", extra={"code": error.code})  # each job learns by itself
    except Exception:
        log.exception("rehearsal_defect")
    # What is there now lives as long as we do: no job's garbage collector has to look at it, or to copy its pages.
    gc.collect()
    gc.freeze()


def _tell(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("worker_ended_first", extra={"pid": pid})
