"""Errors as answers, in one form: `{"error": {"code", "message", "field"?, "advice"?, "retry"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, make_response, render_template, request
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]
from redis.exceptions import RedisError
from werkzeug.exceptions import BadRequest, HTTPException

from app.domain.errors import CATALOG, SyncError
from app.web.context import container

log = logging.getLogger(__name__)

# The one table from our codes to HTTP; a code that no route raises is a defect of ours when it arrives here (500).
STATUS: Mapping[str, int] = {
    "bad_signature": 401, "unauthorized": 401, "forbidden_role": 403, "forbidden_scope": 403, "not_found": 404,
    "already_done": 409, "already_ended": 409, "still_running": 409, "not_replayable": 409, "no_rule": 409,
    "body_too_large": 413, "invalid_payload": 422, "clone_url_refused": 422, "bad_request": 422,
    "source_rate_limited": 429, "internal": 500, "store_unavailable": 503, "queue_unavailable": 503, "busy": 503,
}  # fmt: skip

# What HTTP itself refuses, before anything of ours is asked: status -> (code, advice).
_HTTP: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "Correct the request: it is not whole or not HTTP as modsync understands it."),
    403: ("cross_site", "Send it from modsync's own pages, or use the API with a token."),
    404: ("not_found", "Check the address."),
    405: ("method_not_allowed", "Use one of the methods in the Allow header."),
    413: ("body_too_large", CATALOG["body_too_large"].advice),
    415: ("bad_request", "Send JSON."),
    429: ("too_many_attempts", "Wait as long as the Retry-After header says."),
}
_RETRY_SECONDS = 5


def register(app: Flask) -> None:
    """Make every error of `app` answer in the one form."""
    app.register_error_handler(SyncError, sync_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(RedisError, redis_error)
    for kind in (NoMoreData, ParseException):
        app.register_error_handler(kind, broken_body)
    app.register_error_handler(Exception, defect)


def sync_error(error: SyncError) -> Response:
    """An error of ours."""
    status = STATUS.get(error.code, 500)
    if status == 500:
        log.error("request_failed", extra={"route": route(), "code": error.code, "detail": error.message})
        return _internal()
    body = {"code": error.code, "message": error.message, "advice": error.advice, "retry": error.retryable}
    if error.field:
        body["field"] = error.field
    response = _answer(status, body)
    if status in (429, 503):
        response.headers["Retry-After"] = str(ceil(error.retry_after or _RETRY_SECONDS))
    if error.code == "unauthorized":
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def http_error(error: HTTPException) -> Response:
    """What werkzeug refused, or a redirect of its own."""
    original = error.get_response()
    status = error.code or 500
    if status < 400:
        return make_response(original)
    if status >= 500:
        return _internal()
    code, advice = _HTTP.get(status, ("bad_request", CATALOG["bad_request"].advice))
    body = {"code": code, "message": _message(error), "advice": advice, "retry": status == 429}
    response = _answer(status, body)
    for name in ("Allow", "Retry-After"):
        if name in original.headers:
            response.headers[name] = original.headers[name]
    return response


def own_path(response: Response) -> Response:
    """A redirect within modsync names the path alone: what name and scheme the request came by is not trusted.

    werkzeug's own (a slash at the end) are whole URLs, and no error handler sees them.
    """
    parts = urlsplit(response.location or "")
    if parts.netloc and parts.netloc == request.host:
        path = "/" + parts.path.lstrip("/")
        response.location = f"{path}?{parts.query}" if parts.query else path
        response.set_data(b"")
    return response


def redis_error(error: RedisError) -> Response:
    """Redis is away in the middle of a page that shows it."""
    return sync_error(SyncError("queue_unavailable", f"Redis does not answer: {type(error).__name__}"))


def broken_body(_error: Exception) -> Response:
    """gunicorn found, while a body was read, that it is not whole or not HTTP."""
    return http_error(BadRequest("the body is not whole"))


def defect(error: Exception) -> Response:
    """Anything else is a defect: all of it into the log, none of it to whoever asked."""
    log.error("request_defect", extra={"route": route()}, exc_info=error)
    return _internal()


def route() -> str:
    """The route's pattern for logs and metrics: never the sender's own text."""
    return request.url_rule.rule if request.url_rule else "none"


def wants_page() -> bool:
    """True for a browser that asks for a page; API and webhook clients always get JSON."""
    if request.path.startswith(("/api/", "/webhooks/")):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _internal() -> Response:
    body = {"code": "internal", "message": "modsync failed; the log says where", "retry": True}
    return _answer(500, {**body, "advice": CATALOG["internal"].advice})


def _answer(status: int, body: dict[str, Any]) -> Response:
    base = container().settings.web.base_url
    page = render_template("error.html", status=status, error=body, base_url=base) if wants_page() else None
    return make_response(page or jsonify(error=body), status)


def _message(error: HTTPException) -> str:
    """werkzeug's own sentence; of a 404 it is too long for an API."""
    return "there is nothing at this address" if error.code == 404 else str(error.description or error.name)
