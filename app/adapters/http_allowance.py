"""Time for a whole answer. Sockets count theirs from byte to byte: whoever sends one now and then holds us for ever.

Kept where http.client reads: the answer's status, headers and body, and a proxy's answer to CONNECT, come through one file.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class Allowance:
    """`seconds` for an answer, and one more for each `slowest` bytes of it that came: a large one may take long (0: none).

    No more than `seconds` are ever left: who begins fast cannot trickle for hours afterwards.
    """

    seconds: float
    slowest: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def begin(self) -> Left:
        """From now on."""
        return Left(self, self.clock())


class Left:
    """What is left of an allowance."""

    def __init__(self, allowance: Allowance, began: float) -> None:
        self._allowance, self._until = allowance, began + allowance.seconds

    def seconds(self) -> float:
        """At most 0 when there is nothing left."""
        return self._until - self._allowance.clock()

    def came(self, count: int) -> None:
        """So many bytes."""
        if self._allowance.slowest:
            most = self._allowance.clock() + self._allowance.seconds
            self._until = min(self._until + count / self._allowance.slowest, most)


ALLOWED: ContextVar[Allowance | None] = ContextVar("allowed", default=None)
"""What the requests that are sent now have."""


class AllowedAdapter(HTTPAdapter):
    """Keeps to ALLOWED, also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See HTTPAdapter."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """See HTTPAdapter."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Timed(io.RawIOBase):
    """The bytes of a socket while something is left; TimeoutError afterwards."""

    def __init__(self, inner: io.RawIOBase, sock: socket.socket, left: Left) -> None:
        self._inner, self._sock, self._left, self._each = inner, sock, left, sock.gettimeout()

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._inner.fileno()

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        left = self._left.seconds()
        if left <= 0:
            raise TimeoutError("no whole answer within the time limit")
        self._sock.settimeout(left if self._each is None else min(self._each, left))
        count: int | None = self._inner.readinto(buffer)
        self._left.came(count or 0)
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, left: Left, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock, left))


def answers_within(allowance: Allowance) -> Any:
    """The response class of a connection of http.client whose next answer has this allowance."""
    return partial(_TimedResponse, allowance.begin())


def _response_class() -> Any:
    """What http.client makes an answer with."""
    allowance = ALLOWED.get()
    return answers_within(allowance) if allowance else http.client.HTTPResponse


class TimedConnection(HTTPConnection):
    """Its answers have what ALLOWED says."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        self.response_class = _response_class()
        super().request(*args, **kwargs)


class TimedTlsConnection(HTTPSConnection):
    """The same, over TLS."""

    def connect(self) -> None:
        self.response_class = _response_class()  # of a proxy that is asked for a tunnel
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self.response_class = _response_class()
        super().request(*args, **kwargs)


class _Pool(HTTPConnectionPool):
    ConnectionCls = TimedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = TimedTlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
