"""`GET https://<module path>?go-get=1`: `go` and Athens find the GitLab mirror, also in subgroups and behind vanity hosts.

Not a route: the module's host and path decide, whatever page of ours has the same path; only [discovery] opens it.
"""

from __future__ import annotations

import base64
import binascii
import re

from flask import Flask, Response, make_response, request

from app.adapters.read_store import SqlReadStore
from app.services.discovery import Discovery
from app.web import client, metrics, security
from app.web.context import container, routing

_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_PORT = re.compile(r":[0-9]{1,5}$")


def register(app: Flask) -> None:
    """Answer before the guard asks for a token: whoever may ask is decided here."""
    app.before_request(answer)


def answer() -> Response | None:
    """None for everything that is not `go`'s question, and always while discovery is off."""
    if request.method not in ("GET", "HEAD"):
        return None
    if container().settings.discovery.mode == "off" or request.args.get("go-get") != "1":
        return None
    if not _permitted():
        return _refused()
    found = _service().find(_module_path())
    metrics.DISCOVERIES.labels("found" if found else "unknown").inc()
    if found is None:
        return _plain(404, "modsync mirrors no module with this path\n")
    return make_response(found.page(), 200, {"Content-Type": _HTML})


def _service() -> Discovery:
    parts = container()
    return Discovery(routing(), SqlReadStore(parts.engine, parts.clock).mirrors, parts.settings.discovery.clone)


def _module_path() -> str:
    """The host that was asked for is part of the path; a port, which only tests have, is not."""
    return f"{_PORT.sub('', request.host)}{request.path}".rstrip("/")


def _permitted() -> bool:
    settings = container().settings.discovery
    if settings.mode == "token":
        expected = settings.token.get_secret_value() if settings.token else ""
        return bool(expected) and security.same_secret(_token(), expected)
    return settings.mode == "open" or _near()


def _near() -> bool:
    """True for the networks of the settings; behind a proxy that is not trusted nobody is near."""
    return client.is_in(container().settings.discovery.networks)


def _token() -> str:
    """The bearer, or the password of Basic, which is what `go` sends from a netrc."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    try:
        pair = base64.b64decode(value, validate=True).decode() if kind.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return pair.partition(":")[2]


def _refused() -> Response:
    """The same for modules that are there and those that are not."""
    metrics.DISCOVERIES.labels("refused").inc()
    if container().settings.discovery.mode != "token":
        return _plain(403, "discovery is not open to this address\n")
    response = _plain(401, "discovery needs modsync's discovery token\n")
    response.headers["WWW-Authenticate"] = 'Basic realm="modsync discovery"'
    return response


def _plain(status: int, text: str) -> Response:
    return make_response(text, status, {"Content-Type": _TEXT})
