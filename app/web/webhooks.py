"""`POST /webhooks/<source>`: bytes in, recorded runs out; all that decides is in app.services.intake."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, request
from prometheus_client import Counter

from app.domain.errors import SyncError
from app.domain.webhook import BadSignatureError, Headers
from app.services.intake import Answer
from app.services.stores import Receipt
from app.web import client, metrics
from app.web.context import api_url, container

log = logging.getLogger(__name__)
blueprint = Blueprint("webhooks", __name__)
_CHUNK = 64 * 1024
_encode = json.JSONEncoder(separators=(",", ":")).encode


@blueprint.post("/webhooks/<source>")
def receive(source: str) -> Response:
    """Take one delivery: 202 with a new run, 200 when all was known or nothing is to do; errors as app.web.errors says."""
    # The sender's text becomes a label only when it is one of our own names.
    parts = container()
    label = source if parts.settings.source(source) else metrics.UNKNOWN
    try:
        raw = read_body(parts.settings.web.max_body_bytes)
        answer = parts.intake.receive(source, request_headers(request.environ), raw)
    except SyncError as error:
        _refused(label, error)
        raise
    _taken(label, answer)
    return Response(_encode(answer_body(answer)) + "\n", 202 if answer.new else 200, content_type="application/json")


def request_headers(environ: Mapping[str, Any]) -> Headers:
    """The request's headers; werkzeug's own view of them makes each name anew for every look."""
    found = Headers({name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")})
    if kind := environ.get("CONTENT_TYPE"):
        found["content-type"] = kind
    return found


def read_body(limit: int) -> bytes:
    """The raw body; `body_too_large` by its announced length, or after at most limit + 1 bytes of an unannounced one."""
    length = request.content_length
    if (length or 0) > limit:
        raise _too_large(limit)
    request.max_content_length = limit + 1  # werkzeug's own limit stands just behind ours
    if length is not None:
        return request.get_data(cache=False)
    parts: list[bytes] = []
    left = limit + 1
    while left and (part := request.stream.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _too_large(limit)
    return b"".join(parts)


def _too_large(limit: int) -> SyncError:
    return SyncError("body_too_large", f"the body is larger than {limit} bytes")


def _refused(label: str, error: SyncError) -> None:
    reason = error.reason if isinstance(error, BadSignatureError) else error.code
    verdict = "refused" if isinstance(error, BadSignatureError) else error.code
    _counted(metrics.DELIVERIES, label, verdict).inc()
    _counted(metrics.REFUSALS, label, reason).inc()
    values = {"source": label, "code": error.code, "reason": reason, "field": error.field}
    if isinstance(error, BadSignatureError):
        _skewed(label, error.skew)
        values["address"] = client.address()  # nobody is known by a signature: the address is all there is
    log.warning("delivery_refused", extra=values)


def _taken(label: str, answer: Answer) -> None:
    verdict = "ignored" if answer.ignored else "accepted" if answer.new else "duplicate"
    _counted(metrics.DELIVERIES, label, verdict).inc()
    _skewed(label, answer.skew)
    runs = [receipt.run_id for receipt in answer.receipts]
    values = {"source": label, "delivery": answer.delivery, "verdict": verdict, "runs": runs}
    log.info("delivery_received", extra=values)


@lru_cache(1024)
def _counted(family: Counter, label: str, value: str) -> Counter:
    """The counter of these labels, found once."""
    return family.labels(label, value)


def _skewed(label: str, skew: timedelta | None) -> None:
    if skew is not None:
        metrics.SKEW.labels(label).set(skew.total_seconds())


def answer_body(answer: Answer) -> dict[str, Any]:
    """`{"delivery", "runs": [{"id", "status", "duplicate", "error"?, "links"}], "ignored"?, "message"?}`."""
    body: dict[str, Any] = {"delivery": answer.delivery, "runs": [_run(receipt) for receipt in answer.receipts]}
    if answer.ignored:
        body["ignored"] = answer.ignored
    if answer.message:
        body["message"] = answer.message
    return body


def _run(receipt: Receipt) -> dict[str, Any]:
    run: dict[str, Any] = {"id": receipt.run_id, "status": receipt.status.value, "duplicate": receipt.duplicate}
    if receipt.error:
        run["error"] = receipt.error
    return {**run, "links": run_links(receipt.run_id)}


def run_links(run_id: str) -> dict[str, str]:
    """Where to look at a run, and where to replay it."""
    address = api_url(f"/api/runs/{run_id}")
    return {"self": address, "replay": f"{address}/replay"}
