"""`POST /webhooks/<source>`: bytes in, recorded runs out; all that decides is in app.services.intake."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, request

from app.domain.errors import SyncError
from app.domain.webhook import BadSignatureError
from app.services.intake import Answer
from app.services.stores import Receipt
from app.web import metrics
from app.web.context import api_url, container

log = logging.getLogger(__name__)
blueprint = Blueprint("webhooks", __name__)
_CHUNK = 64 * 1024


@blueprint.post("/webhooks/<source>")
def receive(source: str) -> Response:
    """Take one delivery: 202 with a new run, 200 when all was known or nothing is to do; errors as app.web.errors says."""
    # The sender's text becomes a label only when it is one of our own names.
    label = source if container().settings.source(source) else "unknown"
    try:
        raw = read_body(container().settings.web.max_body_bytes)
        answer = container().intake.receive(source, dict(request.headers), raw)
    except SyncError as error:
        _refused(label, error)
        raise
    _taken(label, answer)
    return make_response(jsonify(answer_body(answer)), 202 if answer.new else 200)


def read_body(limit: int) -> bytes:
    """The raw body; `body_too_large` by its announced length, or after at most limit + 1 bytes of an unannounced one."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    request.max_content_length = limit + 1  # werkzeug's own limit stands just behind ours
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
    metrics.DELIVERIES.labels(label, verdict).inc()
    metrics.REFUSALS.labels(label, reason).inc()
    if isinstance(error, BadSignatureError):
        _skewed(label, error.skew)
    log.warning("delivery_refused", extra={"source": label, "code": error.code, "reason": reason, "field": error.field})


def _taken(label: str, answer: Answer) -> None:
    verdict = "ignored" if answer.ignored else "accepted" if answer.new else "duplicate"
    metrics.DELIVERIES.labels(label, verdict).inc()
    _skewed(label, answer.skew)
    runs = [receipt.run_id for receipt in answer.receipts]
    values = {"source": label, "delivery": answer.delivery, "verdict": verdict, "runs": runs}
    log.info("delivery_received", extra=values)


def _skewed(label: str, skew: timedelta | None) -> None:
    if skew is not None:
        metrics.SKEW.labels(label).set(skew.total_seconds())


def answer_body(answer: Answer) -> dict[str, Any]:
    """`{"delivery", "runs": [{"id", "status", "duplicate", "error"?, "links"}], "ignored"?, "message"?}`."""
    body: dict[str, Any] = {"delivery": answer.delivery, "runs": [_run(receipt) for receipt in answer.receipts]}
    if answer.ignored:
        body |= {"ignored": answer.ignored, "message": answer.message}
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
