"""A receiver of notifications on loopback: keeps what it is sent, and answers as it is told."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request: header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A context manager. `answers`: (status, body, headers) for the next requests; then 200 "ok". `hang` holds all up."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[Received] = []
        self.answers: list[tuple[int, str, dict[str, str]]] = []
        self.hang, self.trickle = threading.Event(), threading.Event()
        self._hung = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks/T0/very-secret-place"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        while self.hang.is_set() and not self._hung.wait(0.02):
            pass
        status, text, headers = self.answers.pop(0) if self.answers else (200, "ok", {})
        if self.trickle.is_set():
            return self._trickle(handler)
        with suppress(OSError):  # whoever asked may be gone by now
            self._respond(handler, status, text, headers)
        return None

    def _respond(self, handler: BaseHTTPRequestHandler, status: int, text: str, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text.encode())

    def _trickle(self, handler: BaseHTTPRequestHandler) -> None:
        """A status line that never ends, a byte at a time: no wait for bytes is long."""
        try:
            while self.trickle.is_set():
                handler.wfile.write(b"H")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def wait(self, count: int, seconds: float = 60.0) -> Sequence[Received]:
        """The requests once there are so many. AssertionError when they do not come in time."""
        self.until(lambda: len(self.got) >= count, f"{count} messages (there are {len(self.got)})", seconds)
        return list(self.got)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait for a condition. AssertionError when it does not come true in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
            time.sleep(0.02)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._hung.set()
        self.trickle.clear()
        self._server.shutdown()
        self._server.server_close()
