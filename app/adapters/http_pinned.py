"""For `requests`: connections to a host's checked addresses, under its own name (certificate, SNI and Host stay the name's)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from app.adapters.http_allowance import AllowedAdapter, TimedConnection, TimedTlsConnection
from app.adapters.reached import reached

Addresses = Callable[[], Sequence[str]]
"""Where the host is; asked anew before each connection, and may refuse it by an error of its own."""


class PinnedAdapter(AllowedAdapter):
    """What goes through an HTTP proxy is not pinned: the proxy looks names up."""

    def __init__(self, addresses: Addresses, **options: Any) -> None:
        self._addresses = addresses
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See AllowedAdapter."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _plain(self._addresses), "https": _secure(self._addresses)}


def _plain(addresses: Addresses) -> type[HTTPConnectionPool]:
    class Connection(TimedConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, addresses())

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    return Pool


def _secure(addresses: Addresses) -> type[HTTPSConnectionPool]:
    class Connection(TimedTlsConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, addresses())

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


def _connected(connection: HTTPConnection, addresses: Sequence[str]) -> socket.socket:
    """The library's own errors for what goes wrong."""
    seconds = connection.timeout if isinstance(connection.timeout, int | float) else None
    try:
        return reached(addresses, connection.port, seconds)
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "no connection within the time limit") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
