"""One GET as go sends it: the same certificates, web proxy and credentials, redirects followed and remembered."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urljoin, urlsplit

from app.doctor.egress import egress_for, reads_requests
from app.doctor.goauth import GoAuth
from app.doctor.observed import BEGINNING, Answer, Failure, Purpose, Request
from app.doctor.probe_socket import PacedResponse, Unreached, addresses, credential_lines, last_words, read_failure
from app.doctor.probe_way import connect
from app.doctor.settings import Entry

_MOST_REQUESTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Client:
    """`auth`: what go sends unasked, and after a 4xx. `timeout` bounds each step, in seconds; of an answer, PacedResponse."""

    trust: ssl.SSLContext
    environment: Mapping[str, str] = field(default_factory=dict)
    auth: GoAuth = field(default_factory=GoAuth)
    timeout: float = 10.0

    def ask(self, purpose: Purpose, url: str, entry: Entry | None = None) -> Request:
        """Ask, and say how it went; never raises."""
        egress = egress_for(url, self.environment)
        began = time.monotonic()
        outcome = self.fetch(url, whole=purpose != "discovery")
        return Request(
            purpose=purpose,
            url=url,
            outcome=outcome,
            seconds=time.monotonic() - began,
            addresses=() if egress else _resolved(url),
            egress=egress,
            with_credentials=bool(self._credentials(url)),
            entry=entry,
        )

    def fetch(self, url: str, limit: int = BEGINNING, *, whole: bool = True) -> Answer | Failure:
        """Follow redirects to an answer, of which at most `limit` bytes are read, or to a failure.

        `whole`: a 200 whose body ends too early is one, too. Only for its go-import go is content with half a page.
        """
        hops: tuple[str, ...] = ()
        while True:
            try:
                answer = self._get(url, limit, whole)
                if not _own(url) and self.auth.again(url, answer):
                    answer = self._get(url, limit, whole)
            except Unreached as unreached:
                return replace(unreached.failure, hops=hops)
            target = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not target:
                return replace(answer, hops=hops)
            hops, url = (*hops, url), joined_to(url, target)
            if refused := refused_hop(hops, url):
                return Failure(url, "redirect", refused, hops=hops)

    def _get(self, url: str, limit: int, whole: bool) -> Answer:
        egress = egress_for(url, self.environment)
        sock = connect(url, egress, self.trust, self.timeout)
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)  # it would seek one in fd00::a
        connection.sock = sock
        connection.response_class = PacedResponse
        try:
            connection.request("GET", _target(url, egress), headers=self._headers(url, egress))
            answer = connection.getresponse()
            body, missing = _read(answer, limit)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreached(read_failure(url, last_words(sock) or error)) from error
        finally:
            connection.close()
        if missing and whole and answer.status == 200:  # of other answers go reads no body
            raise Unreached(Failure(url, "cut", missing))
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(url, answer.status, headers, body)

    def _headers(self, url: str, egress: str | None) -> dict[str, str]:
        headers = {
            "User-Agent": "modsync-doctor",
            "Host": urlsplit(url).netloc.rpartition("@")[2],
            "Connection": "close",
        }
        headers |= self._credentials(url)
        if egress and reads_requests(url, egress):
            headers |= dict(line.split(": ", 1) for line in credential_lines(egress, "Proxy-Authorization"))
        return headers

    def _credentials(self, url: str) -> Mapping[str, str]:
        """The URL's own, else what GOAUTH's commands give for it."""
        return _own(url) or self.auth.headers(url)


def joined_to(url: str, target: str) -> str:
    """Where a `Location: target` of `url` leads; empty where that is no URL."""
    try:
        there = urljoin(url, target)
        _ = urlsplit(there).port
    except ValueError:
        return ""
    return there


def refused_hop(hops: Sequence[str], url: str) -> str:
    """Why go does not follow a redirect from the last of `hops` to `url`; empty: it does (cmd/go/internal/web/http.go)."""
    if not url:
        return "redirected to what is no address"
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        return f"redirected to {scheme or 'no'} scheme"
    if urlsplit(hops[0]).scheme == "https" and scheme != "https":
        return "redirected from a secure URL to an insecure one, which go refuses"
    return f"redirected {len(hops)} times, which is where go stops" if len(hops) >= _MOST_REQUESTS else ""


def _read(answer: http.client.HTTPResponse, limit: int) -> tuple[bytes, str]:
    """At most `limit` bytes of the body, and what is missing of these, in words."""
    try:
        body = answer.read(limit)
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        return getattr(error, "partial", b""), f"the answer was cut off in its middle ({error or type(error).__name__})"
    left = (answer.length or 0) if len(body) < limit else 0
    return body, f"the answer was cut off after {len(body)} of {len(body) + left} bytes" if left else ""


def _own(url: str) -> Mapping[str, str]:
    return dict(line.split(": ", 1) for line in credential_lines(url, "Authorization"))


def _target(url: str, egress: str | None) -> str:
    parts = urlsplit(url)
    path = quote(parts.path or "/", safe="/%!@+~:$&',;=*()") + (f"?{parts.query}" if parts.query else "")
    return f"http://{parts.netloc.rpartition('@')[2]}{path}" if reads_requests(url, egress) else path


def _resolved(url: str) -> tuple[str, ...]:
    try:
        return addresses(url)
    except Unreached:
        return ()
