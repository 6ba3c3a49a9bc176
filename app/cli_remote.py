"""Which server the command line talks to, and with which token: from the environment, never from arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from app.adapters.api_session import ApiSession, Server
from app.adapters.operator_http import HttpOperator
from app.config_models import ConfigError, Problem

_LOCAL = ("127.0.0.1", "::1", "localhost")
_TIMEOUT = "60"


def open_remote(environment: Mapping[str, str]) -> HttpOperator:
    """The API that MODSYNC_URL names; nothing connects yet. Error: ConfigError with every problem."""
    server = server_of(environment)
    parts = urlsplit(server.url)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        click.echo("warning: the token crosses the network readable by all: use https in MODSYNC_URL", err=True)
    return HttpOperator(ApiSession(server))


def server_of(environment: Mapping[str, str]) -> Server:
    """MODSYNC_URL, MODSYNC_TOKEN or MODSYNC_TOKEN_FILE, MODSYNC_CA_FILE or SSL_CERT_FILE, MODSYNC_TIMEOUT.

    Error: ConfigError with every problem; never a token's text.
    """
    given = {name: text.strip() for name, text in environment.items() if text.strip()}
    token = given.get("MODSYNC_TOKEN") or _from_file(given.get("MODSYNC_TOKEN_FILE", ""))
    problems = [*_wrong_url(given.get("MODSYNC_URL", "")), *_wrong_token(token, given), *_wrong_rest(given)]
    if problems:
        raise ConfigError(problems)
    url, seconds = given["MODSYNC_URL"].rstrip("/"), float(given.get("MODSYNC_TIMEOUT", _TIMEOUT))
    return Server(url, SecretStr(token or ""), _ca_file(given), seconds)


def _ca_file(given: Mapping[str, str]) -> str | None:
    return given.get("MODSYNC_CA_FILE") or given.get("SSL_CERT_FILE")


def _from_file(path: str) -> str | None:
    """The token in a file; None when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else None
    except (OSError, UnicodeDecodeError):
        return None


def _wrong_url(text: str) -> Iterator[Problem]:
    fix = "Give modsync's base URL, like https://modsync.corp.example."
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("https", "http") and parts.hostname and (parts.port or True)
    except ValueError:
        named = False
    if not named:
        yield Problem("MODSYNC_URL", "is not an address", fix)
    elif parts.username or parts.password or parts.query or parts.fragment:
        yield Problem("MODSYNC_URL", "holds more than scheme, host, port and path", fix)


def _wrong_token(token: str | None, given: Mapping[str, str]) -> Iterator[Problem]:
    name = "MODSYNC_TOKEN_FILE" if "MODSYNC_TOKEN" not in given and "MODSYNC_TOKEN_FILE" in given else "MODSYNC_TOKEN"
    fix = "Let an administrator make a token: modsync token create NAME --role operator."
    if not token:
        what = (
            "cannot be read, or is empty" if name.endswith("FILE") else "is not set, and neither is MODSYNC_TOKEN_FILE"
        )
        yield Problem(name, what, fix)
    elif not (token.isascii() and token.isprintable()) or " " in token:
        yield Problem(name, "holds characters that are in no token", fix)


def _wrong_rest(given: Mapping[str, str]) -> Iterator[Problem]:
    ca_file = _ca_file(given)
    if ca_file and not Path(ca_file).is_file():
        name = "MODSYNC_CA_FILE" if given.get("MODSYNC_CA_FILE") else "SSL_CERT_FILE"
        yield Problem(name, "names no file", "Give a file of PEM certificates, or leave it out.")
    try:
        good = 0 < float(given.get("MODSYNC_TIMEOUT", _TIMEOUT)) <= 3600
    except ValueError:
        good = False
    if not good:
        yield Problem("MODSYNC_TIMEOUT", "is no number of seconds", "Give 1 to 3600 seconds.")
