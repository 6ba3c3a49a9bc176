"""A connection to a server as go would make one, step by step, so that each step's failure has its own name."""

from __future__ import annotations

import base64
import errno
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from urllib.parse import unquote, urlsplit

from app.doctor.certificate import read_certificate
from app.doctor.observed import Certificate, Failure, Trouble
from app.doctor.probe_trust import unchecked

_PORTS = {"https": 443, "http": 80}
_UNSPOKEN = ("https", "socks5", "socks5h")  # web proxies that go reaches, and this probe does not
_LOOK_SECONDS = 5.0
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


class Unreached(Exception):  # noqa: N818 - it reads as what happened
    """There is no HTTP answer; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def connect(url: str, egress: str | None, context: ssl.SSLContext, timeout: float) -> socket.socket:
    """A socket on which a request for `url` can be written, TLS done; Unreached says which step failed."""
    sock = _tcp(url, egress, timeout)
    if urlsplit(url).scheme != "https":
        return sock
    secure = context.wrap_socket(sock, server_hostname=urlsplit(url).hostname, do_handshake_on_connect=False)
    try:
        secure.do_handshake()
    except (ssl.SSLError, OSError) as error:
        failure = _tls_failure(url, egress, error, greeted=secure.cipher() is not None)
        secure.close()
        raise Unreached(failure) from error
    return secure


def read_failure(url: str, error: Exception) -> Failure:
    """What an error while sending or reading means."""
    if isinstance(error, TimeoutError):
        return Failure(url, "timeout", "no answer within the time limit")
    if isinstance(error, ssl.SSLError) and "certificate required" in str(error).lower().replace("_", " "):
        return Failure(url, "tls-client-certificate", "the server asked for a client certificate")
    if isinstance(error, (OSError, HTTPException)):
        return Failure(url, "cut", f"the connection ended before an answer ({error or type(error).__name__})")
    return Failure(url, "other", str(error) or type(error).__name__)


def last_words(sock: socket.socket) -> ssl.SSLError | None:
    """The TLS alert that a server sent before it hung up on our request; writing only says that it did."""
    with suppress(ValueError):
        try:
            sock.recv(1)
        except ssl.SSLEOFError:
            return None
        except ssl.SSLError as error:
            return error
        except OSError:
            return None
    return None


def addresses(url: str) -> tuple[str, ...]:
    """What the URL's host resolves to here; Unreached `dns`."""
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreached(Failure(url, "dns", f"lookup {parts.hostname}: {error}")) from error
    return tuple(dict.fromkeys(str(item[4][0]) for item in found))


def _tcp(url: str, egress: str | None, timeout: float) -> socket.socket:
    if egress is None:
        addresses(url)
        return _open(url, timeout)
    if urlsplit(egress).scheme in _UNSPOKEN:
        raise Unreached(Failure(url, "unprobed", f"not asked: the doctor does not speak to {_bare(egress)} as go does"))
    try:
        sock = _open(egress, timeout)
    except (Unreached, OSError) as error:
        raise Unreached(Failure(url, "egress-down", f"{_bare(egress)}: {error}")) from error
    return _tunnelled(sock, url, egress) if urlsplit(url).scheme == "https" else sock


def _open(url: str, timeout: float) -> socket.socket:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, 80)
    try:
        return socket.create_connection((parts.hostname or "", port), timeout)
    except TimeoutError as error:
        raise Unreached(Failure(url, "timeout", f"no connection to port {port} within {timeout:g} s")) from error
    except ConnectionRefusedError as error:
        raise Unreached(Failure(url, "refused", f"connection to port {port} refused")) from error
    except OSError as error:
        trouble: Trouble = "timeout" if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH) else "other"
        raise Unreached(Failure(url, trouble, str(error.strerror or error))) from error


def _tunnelled(sock: socket.socket, url: str, egress: str) -> socket.socket:
    """Ask the web proxy for a tunnel; Unreached `egress-status` when it refuses."""
    parts = urlsplit(url)
    target = f"{parts.hostname}:{parts.port or 443}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *credential_lines(egress, "Proxy-Authorization"), "", ""]
    try:
        sock.sendall("\r\n".join(lines).encode())
        answer = HTTPResponse(sock, method="CONNECT")
        answer.begin()
    except (OSError, HTTPException) as error:
        sock.close()
        raise Unreached(Failure(url, "egress-down", f"{_bare(egress)}: {error}")) from error
    if answer.status != 200:
        sock.close()
        detail = f"{_bare(egress)} answered {answer.status} {answer.reason}"
        raise Unreached(Failure(url, "egress-status", detail, answer.status))
    return sock


def credential_lines(url: str, header: str) -> list[str]:
    """The header line for the user and password in a URL, if there are any."""
    parts = urlsplit(url)
    if not parts.username:
        return []
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return [f"{header}: Basic {base64.b64encode(pair.encode()).decode()}"]


def _tls_failure(url: str, egress: str | None, error: OSError, *, greeted: bool) -> Failure:
    """`greeted`: both sides had agreed on a cipher. A refusal after that, up to TLS 1.2, is for want of a certificate."""
    if greeted and "HANDSHAKE_FAILURE" in str(error):
        return Failure(url, "tls-client-certificate", "the server asked for a client certificate")
    if isinstance(error, ssl.SSLCertVerificationError):
        trouble = _VERIFY.get(error.verify_code, "tls-other")
        certificate, clock = _look(url, egress)
        return Failure(url, trouble, error.verify_message, certificate=certificate, server_time=clock)
    text = str(error)
    if isinstance(error, TimeoutError):
        return Failure(url, "timeout", "no answer to the TLS greeting within the time limit")
    if any(
        sign in text for sign in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
    ):
        return Failure(url, "tls-plain", "the answer to the TLS greeting is not TLS")
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return Failure(url, "cut", "the connection was cut during the TLS greeting")
    return Failure(url, "tls-other", error.reason or text)


def _look(url: str, egress: str | None) -> tuple[Certificate | None, datetime | None]:
    """The certificate the server shows and its clock, unchecked; nothing secret is sent."""
    host = urlsplit(url).hostname
    with (
        suppress(Unreached, OSError, HTTPException, ValueError),
        _tcp(url, egress, _LOOK_SECONDS) as raw,
        unchecked().wrap_socket(raw, server_hostname=host) as sock,
    ):
        return read_certificate(sock.getpeercert(binary_form=True) or b""), _clock(sock, url)
    return None, None


def _clock(sock: socket.socket, url: str) -> datetime | None:
    with suppress(OSError, HTTPException, ValueError, TypeError):
        sock.sendall(f"HEAD / HTTP/1.1\r\nHost: {urlsplit(url).hostname}\r\nConnection: close\r\n\r\n".encode())
        answer = HTTPResponse(sock, method="HEAD")
        answer.begin()
        return parsedate_to_datetime(answer.headers["Date"])
    return None


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 80)}"
