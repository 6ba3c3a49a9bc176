"""`POST /athens/validate/<secret>`: Athens' validation hook. 200 or 403 and nothing else: Athens makes a 500 of the rest."""

from __future__ import annotations

import json
import logging
import time
from typing import cast

from flask import Blueprint, Flask, Response, current_app, make_response
from werkzeug.exceptions import HTTPException

from app.athens_hook import AthensHook
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.services.validation import Verdict
from app.web import client, metrics, security
from app.web.context import container
from app.web.webhooks import read_body

log = logging.getLogger(__name__)
blueprint = Blueprint("athens", __name__)
_EXTENSION = "modsync_athens"
_LARGEST = 8192
_LONGEST = 500  # of a name, in the database too


def register(app: Flask, parts: Container) -> None:
    """Add the hook's route."""
    app.extensions[_EXTENSION] = AthensHook(parts)
    app.register_blueprint(blueprint)


@blueprint.post("/athens/validate/<secret>")
def validate(secret: str) -> Response:
    """200 with no body (Athens logs any body as a warning), 403 with the reason."""
    if not _knows(secret):
        return _answer(Verdict(False, "wrong_secret"))
    asked = _question()
    if asked is None:
        return _answer(Verdict(False, "not_a_question"))
    started = time.monotonic()
    verdict = _verdict(*asked)
    _write(*asked, verdict, time.monotonic() - started)
    return _answer(verdict)


def _verdict(module: str, version: str) -> Verdict:
    """No defect of ours stops a build: a 500 here would be one there, for every version."""
    try:
        return _hook().validation.ask(module, version)
    except Exception:
        log.exception("validation_defect", extra={"asked": f"{module}@{version}"})
        return Verdict(True, "unchecked")


def _hook() -> AthensHook:
    return cast(AthensHook, current_app.extensions[_EXTENSION])


def _knows(secret: str) -> bool:
    expected = container().settings.athens.secret
    return expected is not None and security.same_secret(secret, expected.get_secret_value())


def _question() -> tuple[str, str] | None:
    """(module, version) of `{"Module", "Version"}`; None for anything else."""
    try:
        body = json.loads(read_body(_LARGEST))
    except (SyncError, HTTPException, ValueError, RecursionError):
        return None
    found = (body.get("Module"), body.get("Version")) if isinstance(body, dict) else (None, None)
    module, version = found
    if not isinstance(module, str) or not isinstance(version, str):
        return None
    named = all(each and len(each) <= _LONGEST and each.isprintable() for each in (module, version))
    return (module, version) if named else None


def _write(module: str, version: str, verdict: Verdict, seconds: float) -> None:
    _hook().audit.write(
        at=container().clock.now().isoformat(), module=module, version=version, allowed=verdict.allowed,
        reason=verdict.reason, run=verdict.run, asker=client.address(), ms=round(seconds * 1000, 1),
    )  # fmt: skip


def _answer(verdict: Verdict) -> Response:
    metrics.VALIDATIONS.labels("allowed" if verdict.allowed else "refused", verdict.reason).inc()
    if verdict.allowed:
        return make_response("", 200)
    return make_response(f"modsync: {verdict.reason}\n", 403, {"Content-Type": "text/plain; charset=utf-8"})
