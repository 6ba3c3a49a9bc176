"""The rest of what the pages show and do, as JSON: how things stand, modules, mirrors, failures, bulk replays, pauses, audit."""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

from flask import Blueprint

from app.domain.pause import PauseKind
from app.services.bulk import BATCH, named
from app.services.rehearsal import Sample
from app.web.api import arguments, body_of, operator, page_limit, text_of
from app.web.context import principal
from app.web.mirror_turns import looked_at
from app.web.orders import reason_of, wrong

log = logging.getLogger(__name__)
blueprint = Blueprint("api_operate", __name__, url_prefix="/api")
_USUAL_SINCE = "24h"
_LONGEST = 500


@blueprint.get("/now")
def now() -> dict[str, Any]:
    """How things stand: counts, and the runs that run, wait, are blocked and failed; see services.board.Now."""
    given = arguments({"limit"})
    return operator().now(page_limit(given.get("limit"))).as_json()


@blueprint.get("/modules")
def modules() -> dict[str, Any]:
    """Modules by path: `{"items", "next"}`; `after` takes `next`."""
    return operator().modules(*_named()).as_json()


@blueprint.get("/mirrors")
def mirrors() -> dict[str, Any]:
    """Mirrors by path: `{"items", "next"}`; `after` takes `next`."""
    return operator().mirrors(*_named()).as_json()


@blueprint.get("/reconcile")
def reconciled() -> dict[str, Any]:
    """What reconcile last found, by mirror: `{"items", "next"}` of RepositoryRow. Errors: not_found, bad_request."""
    given = arguments({"mirror", "people", "after", "limit"})
    for name in ("mirror", "after"):
        if not given.get(name, "").isprintable():
            raise wrong(name, "holds characters that cannot be there")
    if given.get("people", "") not in ("", "true", "false"):
        raise wrong("people", "must be true or false")
    mirror, people = given.get("mirror", "").strip(), given.get("people") == "true"
    return (
        operator()
        .reconciled(mirror, given.get("after") or None, page_limit(given.get("limit")), people=people)
        .as_json()
    )


@blueprint.post("/mirrors/check")
def check_mirror() -> dict[str, Any]:
    """Ask GitLab whether `mirror` is as modsync set it up; see services.drift.MirrorCheck. Errors: not_found, busy."""
    return looked_at(text_of(body_of("mirror"), "mirror"), lambda care, path: care.check(path)).as_json()


@blueprint.post("/mirrors/mend")
def mend_mirror() -> dict[str, Any]:
    """Set up anew what was changed at `mirror`; the audit log keeps it. Errors: not_found, busy, bad_request."""
    body, who = body_of("mirror", "reason"), principal().actor
    path, reason = text_of(body, "mirror"), reason_of(body.get("reason"))
    return looked_at(path, lambda care, name: care.mend(name, who, reason)).as_json()


@blueprint.post("/mirrors/move-source")
def move_source() -> dict[str, Any]:
    """Make `mirror` the one of the repository at clone URL `to`: `{"mirror", "before", "after"}`; see MoveSource.move."""
    fields = ("mirror", "to", "reason")
    body = body_of(*fields)
    return operator().move_source(*(text_of(body, name) for name in fields)).as_json()


def _named() -> tuple[str, str | None, int]:
    given = arguments({"q", "after", "limit"})
    for name in ("q", "after"):
        if not given.get(name, "").isprintable():
            raise wrong(name, "holds characters that cannot be there")
    return given.get("q", "").strip(), given.get("after") or None, page_limit(given.get("limit"))


@blueprint.get("/failures")
def failures() -> dict[str, Any]:
    """The codes that runs failed with: `{"failures": [{"code", "runs"}]}`, most frequent first."""
    given = arguments({"since"})
    return {"failures": [each.as_json() for each in operator().failures(given.get("since") or _USUAL_SINCE)]}


@blueprint.get("/replays")
def plan_replays() -> dict[str, Any]:
    """What a replay of those that failed with `code` would do: `{"code", "since", "until", "runs", "refused", "next",
    "total"}`.

    `after` takes `next`, which keeps the first plan's `since` and `until`.
    """
    given = arguments({"code", "since", "after", "limit"})
    if not given.get("code", "").strip() or not given["code"].isprintable():
        raise wrong("code", "name an error code: ?code=pipeline_failed")
    since = given.get("since") or _USUAL_SINCE
    after, limit = given.get("after") or None, page_limit(given.get("limit"))
    return operator().plan_replays(given["code"].strip(), since, after, limit).as_json()


@blueprint.post("/replays")
def replay_many() -> dict[str, Any]:
    """Replay exactly the runs that the body names: `{"runs": [{"run", "job", "error"}]}`.

    Each is named `ID`, or `ID:ATTEMPT` as the plan showed it: then one that was replayed since is left alone.
    """
    body = body_of("runs", "reason")
    runs = body.get("runs")
    if not isinstance(runs, list) or not runs or any(not isinstance(each, str) or named(each) is None for each in runs):
        raise wrong("runs", f"name the runs to replay by their ids (or ID:ATTEMPT), at most {BATCH}")
    done = operator().replay_many(runs, reason_of(body.get("reason")))
    begun = sum(each.job is not None for each in done)
    log.info("replays_asked", extra={"runs": len(done), "begun": begun, "actor": principal().actor})
    return {"runs": [each.as_json() for each in done]}


@blueprint.get("/sources")
def sources() -> dict[str, Any]:
    """`{"sources": [...]}`: a row for each secret of each source, never a secret's value."""
    arguments(())
    return {"sources": [each.as_json() for each in operator().sources()]}


@blueprint.post("/sources/<source>/test")
def test_source(source: str) -> dict[str, Any]:
    """A signed test delivery through intake, of which nothing is recorded but an audit entry; see services.rehearsal.

    Errors: not_found, bad_request (with the field).
    """
    body = body_of("module", "version", "commit", "repo_url", "reason")
    sample = Sample(*(_short(body, name) for name in ("module", "version", "commit", "repo_url")))
    result = operator().test_source(source, sample, reason_of(body.get("reason")))
    log.info("source_tested", extra={"source": source, "verdict": result.verdict, "actor": principal().actor})
    return result.as_json()


def _short(body: dict[str, Any], name: str) -> str:
    text = text_of(body, name, "")
    if len(text) > _LONGEST or not text.isprintable():
        raise wrong(name, f"must be a text of at most {_LONGEST} characters")
    return text


@blueprint.get("/pauses")
def pauses() -> dict[str, Any]:
    """`{"pauses": [...], "runs"}`: what is paused, by whom and why, and how many runs wait."""
    arguments(())
    return operator().pauses().as_json()


@blueprint.post("/pauses")
def pause() -> dict[str, Any]:
    """Stop working on `kind` and `value`; `new` is false when that was paused already."""
    body = body_of("kind", "value", "reason")
    kind, value = _paused(body)
    new = operator().pause(kind, value, reason_of(body.get("reason")))
    log.info("pause_asked", extra={"pause": f"{kind} {value}".strip(), "actor": principal().actor})
    return {"kind": kind.value, "value": value, "new": new}


@blueprint.post("/pauses/end")
def resume() -> dict[str, Any]:
    """End a pause; `runs`: how many go on. Error: not_found."""
    body = body_of("kind", "value", "reason")
    kind, value = _paused(body)
    woken = operator().resume(kind, value, reason_of(body.get("reason")))
    log.info("resume_asked", extra={"pause": f"{kind} {value}".strip(), "actor": principal().actor})
    return {"kind": kind.value, "value": value, "runs": woken}


def _paused(body: dict[str, Any]) -> tuple[PauseKind, str]:
    kind = text_of(body, "kind")
    if kind not in list(PauseKind):
        raise wrong("kind", f"must be one of {', '.join(PauseKind)}")
    return PauseKind(kind), text_of(body, "value", "")


@blueprint.get("/audit")
def audit() -> dict[str, Any]:
    """The audit log's entries above number `after`, oldest first: `{"entries": [...]}`, empty at the end."""
    given = arguments({"after", "limit"})
    after = given.get("after") or "0"
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise wrong("after", "must be a number")
    found = islice(operator().audit(int(after)), page_limit(given.get("limit")))
    return {"entries": [each.as_json() for each in found]}
