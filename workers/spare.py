"""The next job's process, forked before its job comes: imports are there, pages are its own, connections are made.

Each job has a process of its own, as RQ has it; only its beginning no longer lies between a job and its work.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from workers.parent import end_with_parent

log = logging.getLogger(__name__)

# One that is stopped or stuck is ended, and the job gets a process that is forked for it. A machine that is full takes long.
TAKE_SECONDS = 2.0
_TAKEN = b"\n"
Told = Mapping[str, str]


class Spare:
    """A process that waits for one job; `pid` is its id, and its process group's."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid, self._line = pid, line

    def hand(self, told: Told) -> bool:
        """Give it its job. False when it does not take it within TAKE_SECONDS: then it is ended, and has not begun."""
        try:
            self._line.settimeout(TAKE_SECONDS)
            self._line.sendall(json.dumps(told).encode() + b"\n")
            taken = self._line.recv(1) == _TAKEN
        except OSError:
            taken = False
        if not taken:
            self.end()
        self._line.close()
        return taken

    def end(self) -> None:
        """It has no job: nothing is lost by that."""
        self._line.close()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def fork(prepare: Callable[[], None], work: Callable[[Told], None]) -> Spare:
    """A new process: it does `prepare`, waits for its job, does `work` with what it is told, and ends. Error: OSError."""
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return Spare(pid, ours)
    status = 1
    try:
        ours.close()
        _settle(parent)
        _prepared(prepare)
        if told := _awaited(theirs):
            work(told)
        status = 0
    except Exception:
        log.exception("job_defect")
    finally:
        os._exit(status)


def _settle(parent: int) -> None:
    """A process group of its own, as RQ's; without a job it ends at once when it is asked to, and with its worker."""
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def _prepared(prepare: Callable[[], None]) -> None:
    """Whatever could not be prepared, the job meets again, and says so."""
    begun = time.monotonic()
    try:
        prepare()
    except Exception as error:  # noqa: BLE001 - a database that is away, a Redis: not yet anybody's trouble
        log.debug("not_prepared", extra={"error": type(error).__name__})
    log.debug("job_awaited", extra={"ms": round((time.monotonic() - begun) * 1000)})


def _awaited(line: socket.socket) -> Told | None:
    """The job; None when the worker has none any more."""
    with line, line.makefile("rb") as file:
        text = file.readline()
        if not text.endswith(b"\n"):
            return None
        # A job that is taken is told to stop, not ended: whoever works unblocks it behind a handler of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        line.sendall(_TAKEN)
        told: Told = json.loads(text)
        return told
