"""gunicorn's threaded worker, with an end to senders that are slow on purpose, and a word to who waits too long.

gunicorn's own has neither: each half-sent request holds a thread for as long as its sender likes, a few of them stop all
deliveries, and who waits for a thread hears nothing until the platform's own limit (10 s and more) is over. Named in
app/gunicorn_conf.py.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from app.domain.errors import SyncError

log = logging.getLogger(__name__)

# Longer than the longest answer takes (a database that is waited for: 5 s, twice), shorter than anybody's patience.
REQUEST_SECONDS = 15.0
# For a thread; GitLab and GitHub give up after 10 s, and the loop looks once a second.
WAIT_SECONDS = 5.0
_RETRY_SECONDS = 5
_MOST_LEFT = 64  # blocks of 64 kB that are read away of one who is turned away
# Athens makes a 500 of a 503, and a build stops: its questions wait on.
_WAITS_ON = b"POST /athens/validate/"


def too_busy() -> bytes:
    """The answer to a request that no thread had time for, as app.web.errors would give it."""
    error = SyncError("busy", "modsync has more requests than threads for them: nothing was recorded")
    told = {"code": error.code, "message": error.message, "advice": error.advice, "retry": True}
    body = json.dumps({"error": told}).encode() + b"\n"
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Retry-After: {_RETRY_SECONDS}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_TOO_BUSY = too_busy()


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Closes a connection whose request is not read and answered within REQUEST_SECONDS of a thread's taking it.

    One that waited WAIT_SECONDS for a thread is answered 503, and none of ours begins with it; Athens' questions wait on.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._due: dict[Any, float] = {}
        self._waiting: dict[Any, float] = {}
        self._leave = threading.Lock()

    def enqueue_req(self, conn: Any) -> None:
        """A new connection, or a kept one on which a request begins: it waits for a thread."""
        self._waiting[conn] = time.monotonic() + WAIT_SECONDS
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """One request, in a thread."""
        try:
            # Whoever takes it out has it: the loop, which has told it so when it lets go of the lock, or we.
            with self._leave:
                waited = self._waiting.pop(conn, None)
            if waited is None:
                return _left(conn.sock)
            self._due[conn] = time.monotonic() + REQUEST_SECONDS
            return super().handle(conn)
        finally:
            self._due.pop(conn, None)

    def notify(self) -> None:
        """The loop's sign of life, about once a second: the moment to look who is late."""
        super().notify()
        now = time.monotonic()
        turned_away = [conn for conn, until in list(self._waiting.items()) if until < now and self._turn_away(conn)]
        if turned_away:
            _count(len(turned_away))
        for conn, due in list(self._due.items()):
            if due < now:
                # Not close(): the thread that waits in recv() wakes up, finds the end, and closes.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def _turn_away(self, conn: Any) -> bool:
        with self._leave:
            if _begins(conn.sock) == _WAITS_ON or self._waiting.pop(conn, None) is None:
                return False
            _tell(conn.sock)
        return True


def _count(requests: int) -> None:
    from app.web import metrics  # the worker's class is known before it is settled where counters live (gunicorn_conf)

    metrics.TURNED_AWAY.inc(requests)
    log.warning("requests_turned_away", extra={"requests": requests})


def _tell(sock: socket.socket) -> None:
    """Without waiting: who is gone, or so slow that it does not even take this, is not told."""
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.send(_TOO_BUSY)
        sock.shutdown(socket.SHUT_WR)


def _left(sock: socket.socket) -> bool:
    """Take leave of one that was turned away: gunicorn would linger for it, two seconds each, in the loop that all wait for.

    What it sent is read away before, or the answer would be lost in a reset.
    """
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        for _ in range(_MOST_LEFT):
            if not sock.recv(65536):
                break
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    return False


def _begins(sock: socket.socket) -> bytes:
    """The beginning of a request that nobody reads yet, and that stays to be read."""
    with contextlib.suppress(OSError):
        return sock.recv(len(_WAITS_ON), socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return b""
