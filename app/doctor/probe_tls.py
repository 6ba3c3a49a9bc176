"""TLS with a server, on a socket or within the TLS of a web proxy, and what its failures mean."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from typing import TypeVar
from urllib.parse import urlsplit

from urllib3.util.ssltransport import SSLTransport

from app.doctor.certificate import read_certificate
from app.doctor.observed import Certificate, Failure, Trouble
from app.doctor.probe_socket import Unreached
from app.doctor.probe_trust import unchecked
from app.domain.http_date import http_date

_VERIFY: Mapping[int, Trouble] = {
    9: "tls-expired",
    10: "tls-expired",
    18: "tls-authority",
    19: "tls-authority",
    20: "tls-authority",
    21: "tls-authority",
    24: "tls-authority",
    62: "tls-name",
    64: "tls-name",
}
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")


class Within(SSLTransport):
    """TLS within TLS, which Python's own sockets cannot; how its greeting failed is said when it is asked for, as theirs."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, host: str | None) -> None:
        self._error: OSError | None = None
        try:
            super().__init__(outer, context, host)
        except OSError as error:
            self._error = error

    def do_handshake(self) -> None:
        if self._error:
            raise self._error


Wire = socket.socket | Within
_Tls = TypeVar("_Tls", bound=ssl.SSLSocket | Within)


def tls(sock: socket.socket, context: ssl.SSLContext, url: str) -> ssl.SSLSocket | Within:
    """TLS with the server of `url`, whose greeting is still to come; Unreached where no certificate could have its name."""
    host = urlsplit(url).hostname
    try:
        return Within(sock, context, host) if isinstance(sock, ssl.SSLSocket) else first_tls(sock, context, url)
    except ValueError as error:
        sock.close()
        raise Unreached(Failure(url, "tls-other", f"{host} is no name")) from error


def first_tls(sock: socket.socket, context: ssl.SSLContext, url: str) -> ssl.SSLSocket:
    """The same on a socket that has none yet."""
    return context.wrap_socket(sock, server_hostname=urlsplit(url).hostname, do_handshake_on_connect=False)


def greeted(secure: _Tls, url: str, again: Callable[[], socket.socket]) -> _Tls:
    """After the greeting; Unreached says why there is none. `again` opens another way there, to look at the certificate."""
    try:
        secure.do_handshake()
    except OSError as error:  # ssl.SSLError is one
        failure = _failure(url, error, again, agreed=secure.cipher() is not None)
        secure.close()
        raise Unreached(failure) from error
    return secure


def _failure(url: str, error: OSError, again: Callable[[], socket.socket], *, agreed: bool) -> Failure:
    """`agreed`: both sides had agreed on a cipher. A refusal after that, up to TLS 1.2, is for want of a certificate."""
    if agreed and "HANDSHAKE_FAILURE" in str(error):
        return Failure(url, "tls-client-certificate", "the server asked for a client certificate")
    if isinstance(error, ssl.SSLCertVerificationError):
        trouble = _VERIFY.get(error.verify_code, "tls-other")
        certificate, clock = _look(url, again)
        return Failure(url, trouble, error.verify_message, certificate=certificate, server_time=clock)
    if isinstance(error, TimeoutError):
        return Failure(url, "timeout", "no answer to the TLS greeting within the time limit")
    if any(sign in str(error) for sign in _NOT_TLS):
        return Failure(url, "tls-plain", "the answer to the TLS greeting is not TLS")
    # Which of the two an end without a goodbye is depends on Python's version.
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(error, ssl.SSLError):
        return Failure(url, "cut", "the connection was cut during the TLS greeting")
    return Failure(url, "tls-other", error.reason or str(error))


def _look(url: str, again: Callable[[], socket.socket]) -> tuple[Certificate | None, datetime | None]:
    """The certificate the server shows and its clock, unchecked; nothing secret is sent."""
    with (
        suppress(Unreached, OSError, HTTPException, ValueError),
        again() as raw,
        tls(raw, unchecked(), url) as secure,
    ):
        secure.do_handshake()
        return read_certificate(secure.getpeercert(binary_form=True) or b""), _clock(secure, url)
    return None, None


def _clock(wire: Wire, url: str) -> datetime | None:
    connection = HTTPConnection(urlsplit(url).hostname or "")
    connection.sock = wire
    with suppress(OSError, HTTPException, ValueError):
        connection.request("HEAD", "/", headers={"Connection": "close"})
        return http_date(connection.getresponse().headers.get("Date", ""))
    return None
