"""The way to a server as go takes it: straight or through a web proxy (HTTP, HTTPS, SOCKS5); each step fails by its own name."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from http.client import HTTPException
from urllib.parse import urlsplit

from app.doctor.egress import is_socks, joined, login_of, masked, place_of, reads_requests
from app.doctor.observed import Failure, Trouble
from app.doctor.probe_socket import (
    PacedResponse,
    Unreached,
    addresses,
    credential_lines,
    last_words,
    open_socket,
    read_failure,
    target,
)
from app.doctor.probe_socks import Refusal, ask_socks
from app.doctor.probe_tls import Wire, first_tls, greeted, tls

_LOOK_SECONDS = 5.0


def connect(url: str, egress: str | None, context: ssl.SSLContext, timeout: float) -> Wire:
    """What a request for `url` can be written on, TLS done; Unreached says which step failed."""
    sock = _way(url, egress, context, timeout)
    if urlsplit(url).scheme != "https":
        return sock
    return greeted(tls(sock, context, url), url, lambda: _way(url, egress, context, _LOOK_SECONDS))


def _way(url: str, egress: str | None, context: ssl.SSLContext, timeout: float) -> socket.socket:
    if egress is None:
        addresses(url)
        return open_socket(url, target(url), timeout)
    sock = _to_egress(url, egress, context, timeout)
    if reads_requests(url, egress):
        return sock
    try:
        (_ask_socks if is_socks(egress) else _ask_http)(sock, url, egress)
    except (Unreached, OSError, HTTPException) as error:
        failure = error.failure if isinstance(error, Unreached) else _unanswered(sock, url, egress, error)
        sock.close()
        raise Unreached(failure) from error
    return sock


def _to_egress(url: str, egress: str, context: ssl.SSLContext, timeout: float) -> socket.socket:
    """A connection to the web proxy, with TLS if its URL says so."""
    place = place_of(egress)
    own = f"https://{joined(*place)}"
    try:
        sock = open_socket(own, place, timeout)
        if urlsplit(egress).scheme != "https":
            return sock
        return greeted(first_tls(sock, context, own), own, lambda: open_socket(own, place, _LOOK_SECONDS))
    except Unreached as unreached:
        raise Unreached(_of_egress(url, egress, unreached.failure)) from unreached


def _of_egress(url: str, egress: str, failure: Failure) -> Failure:
    """What failed on the way to the web proxy; of its TLS it is told as of any server's, under its own address."""
    if failure.trouble == "tls-plain":
        return _failure(url, egress, "egress-scheme", "it speaks no TLS")
    if failure.trouble.startswith("tls-"):
        return replace(failure, detail=f"TLS with the web proxy: {failure.detail}", egress=masked(egress))
    return _failure(url, egress, "egress-down", failure.detail)


def _unanswered(sock: socket.socket, url: str, egress: str, error: Exception) -> Failure:
    said = None if isinstance(error, TimeoutError) else last_words(sock)
    own = f"https://{joined(*place_of(egress))}"
    return _of_egress(url, egress, read_failure(own, said or error))


def _ask_http(sock: socket.socket, url: str, egress: str) -> None:
    """Ask for a tunnel by CONNECT."""
    there = joined(*target(url))
    lines = [f"CONNECT {there} HTTP/1.1", f"Host: {there}", *credential_lines(egress, "Proxy-Authorization"), "", ""]
    sock.sendall("\r\n".join(lines).encode())
    answer = PacedResponse(sock, method="CONNECT")
    answer.begin()
    if answer.status != 200:
        trouble: Trouble = "egress-login" if answer.status == 407 else "egress-status"
        raise Unreached(_failure(url, egress, trouble, f"answered {answer.status} {answer.reason}"))


def _ask_socks(sock: socket.socket, url: str, egress: str) -> None:
    try:
        ask_socks(sock, *target(url), login_of(egress))
    except Refusal as refusal:
        raise Unreached(_failure(url, egress, refusal.trouble, str(refusal))) from refusal


def _failure(url: str, egress: str, trouble: Trouble, words: str) -> Failure:
    return Failure(url, trouble, f"web proxy {joined(*place_of(egress))}: {words}", egress=masked(egress))
