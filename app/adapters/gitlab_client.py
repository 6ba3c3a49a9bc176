"""python-gitlab, tamed: one client per thread, no waiting and no replaying of its own, every failure a SyncError.

Read in python-gitlab 8.6.0: it sleeps without a bound on 429, replays POSTs when told to retry, follows Link headers to
other hosts, and lets exceptions of requests through; its errors carry no headers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import gitlab
import requests
from gitlab.exceptions import GitlabError, GitlabParsingError

from app.adapters.gitlab_errors import Call, classify
from app.adapters.http_session import USER_AGENT, PinnedSession, Transport, proxy_secrets, reason
from app.domain.errors import SyncError
from app.domain.measures import answered
from app.services.measuring import Tally

T = TypeVar("T")
_EXPECTED = (GitlabError, OSError, ValueError, LookupError, TypeError, AttributeError)


class Client(gitlab.Gitlab):
    """A python-gitlab client that asks once and remembers the headers of the last answer."""

    def __init__(self, url: str, token: str, transport: Transport) -> None:
        session = PinnedSession(url, transport)
        session.hooks["response"].append(self._remember)
        self.answer_headers: Mapping[str, str] = {}
        super().__init__(
            url,
            private_token=token,
            ssl_verify=transport.verify,
            user_agent=USER_AGENT,
            keep_base_url=True,
            session=session,
        )

    def http_request(self, verb: str, path: str, *args: Any, **kwargs: Any) -> requests.Response:
        """As the base class, once."""
        once = {"obey_rate_limit": False, "retry_transient_errors": False}
        return super().http_request(verb, path, *args, **{**kwargs, **once})

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """POST JSON, once; the answer's object. GitlabParsingError for another answer."""
        answer = self.http_post(path, post_data=dict(body))
        if not isinstance(answer, dict):
            raise GitlabParsingError("the answer is not an object")
        return answer

    def _remember(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        self.answer_headers = response.headers


class Guard(Protocol):
    """Keeps requests that GitLab refuses from being sent again and again; see gitlab_guard.ApiGuard."""

    def check(self) -> None:
        """Before a request. Errors: token_expired, rate_limited while GitLab is to be left alone."""
        ...

    def refused(self, error: SyncError) -> SyncError:
        """After a 401, a 429 or a ban; the error to raise."""
        ...

    def worked(self) -> None:
        """After a request that was answered."""
        ...


class NoGuard:
    """Lets everything through."""

    def check(self) -> None:
        """Never refuses."""

    def refused(self, error: SyncError) -> SyncError:
        """The same error."""
        return error

    def worked(self) -> None:
        """Nothing to remember."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call as a value: the HTTP status (None: no usable answer) and the error."""

    status: int | None
    error: SyncError

    def is_everybodys(self) -> bool:
        """Whether other requests would fare alike: a refused token, a limit, a banned address (403)."""
        return self.status in (401, 429) or (self.status == 403 and self.error.code == "rate_limited")


_VERSION = Call("get version", "of this GitLab")
_LESS = "insufficient_scope"  # OAuth's word (RFC 6750) for a good token that may do less


class Door:
    """Makes calls to one GitLab with one token; safe for threads, and for processes forked from this one."""

    def __init__(
        self, url: str, token: str, transport: Transport, guard: Guard | None = None,
        more_secrets: Sequence[str] = (), tally: Tally | None = None,
    ) -> None:  # fmt: skip
        self._guard, self._tally = guard or NoGuard(), tally or Tally()
        self.url, self._token, self._transport = url, token.strip(), transport
        self.secrets = (self._token, *more_secrets, *proxy_secrets(transport))
        self._local = threading.local()

    def ask(self, call: Call, act: Callable[[Client], T]) -> T:
        """What `act` makes of the client. SyncError for everything that can go wrong with the call."""
        answer = self.attempt(call, act)
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    def find(self, call: Call, act: Callable[[Client], T]) -> T | None:
        """As ask(), and None for a 404."""
        answer = self.attempt(call, act)
        if not isinstance(answer, Failure):
            return answer
        if answer.status != 404:
            raise answer.error
        return None

    def attempt(self, call: Call, act: Callable[[Client], T]) -> T | Failure:
        """As ask(), with the failure as a value: the library's exceptions hold requests, and so the token."""
        try:
            self._guard.check()
        except SyncError as error:
            return Failure(None, error)
        answer = self._sent(call, act)
        if not isinstance(answer, Failure):
            self._guard.worked()
        elif answer.is_everybodys():
            return self._refused(answer)
        return answer

    def _refused(self, failure: Failure) -> Failure:
        if failure.status == 403 and not self.is_banned():
            return Failure(403, SyncError("forbidden", failure.error.message))
        return Failure(failure.status, self._guard.refused(failure.error))

    def is_banned(self) -> bool:
        """Asks whether GitLab refuses all that this address asks. No usable answer is no proof that it does not."""
        # A ban refuses everything; what stands in front of GitLab may say the same of one path or method.
        answer = self._sent(_VERSION, lambda client: client.http_get("/version"))
        return isinstance(answer, Failure) and (answer.is_everybodys() or (answer.status or 500) >= 500)

    def is_token_known(self) -> bool:
        """Asks whether GitLab knows the token, whatever that may do. No usable answer is no proof that it does.

        Error: rate_limited, where it does not say so now.
        """
        answer = self._sent(_VERSION, lambda client: client.http_get("/version"))
        if not isinstance(answer, Failure):
            return isinstance(answer, dict)  # no login page
        if answer.status == 429:
            raise self._guard.refused(answer.error)
        # Any other 403 may be of a blocked user, or of what stands in front of GitLab.
        return answer.status == 403 and _LESS in answer.error.message

    def _sent(self, call: Call, act: Callable[[Client], T]) -> T | Failure:
        client = self._client()
        client.answer_headers = {}
        began, status = time.perf_counter(), 200
        try:
            return act(client)
        except _EXPECTED as error:
            failure = self._failure(call, error, client.answer_headers)
            status = failure.status or 0
            return failure
        finally:
            self._tally.call(began, "gitlab", "api", call.what.replace(" ", "_"), answered(status or None))

    def close(self) -> None:
        """Close this thread's connections."""
        client: Client | None = getattr(self._local, "client", None)
        if client is not None:
            client.session.close()
            self._local.client = None

    def _client(self) -> Client:
        """This thread's client; a forked process must not share its parent's connections."""
        client: Client | None = getattr(self._local, "client", None)
        if client is None or self._local.pid != os.getpid():
            client = Client(self.url, self._token, self._transport)
            self._local.client, self._local.pid = client, os.getpid()
        return client

    def _failure(self, call: Call, error: Exception, headers: Mapping[str, str]) -> Failure:
        status, message = _status(error), _message(error)
        return Failure(status, classify(status, message, headers, call=call, secrets=self.secrets))


def _status(error: Exception) -> int | None:
    return error.response_code if isinstance(error, GitlabError) else None


def _message(error: Exception) -> Any:
    if isinstance(error, GitlabError) and error.response_code is not None:
        return error.error_message
    if isinstance(error, OSError):
        return reason(error)
    if isinstance(error, (GitlabParsingError, LookupError, TypeError, AttributeError, ValueError)):
        return "the answer is not one of GitLab's API (cut off, a login page, or gitlab.url is wrong)"
    return type(error).__name__
