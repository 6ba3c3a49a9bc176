"""gunicorn's threaded worker, with an end to senders that are slow on purpose.

gunicorn's own has none: each half-sent request holds a thread for as long as its sender likes, and a few of them stop
all deliveries. Named in app/gunicorn_conf.py.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

# Longer than the longest answer takes (a database that is waited for: 5 s, twice), shorter than anybody's patience.
REQUEST_SECONDS = 15.0


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Closes a connection whose request is not read and answered within REQUEST_SECONDS of its arrival."""

    def init_process(self) -> None:
        """Runs in the worker's process, before its loop."""
        self._due: dict[Any, float] = {}
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """A new connection, or a kept one on which a request begins: its time runs, also while it waits for a thread."""
        self._due[conn] = time.monotonic() + REQUEST_SECONDS
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """One request, in a thread."""
        try:
            return super().handle(conn)
        finally:
            self._due.pop(conn, None)

    def notify(self) -> None:
        """The loop's sign of life, about once a second: the moment to look who is late."""
        super().notify()
        now = time.monotonic()
        for conn, due in list(self._due.items()):
            if due < now:
                # Not close(): the thread that waits in recv() wakes up, finds the end, and closes.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)
