"""The API: runs, one run, replay, cancel, accepted moves, explain. JSON in and out; every error as app.web.errors says."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request

from app.domain.ids import parse_job_id
from app.domain.webhook import parse_object
from app.operator_local import LocalOperator
from app.services.operator import Begun
from app.services.run_filter import LONGEST_PAGE
from app.services.views import RunSummary
from app.web.context import api_url, container, principal, standing
from app.web.orders import can_be_kept, reason_of, stage_of, wrong
from app.web.webhooks import run_links

log = logging.getLogger(__name__)
blueprint = Blueprint("api", __name__, url_prefix="/api")
_FILTERS = frozenset({"module", "version", "commit", "status", "source", "error", "mirror", "since", "until", "q"})
_USUAL_PAGE = 50


def operator() -> LocalOperator:
    """What whoever asks may see and do, in their own name; the guard has checked their role."""
    return LocalOperator(container(), principal().actor, standing())


@blueprint.get("/runs")
def runs() -> dict[str, Any]:
    """Runs, newest first: `{"runs": [...], "next_cursor", "links": {"next"}}`; both are null on the last page."""
    given = arguments(_FILTERS | {"limit", "cursor"})
    wanted = {name: given.get(name) for name in _FILTERS}
    page = operator().runs(wanted, given.get("cursor") or None, page_limit(given.get("limit")))
    following = api_url(f"/api/runs?{urlencode({**given, 'cursor': page.next})}") if page.next else None
    return {
        "runs": [_summary(run) for run in page.items],
        "next_cursor": page.next,
        "links": {"next": following},
    }


@blueprint.get("/runs/<identifier>")
def run(identifier: str) -> dict[str, Any]:
    """All of a run, by its own or any of its jobs' ids."""
    return _summary(operator().run(identifier))


@blueprint.post("/runs/<identifier>/replay")
def replay(identifier: str) -> tuple[dict[str, Any], int]:
    """A new attempt (202); an empty body asks for the usual one. See Replay.replay for the errors."""
    order = body_of("from", "reason", "force")
    stage, reason, force = stage_of(order.get("from")), reason_of(order.get("reason")), truth_of(order, "force")
    begun = operator().replay(identifier, stage, reason, force)
    log.info("replay_asked", extra={"run": begun.run, "job": begun.job, "actor": principal().actor})
    return replay_answer(begun), 202


@blueprint.post("/runs/<identifier>/cancel")
def cancel(identifier: str) -> dict[str, Any]:
    """End a run that is in flight. Errors: not_found, already_ended."""
    done = operator().cancel(identifier, reason_of(body_of("reason").get("reason")))
    log.info("cancel_asked", extra={"run": done.run, "actor": principal().actor})
    return {**done.as_json(), "links": run_links(done.run)}


def replay_answer(begun: Begun) -> dict[str, Any]:
    """What whoever asked for a replay gets: `{"run", "status", "attempt", "job", "links"}`."""
    job = parse_job_id(begun.job or "")
    return {
        "run": begun.run, "status": begun.status.value, "attempt": job.attempt if job else None,
        "job": begun.job, "links": run_links(begun.run),
    }  # fmt: skip


@blueprint.post("/moves")
def accept_move() -> tuple[dict[str, Any], int]:
    """Let a released version move to another commit (202); see AcceptMove.accept for the errors."""
    fields = ("module", "version", "commit", "reason")
    body = body_of(*fields)
    module, version, commit, reason = (text_of(body, name) for name in fields)
    return replay_answer(operator().accept_move(module, version, commit, reason)), 202


@blueprint.get("/explain")
def explain() -> dict[str, Any]:
    """Which rule, mirror, tag and proxy apply to a module (at a version), and what is known of it."""
    given = arguments({"module", "version"})
    if not given.get("module"):
        raise wrong("module", "name a module: ?module=go.corp.example/team/repo")
    return operator().explain(given["module"], given.get("version") or None).as_json()


def _summary(found: RunSummary) -> dict[str, Any]:
    return {**found.as_json(), "links": run_links(found.id)}


def arguments(known: Collection[str]) -> dict[str, str]:
    """The query's parameters, each known and given once. Error: bad_request names the one that is not."""
    for name, values in request.args.lists():
        if name not in known:
            raise wrong(name, f"there is no such parameter; there are {', '.join(sorted(known))}")
        if len(values) > 1:
            raise wrong(name, "is given more than once")
    return request.args.to_dict()


def page_limit(text: str | None) -> int:
    """The parameter `limit`, the usual number where it is missing. Error: bad_request."""
    if text is None:
        return _USUAL_PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= LONGEST_PAGE):
        raise wrong("limit", f"must be a number from 1 to {LONGEST_PAGE}")
    return int(text)


def body_of(*fields: str) -> dict[str, Any]:
    """The request's JSON object, {} for an empty body. Error: bad_request, also for a field that is not one of these."""
    raw = request.get_data(cache=False)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise wrong("body", "is not UTF-8") from None
    body = parse_object(text, "body") if text.strip() else {}
    for name in body:
        if name not in fields:
            raise wrong(name, f"there is no such field; there are {', '.join(fields) or 'none'}")
    return body


def text_of(body: dict[str, Any], name: str, missing: str | None = None) -> str:
    """A text of the body; `missing` where it has none. Error: bad_request names the field."""
    value = body.get(name, missing)
    if not isinstance(value, str) or not can_be_kept(value):
        raise wrong(name, "must be a text")
    return value.strip()


def truth_of(body: dict[str, Any], name: str) -> bool:
    """True or false; false where it is missing. Error: bad_request names the field."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise wrong(name, "must be true or false")
    return value
