"""The client's side of SOCKS5 (RFC 1928, 1929) as go's net/http speaks it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

_VERSION, _NO_LOGIN, _PASSWORD, _NONE = 5, 0, 2, 0xFF
_MOST_BYTES = 255
_NAME, _ADDRESS_SIZES = 3, {1: 4, 4: 16}
_REPLIES: Mapping[int, str] = {
    1: "general SOCKS server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class Refusal(Exception):  # noqa: N818 - it reads as what happened
    """The proxy does not connect: it is none, wants another login, or will not or cannot reach the host."""

    def __init__(self, trouble: Literal["egress-scheme", "egress-login", "egress-status"], words: str) -> None:
        super().__init__(words)
        self.trouble = trouble


def ask_socks(sock: socket.socket, host: str, port: int, login: tuple[str, str] | None) -> None:
    """Have the proxy connect to the host, whose name it is to look up itself; Refusal, or OSError where it hangs up."""
    sock.sendall(bytes((_VERSION, 2, _NO_LOGIN, _PASSWORD) if login else (_VERSION, 1, _NO_LOGIN)))
    method = _versioned(sock, 2)[1]
    if method == _NONE:
        raise Refusal("egress-login", "no acceptable authentication methods")
    if login and method != _NO_LOGIN:  # where go has nothing to log in with, it goes on whatever was chosen
        _log_in(sock, method, *(word.encode() for word in login))
    sock.sendall(bytes((_VERSION, 1, 0)) + _address(host) + port.to_bytes(2, "big"))
    _, reply, reserved, kind = _versioned(sock, 4)
    if reply:
        raise Refusal("egress-status", "answered: " + _REPLIES.get(reply, f"unknown code: {reply}"))
    if reserved or kind not in (_NAME, *_ADDRESS_SIZES):
        raise Refusal("egress-scheme", "the answer is not SOCKS5")
    _exactly(sock, _ADDRESS_SIZES.get(kind) or _exactly(sock, 1)[0])
    _exactly(sock, 2)


def _log_in(sock: socket.socket, method: int, user: bytes, password: bytes) -> None:
    if method != _PASSWORD:
        raise Refusal("egress-login", f"unsupported authentication method {method}")
    if not user or max(len(user), len(password)) > _MOST_BYTES:
        raise Refusal(
            "egress-login", "a password is wanted, and SOCKS5 takes no empty user and nothing above 255 bytes"
        )
    sock.sendall(b"\x01" + _counted(user) + _counted(password))
    if _exactly(sock, 2) != b"\x01\x00":
        raise Refusal("egress-login", "username/password authentication failed")


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = _in_dns(host)
        if len(name) > _MOST_BYTES:
            raise Refusal("egress-status", "FQDN too long") from None
        return bytes((_NAME,)) + _counted(name)
    return bytes((1 if address.version == 4 else 4,)) + address.packed


def _in_dns(host: str) -> bytes:
    """As DNS has it, or as it is where DNS could have no such name."""
    with suppress(UnicodeError):
        return host.encode("idna")
    return host.encode()


def _versioned(sock: socket.socket, size: int) -> bytes:
    data = _exactly(sock, size)
    if data[0] != _VERSION:
        raise Refusal("egress-scheme", "the answer is not SOCKS5" + " but HTTP" * data.startswith(b"HT"))
    return data


def _counted(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _exactly(sock: socket.socket, size: int) -> bytes:
    """Not a byte more: what follows is the server's."""
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ConnectionError("EOF")
        data += chunk
    return data
