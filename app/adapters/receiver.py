"""The way to a receiver of notifications: one POST in bounded time, signed where it is a webhook."""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from pydantic import SecretStr

from app.adapters.http_session import PinnedSession, Transport, proxy_secrets, reason, wait_seconds
from app.adapters.redact import redact
from app.domain.announce import Signing, sign
from app.domain.errors import SyncError
from app.domain.notice_forms import Notice

Form = Callable[[Notice, str], dict[str, Any]]
"""A notice as its receiver's JSON; see app.domain.notice_forms."""

_Answer = tuple[int, str, Mapping[str, str]]
"""Status, the body's beginning, headers."""

_LONGEST_ANSWER = 150
_READ_BYTES = 600
_SECRET_PIECE = 8  # shorter pieces of an address are words like `hooks`
# A receiver that trickles keeps its thread until it ends; so many of them, and nothing more is sent there meanwhile.
_MOST_STUCK = 3


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """Where to and how. `url` may be a secret as a whole; `secret` signs (None: a chat). Times in seconds.

    `total_seconds` bounds a whole try, `connect_seconds` and `read_seconds` its parts.
    """

    name: str
    url: SecretStr
    form: Form
    base_url: str
    secret: SecretStr | None = None
    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    total_seconds: float = 15.0
    ca_file: str | None = None
    http_proxy: str | None = None


class HttpReceiver:
    """See app.services.notify.Receiver. Neither redirects nor the environment lead a message elsewhere."""

    def __init__(self, options: ReceiverOptions) -> None:
        self._options, self._url = options, options.url.get_secret_value()
        self._transport = Transport(
            read_seconds=options.read_seconds, connect_seconds=options.connect_seconds, ca_file=options.ca_file,
            http_proxy=options.http_proxy,
        )  # fmt: skip
        self._stuck: list[threading.Thread] = []

    def send(self, notice: Notice, now: datetime) -> str:
        """See Receiver."""
        body = json.dumps(self._options.form(notice, self._options.base_url), ensure_ascii=False).encode()
        status, text, headers = self._bounded(lambda early: self._post(body, self._headers(notice, body, now), early))
        said = f"HTTP {status} {_phrase(status)}".strip() + (f": {self._clean(text)}" if text else "")
        if 200 <= status < 300:
            return said
        if status == HTTPStatus.GONE:
            raise SyncError("receiver_gone", f"{self._name} answered {said}")
        raise SyncError("receiver_refused", f"{self._name} answered {said}", retry_after=wait_seconds(headers, now))

    def _headers(self, notice: Notice, body: bytes, now: datetime) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._options.secret:
            key = self._options.secret.get_secret_value().encode()
            headers |= sign("standard-webhooks", body, Signing(key, notice.id, now))
        return headers

    def _post(self, body: bytes, headers: Mapping[str, str], early: list[_Answer]) -> _Answer:
        """Into `early` goes what is known before the answer's body."""
        try:
            with PinnedSession(self._url, self._transport) as session:
                answer = session.post(self._url, data=body, headers=dict(headers), stream=True)
                with answer:
                    early.append((answer.status_code, "", answer.headers))
                    return answer.status_code, _beginning(answer), answer.headers
        except (requests.RequestException, OSError, ValueError) as error:
            raise SyncError("receiver_unreachable", f"{self._name}: {self._clean(reason(error))}") from None

    def _bounded(self, work: Callable[[list[_Answer]], _Answer]) -> _Answer:
        """`work` in a thread of its own: time limits of sockets count from byte to byte, not for the whole."""
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if len(self._stuck) >= _MOST_STUCK:
            raise SyncError("receiver_unreachable", f"{self._name} still holds up {len(self._stuck)} earlier messages")
        found: queue.SimpleQueue[Any] = queue.SimpleQueue()
        early: list[_Answer] = []
        thread = threading.Thread(
            target=_into, args=(found, lambda: work(early)), name=f"post-{self._options.name}", daemon=True
        )
        thread.start()
        try:
            result = found.get(timeout=self._options.total_seconds)
        except queue.Empty:
            self._stuck.append(thread)
            if early:
                return early[0]
            message = f"{self._name}: no whole answer within {self._options.total_seconds:g} s"
            raise SyncError("receiver_unreachable", message) from None
        if isinstance(result, BaseException):
            raise result
        answer: _Answer = result
        return answer

    @property
    def _name(self) -> str:
        """The receiver's host: of its address the one part that is never a secret."""
        return urlsplit(self._url).hostname or "the receiver"

    def _clean(self, text: str) -> str:
        """One short line without secrets, whatever the other side says."""
        secret = self._options.secret.get_secret_value() if self._options.secret else ""
        hidden = [*_secret_parts(self._url), secret, *proxy_secrets(self._transport)]
        line = re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", redact(text, [each for each in hidden if len(each) > 1]))
        return line.strip()[:_LONGEST_ANSWER]


def _secret_parts(url: str) -> list[str]:
    """A chat's address is a secret as a whole; a receiver may repeat one long segment or value of it alone, unquoted, too."""
    parts = urlsplit(url)
    values = [pair.partition("=")[2] for pair in parts.query.split("&")]
    pieces = [each for each in (*parts.path.split("/"), *values) if len(each) >= _SECRET_PIECE]
    plain = [unquote(each) for each in (parts.path.strip("/"), parts.query, *pieces)]
    return [url, parts.path.strip("/"), parts.query, *pieces, *plain]


def _beginning(answer: requests.Response) -> str:
    """Of its body; "" for one that is late, cut off or garbled: the status alone says whether the message was taken."""
    try:
        return next(answer.iter_content(_READ_BYTES), b"").decode("utf-8", "replace")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
        return ""


def _into(found: queue.SimpleQueue[Any], work: Callable[[], object]) -> None:
    try:
        found.put(work())
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        found.put(error)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
