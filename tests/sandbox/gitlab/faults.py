"""Faults that tests switch on for single requests, and the record of all requests."""

import io
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Action = Callable[["Call"], Iterable[bytes]]


@dataclass(frozen=True)
class Request:
    """One answered request; `path` as sent, without its query. A status of 0: the connection was cut instead."""

    method: str
    path: str
    status: int
    service: str = ""


@dataclass
class Call:
    """One request on its way to the application, for an action to play with."""

    inner: WSGIApplication
    environ: WSGIEnvironment
    start_response: StartResponse
    stopped: threading.Event
    cut: bool = False

    def forward(self) -> Iterable[bytes]:
        return self.inner(self.environ, self.start_response)

    def perform(self) -> tuple[str, list[tuple[str, str]], bytes]:
        """Let the application do its work and keep the answer back."""
        answer: list[Any] = []
        body = self.inner(self.environ, cast("StartResponse", lambda *said: answer.extend(said[:2])))
        try:
            return answer[0], answer[1], b"".join(body)
        finally:
            getattr(body, "close", lambda: None)()

    def drain(self) -> None:
        """Read the request's body, so that the client gets to see an answer that nobody worked on."""
        if self.environ.get("wsgi.input_terminated"):
            self.environ["wsgi.input"].read()
        else:
            self.environ["wsgi.input"].read(int(self.environ.get("CONTENT_LENGTH") or 0))


@dataclass
class Fault:
    """`match` is searched for in `METHOD /path?service=...`; `times` requests get it, after `skip` that do not."""

    match: str
    action: Action
    times: int
    skip: int = 0
    used: int = 0


class Faults:
    """The faults that are on; a WSGI middleware that also records every request."""

    def __init__(self, inner: WSGIApplication) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.requests: list[Request] = []
        self.stopped = threading.Event()

    def add(self, match: str, action: Action, times: int = 1, skip: int = 0) -> Fault:
        """Switch a fault on; `fault.used` counts. `match` is a regular expression."""
        fault = Fault(match, action, times, skip)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path, service = _line(environ)
        status = 0

        def noted(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line.split(" ", 1)[0])
            return start_response(line, *rest)

        fault = self._next(f"{method} {path}{f'?service={service}' if service else ''}")
        call = Call(self._inner, environ, cast("StartResponse", noted), self.stopped)
        try:
            return fault.action(call) if fault else call.forward()
        finally:
            with self._lock:
                self.requests.append(Request(method, path, status, service))
            if call.cut:  # only now: who sees the reset finds it recorded
                _reset(environ)

    def _next(self, line: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if re.search(fault.match, line) and fault.used < fault.times:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.used += 1
                    return fault
        return None


def status(code: int, body: str = "", **headers: str) -> Action:
    """Answer so, and do nothing. Header names with `_` for `-`."""

    def act(call: Call) -> Iterable[bytes]:
        call.drain()
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        text = body or f'{{"message":"{code} {HTTPStatus(code).phrase}"}}'
        length = ("Content-Length", str(len(text.encode())))
        call.start_response(f"{code} {HTTPStatus(code).phrase}", [("Content-Type", "application/json"), length, *sent])
        return [text.encode()]

    return act


def rate_limited(retry_after: int = 60) -> Action:
    """429 with all its headers, as the application's own limit answers."""
    return status(
        429,
        "Retry later\n",
        Retry_After=str(retry_after),
        RateLimit_Limit="60",
        RateLimit_Observed="61",
        RateLimit_Remaining="0",
        RateLimit_Name="throttle_authenticated_api",
    )


def rate_limited_bare() -> Action:
    """429 without any header, as the limits of single actions answer."""
    return status(429, '{"message":{"error":"This endpoint has been requested too many times. Try again later."}}')


def rate_limited_until(seconds: int = 60) -> Action:
    """429 whose Retry-After is a date."""
    return status(429, "Retry later\n", Retry_After=format_datetime(_in(seconds), usegmt=True))


def unavailable(retry_after: int = 30) -> Action:
    return status(503, "GitLab is not responding\n", Retry_After=str(retry_after))


def number_taken() -> Action:
    """A pipeline whose number (iid) another one had just got; none is made."""
    return status(400, '{"message":{"base":["Failed to persist the pipeline, please retry"]}}')


def reset() -> Action:
    """Reset the connection before anything happens."""

    def act(call: Call) -> Iterable[bytes]:
        call.drain()
        call.cut = True
        raise ConnectionResetError("reset on purpose")

    return act


def accept_then_cut() -> Action:
    """Do what was asked, and reset the connection instead of answering."""

    def act(call: Call) -> Iterable[bytes]:
        call.perform()
        call.cut = True
        raise ConnectionResetError("reset on purpose")

    return act


def cut_then_accept(go: threading.Event) -> Action:
    """Reset the connection, and do what was asked when `go` is set: a slow GitLab, in front of which somebody gave up."""

    def act(call: Call) -> Iterable[bytes]:
        length = int(call.environ.get("CONTENT_LENGTH") or 0)
        later = Call(call.inner, {**call.environ, "wsgi.input": io.BytesIO(call.environ["wsgi.input"].read(length))},
                     call.start_response, call.stopped)  # fmt: skip
        threading.Thread(target=lambda: go.wait() and later.perform(), daemon=True).start()
        call.cut = True
        raise ConnectionResetError("reset on purpose")

    return act


def cut_in_the_middle() -> Action:
    """Let the application see half of the request's body, as when the sender's line breaks, and reset the connection."""

    def act(call: Call) -> Iterable[bytes]:
        source, length = call.environ["wsgi.input"], int(call.environ.get("CONTENT_LENGTH") or 0)
        body = source.read() if call.environ.pop("HTTP_TRANSFER_ENCODING", None) else source.read(length)
        half = body[: len(body) // 2]
        call.environ |= {"wsgi.input": io.BytesIO(half), "CONTENT_LENGTH": str(len(half))}
        call.perform()
        call.cut = True
        raise ConnectionResetError("cut on purpose")

    return act


def truncated() -> Action:
    """Do what was asked, and send only half of the answer."""

    def act(call: Call) -> Iterable[bytes]:
        line, headers, body = call.perform()
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        call.start_response(line, [*kept, ("Content-Length", str(len(body)))])
        return _half(body)

    return act


def slow(seconds: float) -> Action:
    """Answer rightly, but late; at once when the server stops."""

    def act(call: Call) -> Iterable[bytes]:
        call.stopped.wait(seconds)
        return call.forward()

    return act


def dripping(at_once: int = 0, pause: float = 0.02) -> Action:
    """Answer rightly, but for the first bytes each after a pause: never silent, and not done for long."""

    def act(call: Call) -> Iterable[bytes]:
        line, headers, body = call.perform()
        call.start_response(line, headers)
        return _drops(body, at_once, call.stopped, pause)

    return act


def _drops(body: bytes, at_once: int, stopped: threading.Event, pause: float) -> Iterator[bytes]:
    yield body[:at_once]
    for byte in body[at_once:]:
        stopped.wait(pause)
        yield bytes([byte])


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionAbortedError("the rest of the answer is withheld")


def _reset(environ: WSGIEnvironment) -> None:
    """Send a TCP reset now: put a dead socket in the connection's place, which closes the real one without a FIN."""
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    here, there = socket.socketpair()
    with here, there:
        os.dup2(here.fileno(), connection.fileno(), inheritable=False)


def _line(environ: WSGIEnvironment) -> tuple[str, str, str]:
    path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
    service = parse_qs(str(environ.get("QUERY_STRING", ""))).get("service", [""])[0]
    return str(environ["REQUEST_METHOD"]), path, service


def _in(seconds: int) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
