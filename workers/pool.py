"""A few worker processes under one parent: it starts them anew when they die, and stops them with itself.

RQ's own WorkerPool ends when Redis is away; ours has to outlive that.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from app.adapters.job_queue import redis_for_worker
from app.bootstrap import Container
from workers.worker import SyncWorker

log = logging.getLogger(__name__)

RESTART_SECONDS = 0.5


class Pool:
    """Children by process id. Everything here runs in the parent's only thread."""

    def __init__(self, count: int, work: Callable[[], None]) -> None:
        self._count, self._work = count, work
        self._children: set[int] = set()
        self._stop = False

    def run(self) -> None:
        """Keep `count` children until a signal; then pass it on and wait for them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        while not self._stop:
            while len(self._children) < self._count and not self._stop:
                self._fork()
            self._reap()
        for pid in self._children:
            _tell(pid, signal.SIGTERM)
        while self._children:
            self._reap()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stop = True
        for pid in self._children:
            _tell(pid, signal.SIGTERM)

    def _fork(self) -> None:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            return
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._work()
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
            return
        if pid == 0:
            time.sleep(0.1)
            return
        self._children.discard(pid)
        if not self._stop:
            log.warning("worker_died", extra={"pid": pid, "status": status})
            time.sleep(RESTART_SECONDS)


def run(container: Container, queue: str, count: int) -> None:
    """Work on `queue` with `count` processes until SIGTERM."""
    log.info("workers_started", extra={"queue": queue, "processes": count})
    _warm(container)
    Pool(count, lambda: work(container, queue)).run()
    log.info("workers_stopped", extra={"queue": queue})


def work(container: Container, queue: str) -> None:
    """One worker process: an RQ worker, begun again whenever Redis comes back."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        redis = redis_for_worker(container.redis_url)
        try:
            worker = SyncWorker(queue, redis)
            worker.work(logging_level="WARNING")
            if worker.stopping:
                return
        except RedisError as error:
            log.warning("redis_away", extra={"error": type(error).__name__})
        finally:
            redis.close()
        # RQ restored no handler of ours: until the next worker is up, a signal must end this loop.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        stop.wait(RESTART_SECONDS)


def _warm(container: Container) -> None:
    """Import and build before the fork what every job needs; nothing connects yet."""
    _ = container.flow


def _tell(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("worker_ended_first", extra={"pid": pid})
