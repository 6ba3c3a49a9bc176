"""Who is turned away is told so, though a thread becomes free in the same moment."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from app.web import metrics, worker
from app.web.worker import DeadlineWorker, too_busy


class Pool:
    """Threads that are all busy."""

    def submit(self, *_: Any) -> Future[bool]:
        return Future()


class Sock:
    """A socket; `meanwhile` happens once, before the first thing that is done to it."""

    def __init__(self, real: socket.socket, meanwhile: Any) -> None:
        self._real, self._meanwhile = real, meanwhile

    def setblocking(self, flag: bool) -> None:
        happens, self._meanwhile = self._meanwhile, lambda: None
        happens()
        self._real.setblocking(flag)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Conn:
    """What gunicorn's TConn is to the worker."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        theirs.sendall(b"POST /webhooks/platform HTTP/1.1\r\n")
        yield ours, theirs


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> DeadlineWorker:
    """A worker without a thread for anybody, and whose patience is over at once."""
    monkeypatch.setattr(worker, "WAIT_SECONDS", -1.0)
    crowded = DeadlineWorker(1, 1, [], BaseApplication, 30, Config(), logging.getLogger("gunicorn"))
    crowded.tpool = Pool()
    return crowded


def test_a_thread_that_becomes_free_while_somebody_is_turned_away_does_not_cut_him_off(
    crowded: DeadlineWorker, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    thread = threading.Thread(target=lambda: crowded.handle(conn))

    def free() -> None:
        thread.start()
        thread.join(0.3)  # it waits for the loop's word; without that it is through in no time

    conn = Conn(Sock(ours, free))
    crowded.enqueue_req(conn)
    counted = metrics.TURNED_AWAY._value.get()
    crowded.notify()
    assert metrics.TURNED_AWAY._value.get() == counted + 1
    thread.join()
    assert b"".join(iter(lambda: theirs.recv(65536), b"")) == too_busy()


def test_whom_a_thread_has_is_not_turned_away(
    crowded: DeadlineWorker, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    conn = Conn(ours)

    def answer(_: Any, taken: Any) -> bool:
        crowded.notify()
        taken.sock.sendall(b"answered")
        return False

    monkeypatch.setattr(ThreadWorker, "handle", answer)
    crowded.enqueue_req(conn)
    crowded.handle(conn)
    assert theirs.recv(65536) == b"answered"
