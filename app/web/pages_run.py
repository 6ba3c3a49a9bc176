"""A run's page, and what people do there: replay and cancel."""

from __future__ import annotations

import logging
from typing import Any

from flask import Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from app.adapters.ops_store import SqlReplayStore
from app.domain.ids import parse_job_id
from app.domain.run import ACTIVE, Stage, Status, is_failure
from app.services.moves import MoveOrder
from app.services.stores import ReplayOrder
from app.services.timeline import spans
from app.services.views import RunDetail
from app.web.context import container, principal, queries
from app.web.orders import reason_of, stage_of
from app.web.page import blueprint

log = logging.getLogger(__name__)
# A new attempt cannot help these (see app/adapters/ops_store.py).
_FINAL = frozenset({"version_moved", "superseded", "duplicate_release"})


@blueprint.get("/runs/<identifier>")
def run(identifier: str) -> AnyResponse:
    """All of a run; a job's id leads to its run's page."""
    found = queries().run(identifier)
    if found.id != identifier:
        job = parse_job_id(identifier)
        return redirect(f"/runs/{found.id}" + (f"#attempt-{job.attempt}" if job else ""), 303)
    return Response(render_template("run.html", **_values(found)))


@blueprint.get("/live/runs/<identifier>")
def run_live(identifier: str) -> str:
    """The parts of a run's page that change, for static/live.js."""
    return render_template("_run_live.html", **_values(queries().run(identifier)))


@blueprint.post("/runs/<identifier>/replay")
def replay(identifier: str) -> AnyResponse:
    """A new attempt, and back to the page, where it is on top. Errors: see Replay.replay."""
    stage = stage_of(request.form.get("from") or None)
    order = ReplayOrder(
        principal().actor, reason_of(request.form.get("reason")), stage, bool(request.form.get("force"))
    )
    receipt = container().replay.replay(identifier, order)
    log.info("replay_asked", extra={"run": receipt.run_id, "job": receipt.job, "actor": principal().actor})
    job = parse_job_id(receipt.job or "")
    return redirect(f"/runs/{receipt.run_id}" + (f"#attempt-{job.attempt}" if job else ""), 303)


@blueprint.post("/runs/<identifier>/cancel")
def cancel(identifier: str) -> AnyResponse:
    """End a run that is in flight. Errors: not_found, already_ended."""
    found = container().replay.find(identifier)
    SqlReplayStore(container().engine).cancel(
        found.id, principal().actor, container().clock.now(), reason_of(request.form.get("reason"))
    )  # fmt: skip
    log.info("cancel_asked", extra={"run": found.id, "actor": principal().actor})
    return redirect(f"/runs/{found.id}", 303)


@blueprint.post("/runs/<identifier>/accept-move")
def accept_move(identifier: str) -> AnyResponse:
    """Let the version move to the commit that this run found, and on to the run that brings it. Errors: see AcceptMove.accept."""
    found, who = queries().run(identifier), principal().actor
    reason = reason_of(request.form.get("reason"))
    receipt = container().moves.accept(
        MoveOrder.parse(found.module, found.version or "", _moves_to(found), who, reason)
    )
    return redirect(f"/runs/{receipt.run_id}", 303)


def _values(found: RunDetail) -> dict[str, Any]:
    active = found.status in ACTIVE
    return {
        "run": found, "active": active, "spans": spans(found, container().clock.now()), "again": 2 if active else 0,
        "stages": _reached(found),
        "replayable": not active and not _is_final(found), "done": found.status is Status.DONE,
        "failure": is_failure(found.status, found.error.code if found.error else None),
        "moves_to": _moves_to(found),
        "another": found.error is not None and found.error.code == "mirror_of_another",
        "moved": found.status is Status.REJECTED and found.error is not None and found.error.code == "version_moved",
    }  # fmt: skip


def _moves_to(found: RunDetail) -> str:
    """Of an event that named no commit the run has none: a worker found it, at the source or by making it of a registry's zip."""
    return str(found.commit or found.facts.conflict.get("new_commit", ""))


def _is_final(found: RunDetail) -> bool:
    return found.status is Status.REJECTED and found.error is not None and found.error.code in _FINAL


def _reached(found: RunDetail) -> list[Stage]:
    """The stages that a replay can begin at."""
    stages = list(Stage)
    return stages[: stages.index(found.stage) + 1]
