"""`POST /hooks/gitlab`: GitLab's pipeline events; all that decides is in app.services.pipeline_hook."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify, make_response, request

from app.domain.errors import SyncError
from app.domain.webhook import BadSignatureError
from app.web import metrics
from app.web.context import container
from app.web.webhooks import read_body

log = logging.getLogger(__name__)
blueprint = Blueprint("hooks", __name__)


@blueprint.post("/hooks/gitlab")
def gitlab() -> Response:
    """200 for everything that GitLab signed: it disables hooks that answer otherwise. `{"run": the one that looks}`."""
    try:
        raw = read_body(container().settings.web.max_body_bytes)
        run = container().pipeline_hook.receive(dict(request.headers), raw)
    except SyncError as error:
        reason = error.reason if isinstance(error, BadSignatureError) else error.code
        metrics.PIPELINE_EVENTS.labels("refused").inc()
        log.warning("pipeline_event_refused", extra={"code": error.code, "reason": reason})
        raise
    metrics.PIPELINE_EVENTS.labels("woke" if run else "ignored").inc()
    if run:
        log.info("pipeline_event", extra={"run": run})
    return make_response(jsonify(run=run), 200)
