"""What protects the pages: headers, the same-origin check, and the key that signs sessions."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Response, request
from werkzeug.exceptions import Forbidden

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# One for all pages, the RQ dashboard's, too.
_CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
# The same for everybody, with or without a session.
_SHARED = frozenset({"setup.page", "setup.script"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def add_headers(response: Response) -> Response:
    """What an answer's route decides; only static files, and for minutes what is the same for all, may be kept by caches."""
    headers, endpoint = response.headers, request.endpoint or ""
    headers["Content-Security-Policy"] = _CSP
    if endpoint in _SHARED and response.status_code == 200:
        headers["Cache-Control"] = "public, max-age=300"
    elif not endpoint.endswith("static"):
        headers["Cache-Control"] = "no-store"
    return response


class SameForAll:
    """A WSGI application whose every answer has the headers that no route decides."""

    _headers = (
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        # Not no-referrer: with that, browsers send "Origin: null" with our own forms.
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            return start_response(status, [*headers, *self._headers], *error)

        return self._application(environ, start)


def changes_state() -> bool:
    """True when this request's method may change something."""
    return request.method not in _SAFE_METHODS


def require_same_origin(base_url: str, *, browsers_only: bool = False) -> None:
    """Refuse (403) a request that another site made a browser send.

    With neither header it is no browser of this decade: refused too, unless `browsers_only`.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    own = {_origin(base_url), _origin(request.host_url)}
    allowed = site == "same-origin" if site else origin in own if origin else browsers_only
    if not allowed:
        raise Forbidden("the request does not come from modsync's own pages")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def same_secret(given: str, expected: str) -> bool:
    """Compare in a time that depends on neither text: digests have one length."""
    left, right = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(left, right)


def signing_key(data_dir: Path, purpose: str) -> str:
    """A key for one purpose, derived from `data_dir`/secret_key, which is made once (0600) by whoever is first."""
    return hmac.new(_root_key(data_dir / "secret_key"), purpose.encode(), hashlib.sha256).hexdigest()


def _root_key(path: Path) -> bytes:
    if not path.exists():
        _make_key(path)
    return path.read_bytes()


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    # A link appears whole or not at all: of several processes at once the first one's key is everybody's.
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
