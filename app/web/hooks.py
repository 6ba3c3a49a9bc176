"""`POST /hooks/gitlab`: GitLab's pipeline events; all that decides is in app.services.pipeline_hook."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify, make_response, request

from app.domain.errors import SyncError
from app.domain.webhook import BadSignatureError
from app.web import client, metrics
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
        metrics.PIPELINE_EVENTS.labels("refused").inc()
        _log_refusal(error)
        raise
    metrics.PIPELINE_EVENTS.labels("woke" if run else "ignored").inc()
    if run:
        log.info("pipeline_event", extra={"run": run})
    return make_response(jsonify(run=run), 200)


def _log_refusal(error: SyncError) -> None:
    values = {"code": error.code, "reason": error.code}
    if isinstance(error, BadSignatureError):
        # As of a webhook: nobody is known by a token that does not fit, the address is all there is.
        values |= {"reason": error.reason, "address": client.address()}
    log.warning("pipeline_event_refused", extra=values)
