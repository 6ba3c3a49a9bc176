"""HTTP to modsync's own API from another machine: one token, one host, errors as the server's or our own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from pydantic import SecretStr
from requests.utils import get_environ_proxies

from app.adapters.http_session import SLOW_LINE, PinnedSession, Transport, reason, shown_url, wait_seconds
from app.domain.errors import CATALOG, ErrorKind, Retry, SyncError
from app.domain.http_date import http_date
from app.services.operator import AnswerError

_GET_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API is. `url` without a slash at its end; `ca_file` replaces the default trust store."""

    url: str
    token: SecretStr
    ca_file: str | None = None
    timeout_seconds: float = 60.0


class ApiSession:
    """Asks; not for several threads. Only GETs are repeated, and only when a connection breaks."""

    def __init__(self, server: Server) -> None:
        self._server = server
        proxy = get_environ_proxies(server.url).get(server.url.partition(":")[0])
        transport = Transport(
            server.timeout_seconds, min(10.0, server.timeout_seconds), server.ca_file, proxy, _GET_RETRIES,
            slowest=SLOW_LINE,
        )  # fmt: skip
        self._session = PinnedSession(server.url, transport)
        self._session.headers["Accept"] = "application/json"
        self._session.headers["Authorization"] = f"Bearer {server.token.get_secret_value()}"
        self.date: datetime | None = None

    def get(self, path: str, query: Mapping[str, str | None] | None = None) -> Any:
        """The JSON of `path`; empty parameters are left out. Errors: see Operator."""
        asked = {name: text for name, text in (query or {}).items() if text}
        return self._ask("GET", path, params=asked)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the server answers to a change; never sent twice. Errors: see Operator."""
        return self._ask("POST", path, json=dict(body or {}))

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._session.request(method, self._server.url + path, **more)
        except (requests.RequestException, OSError) as error:
            where = shown_url(self._server.url)
            raise SyncError("server_unreachable", f"{where} does not answer: {reason(error)}") from None
        self.date = http_date(answer.headers.get("Date", ""))
        if answer.ok and not answer.is_redirect:
            return _json(answer)
        raise _error(answer)


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        kind = answer.headers.get("Content-Type", "no type")[:80]
        raise SyncError("server_wrong", f"{shown_url(answer.url)} answers no JSON but {kind}: a login page?") from None


def _error(answer: requests.Response) -> SyncError:
    said = _said(answer)
    if said is not None:
        return said
    where, status = shown_url(answer.url), answer.status_code
    if 300 <= status < 400:
        target = shown_url(answer.headers.get("Location", ""))
        return SyncError("server_wrong", f"{where} redirects to {target}: a login page, or another address")
    if status in (407, 429) or status >= 500:
        return SyncError(
            "server_unreachable", f"{where} is not reached: something before modsync answers HTTP {status}"
        )
    return SyncError("server_wrong", f"{where} answers HTTP {status}, and not as modsync does")


def _said(answer: requests.Response) -> SyncError | None:
    """The server's own error; None when the answer is not in its form."""
    try:
        error = answer.json()["error"]
        code, message, advice = (str(error[name]) for name in ("code", "message", "advice"))
    except (ValueError, TypeError, KeyError):
        return None
    wait = wait_seconds(answer.headers, datetime.now(UTC)) if answer.status_code in (429, 503) else None
    known = CATALOG.get(code)
    kind = ErrorKind(code, known.retry if known else Retry.NEVER, advice)
    return AnswerError(kind, message + (f" (wait {wait:.0f} s)" if wait else ""), retry_after=wait)
