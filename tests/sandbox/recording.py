"""What a server of the sandbox was asked, in the order of its answers."""

import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


@dataclass(frozen=True)
class Recorded:
    """One request: when it came (Unix seconds), what was answered, and after how many seconds."""

    method: str
    path: str
    status: int
    at: float
    seconds: float


class Recorder:
    """Passes requests on to `application` and keeps a `Recorded` of each in `requests`."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self.requests: list[Recorded] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._application(environ, self._noting(environ, start_response))

    def _noting(self, environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
        at, began = time.time(), time.monotonic()

        def noting(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
            method, path = str(environ["REQUEST_METHOD"]), str(environ["PATH_INFO"])
            self.requests.append(Recorded(method, path, int(status[:3]), at, time.monotonic() - began))
            return start_response(status, headers, exc_info)

        return noting


def same_secret(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
