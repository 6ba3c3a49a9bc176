"""For schemathesis (SCHEMATHESIS_HOOKS): signs what it sends to webhooks, as the source's scheme and GitLab's hook want it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import requests
import schemathesis
from requests.auth import AuthBase

from app.domain.announce import Signing, sign
from app.domain.schemes import SCHEMES
from app.web.openapi_webhooks import SECURITY

SECRET = "a-secret-of-every-source-for-schemathesis"
SOURCES = tuple(SCHEMES)
"""Of each scheme one source, called as the scheme."""

_turn = count()


class Signed(AuthBase):
    """Signs the bytes that are about to be sent; whatever was generated in a signature's place goes."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else bytes(body)
        for each in SECURITY.values():
            request.headers.pop(each["name"], None)
        request.headers.update(sign(self._scheme, raw, Signing(SECRET.encode(), uuid4().hex, datetime.now(UTC))))
        return request


@schemathesis.hook
def before_call(_context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Only what is for a known source: another one has no scheme. Of Athens' questions every other one has the secret."""
    if case.operation.path == "/hooks/gitlab":
        kwargs["auth"] = Signed(("standard-webhooks", "gitlab-token")[next(_turn) % 2])
    elif case.operation.path == "/webhooks/{source}":
        source = (case.path_parameters or {}).get("source")
        if source in SOURCES:
            kwargs["auth"] = Signed(source)
    elif case.operation.path.startswith("/athens/") and next(_turn) % 2:
        case.path_parameters["secret"] = SECRET
