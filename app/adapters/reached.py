"""A host's name and where it is are two things: connect to addresses that were checked, whatever the name stands for by now."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress


def reached(addresses: Sequence[str], port: int, seconds: float | None) -> socket.socket:
    """A connection to the first address that can be reached. Raises OSError of the last."""
    for address in addresses[:-1]:
        with suppress(OSError):
            return _opened(address, port, seconds)
    return _opened(addresses[-1], port, seconds)


def _opened(address: str, port: int, seconds: float | None) -> socket.socket:
    opened = socket.create_connection((address, port), seconds)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
