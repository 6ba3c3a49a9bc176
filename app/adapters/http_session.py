"""HTTP sessions for hosts that get modsync's credentials: nothing of the environment, no redirects, no other host."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from app.adapters.http_allowance import ALLOWED, Allowance, AllowedAdapter
from app.adapters.http_pinned import Addresses, PinnedAdapter
from app.domain.http_date import http_date

USER_AGENT = f"modsync/{version('modsync')}"
_LONGEST_REASON = 200
_LONGEST_WAIT = 3600.0  # no other side may put us to sleep for longer
_WAITS = 4
SLOW_LINE = 16 * 1024.0
"""Bytes a second: for large answers, what comes faster is no trickle but a slow line."""
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_LOW_LEVEL = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Transport:
    """How to reach one host. Times in seconds: `read_seconds` bounds each wait for bytes, `total_seconds` the whole answer
    (None: four times as long); `slowest`: what comes at so many bytes a second or more may take longer.

    `ca_file` replaces the default trust store; `http_proxy` is a URL for all requests. `get_retries` counts repeats of
    a GET whose connection broke; other methods are never sent twice. `addresses`: the only ones that are connected to
    (not by way of a proxy); None: the name is looked up.
    """

    read_seconds: float = 30.0
    connect_seconds: float = 10.0
    ca_file: str | None = None
    http_proxy: str | None = None
    get_retries: int = 0
    total_seconds: float | None = None
    slowest: float = 0.0
    addresses: Addresses | None = None

    @property
    def allowance(self) -> Allowance:
        """For one request."""
        return Allowance(self.total_seconds or _WAITS * self.read_seconds, self.slowest)

    @property
    def verify(self) -> bool | str:
        """What `requests` wants to know of trust: a CA file, or True for the default store."""
        return self.ca_file or True


class ForeignHost(requests.exceptions.InvalidURL):
    """A request to another host than the session was made for; it was not sent."""


class PinnedSession(requests.Session):
    """Talks to the origin of `base_url` only, so that no redirect, Link header or body can take credentials away."""

    def __init__(self, base_url: str, transport: Transport) -> None:
        super().__init__()
        self._origin = origin(base_url)
        self._timeout = (transport.connect_seconds, transport.read_seconds)
        self._allowance = transport.allowance
        self.trust_env = False  # neither ~/.netrc nor *_proxy nor REQUESTS_CA_BUNDLE of whoever started us
        self.verify = transport.verify
        self.headers["User-Agent"] = USER_AGENT
        if transport.http_proxy:
            self.proxies = {"http": transport.http_proxy, "https": transport.http_proxy}
        retries = _retries(transport.get_retries)
        pinned = transport.addresses
        adapter = PinnedAdapter(pinned, max_retries=retries) if pinned else AllowedAdapter(max_retries=retries)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the base class names it so
        """Never: a redirect is an answer like any other."""
        return None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send with the session's time limits. ForeignHost when the URL leads elsewhere."""
        if origin(request.url or "") != self._origin:
            raise ForeignHost(f"refused to send a request to {shown_url(request.url or '')}")
        mine = ALLOWED.set(self._allowance)
        try:
            return super().send(request, **{**kwargs, "timeout": self._timeout})
        finally:
            ALLOWED.reset(mine)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (the scheme's own where the URL names none)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def shown_url(url: str) -> str:
    """A URL as messages may show it: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def proxy_secrets(transport: Transport) -> tuple[str, ...]:
    """The password in the HTTP proxy's URL, if there is one."""
    password = urlsplit(transport.http_proxy or "").password
    return (password,) if password else ()


def reason(error: BaseException) -> str:
    """Why a request got no usable answer, in a few words: never a header's value or a URL's query."""
    if isinstance(error, ForeignHost):
        return str(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)):
        return "no answer within the time limit"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return "the answer was cut off or garbled"
    if isinstance(error, (requests.exceptions.ConnectionError, OSError)) and not isinstance(error, ValueError):
        return _root(error)
    return f"the request could not be made ({type(error).__name__})"


def wait_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long the other side wishes us to wait: Retry-After (seconds or a date), else RateLimit-Reset (Unix time).

    0 to 3600 s; None when it says nothing readable. Dates are measured from the answer's own Date where it has one, so
    that a wrong clock here does not matter. `now` is aware.
    """
    fields = {name.lower(): value.strip() for name, value in headers.items()}
    now = http_date(fields.get("date", "")) or now
    wish, reset = fields.get("retry-after", ""), fields.get("ratelimit-reset", "")
    if _NUMBER.fullmatch(wish):
        return _bounded(float(wish))
    if moment := http_date(wish):
        return _bounded((moment - now).total_seconds())
    return _bounded(float(reset) - now.timestamp()) if _NUMBER.fullmatch(reset) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _root(error: BaseException) -> str:
    """The operating system's or TLS library's own words, at the bottom of what requests and urllib3 wrapped."""
    below = error.__cause__ or error.__context__
    while isinstance(below, _LOW_LEVEL):
        error, below = below, below.__cause__ or below.__context__
    if isinstance(error, TimeoutError):
        return "no answer within the time limit"
    text = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    return str(text)[:_LONGEST_REASON] or type(error).__name__


def _retries(gets: int) -> urllib3.Retry:
    """urllib3 repeats connection attempts of any method (nothing was sent yet), and reads of GETs only."""
    if not gets:
        return urllib3.Retry(total=0, read=False)
    return urllib3.Retry(
        total=gets, redirect=0, status=0, other=0, allowed_methods={"GET"}, backoff_factor=0.2,
        respect_retry_after_header=False,  # an answer is an answer: urllib3 would make a 503 with Retry-After a broken connection
    )  # fmt: skip
