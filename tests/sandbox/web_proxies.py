"""The kinds of web proxy that go takes in HTTPS_PROXY: HTTP's CONNECT (https:// is `tls_front` before it) and SOCKS5."""

import base64
import ipaddress
import socket
import threading
from dataclasses import dataclass, field

from tests.sandbox.bad_servers import Handler, head_of, pipe

_REASONS = {200: "OK", 403: "Forbidden", 407: "Proxy Authentication Required"}
_NO_LOGIN, _PASSWORD, _NONE = 0, 2, 0xFF
_CHUNK = 65536


def egress(status: int = 200, *, to: int = 0, asked: list[str] | None = None, login: str = "") -> Handler:
    """A web proxy: answers CONNECT (and anything else) with `status`; a 200 leads to the port `to`, whatever was asked.

    With `login` (`user:password`) it answers 407 to all others, and 400 to what is not HTTP.
    """
    wanted = f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}"

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        if not connection.recv(1, socket.MSG_PEEK).isalpha():
            return _not_http(connection)
        lines = head_of(connection).split("\r\n")
        if asked is not None:
            asked.append(lines[0])
        said = status if not login or wanted in lines else 407
        length = "" if said == 200 else "Content-Length: 0\r\n"
        connection.sendall(f"HTTP/1.1 {said} {_REASONS.get(said, 'Refused')}\r\n{length}\r\n".encode())
        if said == 200:
            _lead(connection, to)
        return None

    return handle


def _not_http(connection: socket.socket) -> None:
    """Read all that was sent: a reset would overtake the answer."""
    connection.recv(_CHUNK)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.recv(_CHUNK)


@dataclass
class Socks:
    """A SOCKS5 proxy (RFC 1928, 1929), as a handler: `reply` other than 0 refuses.

    `asked` lists what it was asked for: address type, host and port. `login` is the only pair of user and password.
    """

    to: int = 0
    reply: int = 0
    login: tuple[str, str] | None = None
    asked: list[tuple[int, str, int]] = field(default_factory=list)

    def __call__(self, connection: socket.socket, stopping: threading.Event) -> None:
        _, count = _exactly(connection, 2)
        method = self._method(_exactly(connection, count))
        connection.sendall(bytes((5, method)))
        if method == _NONE or (method == _PASSWORD and not self._knows(connection)):
            return
        self.asked.append(_wanted(connection))
        connection.sendall(bytes((5, self.reply, 0, 1, 127, 0, 0, 1, 0, 0)))
        if self.reply == 0:
            _lead(connection, self.to)

    def _method(self, offered: bytes) -> int:
        wanted = _PASSWORD if self.login else _NO_LOGIN
        return wanted if wanted in offered else _NONE

    def _knows(self, connection: socket.socket) -> bool:
        _exactly(connection, 1)
        pair = tuple(_counted(connection).decode() for _ in range(2))
        connection.sendall(bytes((1, int(pair != self.login))))
        return pair == self.login


def _wanted(connection: socket.socket) -> tuple[int, str, int]:
    kind = _exactly(connection, 4)[3]
    host = _counted(connection).decode() if kind == 3 else _address(connection, 4 if kind == 1 else 16)
    return kind, host, int.from_bytes(_exactly(connection, 2), "big")


def _address(connection: socket.socket, size: int) -> str:
    return str(ipaddress.ip_address(_exactly(connection, size)))


def _lead(connection: socket.socket, to: int) -> None:
    with socket.create_connection(("127.0.0.1", to)) as plain:
        pipe(connection, plain)


def _counted(connection: socket.socket) -> bytes:
    return _exactly(connection, _exactly(connection, 1)[0])


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the client left")
        data += chunk
    return data
