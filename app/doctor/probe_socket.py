"""Names and sockets, each failure with its own name; what errors on a connection mean, and the header for a URL's password."""

from __future__ import annotations

import base64
import errno
import io
import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING

from urllib3.util.ssltransport import SSLTransport

from app.doctor.egress import joined, login_of
from app.doctor.observed import Failure, Trouble
from app.doctor.places import has_place, parts_of, port_in

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PORTS = {"https": 443, "http": 80}
_LAST_PORT = 65535
_STEPS = 3
_SLOWEST = 8192  # bytes a second


class Unreached(Exception):  # noqa: N818 - it reads as what happened
    """There is no HTTP answer; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def read_failure(url: str, error: Exception) -> Failure:
    """What an error while sending or reading means."""
    if isinstance(error, TimeoutError):
        return Failure(url, "timeout", "no answer within the time limit")
    if isinstance(error, ssl.SSLError) and "certificate required" in str(error).lower().replace("_", " "):
        return Failure(url, "tls-client-certificate", "the server asked for a client certificate")
    if isinstance(error, (OSError, HTTPException)):
        return Failure(url, "cut", f"the connection ended before an answer ({error or type(error).__name__})")
    return Failure(url, "other", str(error) or type(error).__name__)


class PacedResponse(HTTPResponse):
    """An answer that must not come in drips, each just before the socket's time limit: reading it may raise TimeoutError.

    Head and body have three times that limit, and what a very slow line takes for their bytes.
    """

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), _STEPS * (sock.gettimeout() or 0.0)))


class _Paced(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        super().__init__()
        self._raw = raw
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if time.monotonic() > self._until:
            raise TimeoutError
        count = self._raw.readinto(buffer)
        self._until += (count or 0) / _SLOWEST
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def last_words(sock: socket.socket | SSLTransport) -> ssl.SSLError | None:
    """The TLS alert that a server sent before it hung up on our request; writing only says that it did."""
    with suppress(ValueError):
        try:
            sock.recv(1)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return None
        except ssl.SSLError as error:
            return error
        except OSError:
            return None
    return None


def target(url: str) -> tuple[str, int]:
    """Host and port that the URL leads to; Unreached `other` where it is none by http or https."""
    parts = parts_of(url)
    if parts.scheme not in _PORTS or not has_place(url):
        raise Unreached(Failure(url, "other", f"{parts.netloc.rpartition('@')[2] or 'the URL'} is no address"))
    return parts.hostname or "", port_in(url) or _PORTS[parts.scheme]


def addresses(url: str) -> tuple[str, ...]:
    """What the URL's host resolves to here; Unreached `dns`, or as `target` has it."""
    host, port = target(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreached(Failure(url, "dns", f"lookup {host}: {error}")) from error
    return tuple(dict.fromkeys(str(item[4][0]) for item in found))


def open_socket(url: str, place: tuple[str, int], timeout: float) -> socket.socket:
    """A TCP connection to the host and port; Unreached, told of `url`, says why there is none."""
    try:
        if place[1] > _LAST_PORT:  # of which getaddrinfo would take the lower bits
            raise UnicodeError(place)
        return socket.create_connection(place, timeout)
    except (OSError, UnicodeError) as error:
        raise Unreached(Failure(url, *_unopened(place, timeout, error))) from error


def _unopened(place: tuple[str, int], timeout: float, error: Exception) -> tuple[Trouble, str]:
    if isinstance(error, UnicodeError):
        return "other", f"{joined(*place)} is no address"
    if isinstance(error, TimeoutError):
        return "timeout", f"no connection to port {place[1]} within {timeout:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "refused", f"connection to port {place[1]} refused"
    unreachable = isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    return "timeout" if unreachable else "other", str(getattr(error, "strerror", None) or error)


def credential_lines(url: str, header: str) -> list[str]:
    """The header line for the user and password in a URL, if there are any."""
    login = login_of(url)
    return [f"{header}: Basic {base64.b64encode(':'.join(login).encode()).decode()}"] if login else []
