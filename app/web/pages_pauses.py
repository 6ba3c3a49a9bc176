"""Stop and go from the pages: what `modsync pause` and `modsync resume` do."""

from __future__ import annotations

import logging

from flask import redirect, request
from werkzeug.wrappers import Response as AnyResponse

from app import upkeep
from app.domain.pause import PauseKind
from app.web.context import container, principal
from app.web.orders import reason_of, wrong
from app.web.page import blueprint

log = logging.getLogger(__name__)
_BACK = "/#now-held"


@blueprint.post("/pauses")
def pause() -> AnyResponse:
    """Stop working on something, and back to the first page, which shows it. Error: bad_request (with the field)."""
    kind, value = _kind(), request.form.get("value", "").strip()
    new = upkeep.pausing(container()).pause(kind, value, principal().actor, reason_of(request.form.get("reason")))
    log.info("paused", extra={"pause": f"{kind} {value}".strip(), "new": new, "actor": principal().actor})
    return redirect(_BACK, 303)


@blueprint.post("/pauses/resume")
def resume() -> AnyResponse:
    """Go on. Errors: not_found (nothing is paused so), bad_request."""
    kind, value = _kind(), request.form.get("value", "").strip()
    woken = upkeep.pausing(container()).resume(kind, value, principal().actor, reason_of(request.form.get("reason")))
    log.info("resumed", extra={"pause": f"{kind} {value}".strip(), "runs": woken, "actor": principal().actor})
    return redirect(_BACK, 303)


def _kind() -> PauseKind:
    text = request.form.get("kind", "")
    if text not in list(PauseKind):
        raise wrong("kind", f"must be one of {', '.join(PauseKind)}")
    return PauseKind(text)
