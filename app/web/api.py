"""The API: runs, one run, replay, accepted moves, explain. JSON in and out; every error as app.web.errors says."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request

from app.domain.errors import SyncError
from app.domain.ids import parse_job_id
from app.domain.run import Stage
from app.domain.webhook import parse_object
from app.services.moves import MoveOrder
from app.services.run_filter import RunFilter
from app.services.stores import Receipt, ReplayOrder
from app.services.views import RunSummary
from app.web.context import api_url, container, principal, queries
from app.web.webhooks import run_links

log = logging.getLogger(__name__)
blueprint = Blueprint("api", __name__, url_prefix="/api")
_FILTERS = frozenset({"module", "version", "commit", "status", "source", "error", "mirror", "since", "until", "q"})
_LONGEST_PAGE, _USUAL_PAGE = 200, 50
_LONGEST_REASON = 500


@blueprint.get("/runs")
def runs() -> dict[str, Any]:
    """Runs, newest first: `{"runs": [...], "next_cursor", "links": {"next"}}`; both are null on the last page."""
    given = arguments(_FILTERS | {"limit", "cursor"})
    wanted = RunFilter.parse({name: given.get(name) for name in _FILTERS}, container().clock.now())
    page = queries().runs(wanted, given.get("cursor") or None, page_limit(given.get("limit")))
    following = api_url(f"/api/runs?{urlencode({**given, 'cursor': page.next})}") if page.next else None
    return {
        "runs": [_summary(run) for run in page.items],
        "next_cursor": page.next,
        "links": {"next": following},
    }


@blueprint.get("/runs/<identifier>")
def run(identifier: str) -> dict[str, Any]:
    """All of a run, by its own or any of its jobs' ids."""
    return _summary(queries().run(identifier))


@blueprint.post("/runs/<identifier>/replay")
def replay(identifier: str) -> tuple[dict[str, Any], int]:
    """A new attempt (202); see Replay.replay for the errors."""
    receipt = container().replay.replay(identifier, _order())
    log.info("replay_asked", extra={"run": receipt.run_id, "job": receipt.job, "actor": principal().actor})
    return replay_answer(receipt), 202


def replay_answer(receipt: Receipt) -> dict[str, Any]:
    """What whoever asked for a replay gets: `{"run", "status", "attempt", "job", "links"}`."""
    job = parse_job_id(receipt.job or "")
    return {
        "run": receipt.run_id, "status": receipt.status.value, "attempt": job.attempt if job else None,
        "job": receipt.job, "links": run_links(receipt.run_id),
    }  # fmt: skip


@blueprint.post("/moves")
def accept_move() -> tuple[dict[str, Any], int]:
    """Let a released version move to another commit (202); see AcceptMove.accept for the errors."""
    body = _body()
    fields = ("module", "version", "commit", "reason")
    for name in body:
        if name not in fields:
            raise _wrong(name[:100], f"there is no such field; there are {', '.join(fields)}")
    module, version, commit, reason = (_text(body, name) for name in fields)
    receipt = container().moves.accept(MoveOrder(module, version, commit, principal().actor, reason))
    return replay_answer(receipt), 202


@blueprint.get("/explain")
def explain() -> dict[str, Any]:
    """Which rule, mirror, tag and proxy apply to a module (at a version), and what is known of it."""
    given = arguments({"module", "version"})
    if not given.get("module"):
        raise _wrong("module", "name a module: ?module=go.corp.example/team/repo")
    return queries().explain(given["module"], given.get("version") or None).as_json()


def _summary(found: RunSummary) -> dict[str, Any]:
    return {**found.as_json(), "links": run_links(found.id)}


def arguments(known: Collection[str]) -> dict[str, str]:
    """The query's parameters, each known and given once. Error: bad_request names the one that is not."""
    for name, values in request.args.lists():
        if name not in known:
            raise _wrong(name, f"there is no such parameter; there are {', '.join(sorted(known))}")
        if len(values) > 1:
            raise _wrong(name, "is given more than once")
    return request.args.to_dict()


def page_limit(text: str | None) -> int:
    """The parameter `limit`, the usual number where it is missing. Error: bad_request."""
    if text is None:
        return _USUAL_PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= _LONGEST_PAGE):
        raise _wrong("limit", f"must be a number from 1 to {_LONGEST_PAGE}")
    return int(text)


def _order() -> ReplayOrder:
    """The replay that the body asks for; an empty body asks for the usual one."""
    body = _body()
    for name in body:
        if name not in ("from", "reason", "force"):
            raise _wrong(name[:100], "there is no such field; there are from, reason, force")
    return ReplayOrder(principal().actor, _reason(body.get("reason")), _stage(body.get("from")), _force(body))


def _body() -> dict[str, Any]:
    raw = request.get_data(cache=False)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _wrong("body", "is not UTF-8") from None
    return parse_object(text, "body") if text.strip() else {}


def _stage(value: object) -> Stage | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in list(Stage):
        raise _wrong("from", f"must be one of {', '.join(Stage)}")
    return Stage(value)


def _reason(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST_REASON or "\x00" in value:
        raise _wrong("reason", f"must be a text of at most {_LONGEST_REASON} characters")
    return value.strip()


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or "\x00" in value:
        raise _wrong(name, "must be a text")
    return value.strip()


def _force(body: dict[str, Any]) -> bool:
    value = body.get("force", False)
    if not isinstance(value, bool):
        raise _wrong("force", "must be true or false")
    return value


def _wrong(field: str, message: str) -> SyncError:
    return SyncError("bad_request", f"{field[:100]}: {message}", field=field[:100])
