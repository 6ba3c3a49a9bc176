"""Replays of many runs: the first page says exactly what would happen, its button does just that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from flask import render_template, request

from app.domain.errors import SyncError
from app.services.board import FailedAlike
from app.services.bulk import BATCH, Done, ReplayPlan, named, plan, replay_all
from app.services.run_filter import parse_time
from app.services.stores import ReplayOrder
from app.web.context import container, principal, queries
from app.web.orders import reason_of, wrong
from app.web.page import blueprint, board, given

log = logging.getLogger(__name__)
_USUAL = "24h"


@blueprint.get("/replays")
def replays() -> str:
    """What a replay of those that failed with a code since then would do; without a code, the codes there are.

    Errors: bad_request (field since or after).
    """
    asked = {"since": _USUAL, **given(["code", "since", "after"])}
    since = _since(asked["since"])
    store = board()
    planned = None
    if "code" in asked:
        planned = plan(store, container().replay, _alike(asked["code"], since), after=asked.get("after"))
    return render_template(
        "replays.html", asked=asked, since=since, failures=store.failures(since), plan=planned, batch=BATCH
    )  # fmt: skip


def _since(text: str) -> datetime:
    moment = parse_time("since", text, container().clock.now())
    if moment is None:
        raise wrong("since", "must be a time or an age like 24h")
    return moment


def _alike(code: str, since: datetime) -> FailedAlike:
    """Those of a first page, which is asked for now."""
    return FailedAlike(code, since, container().clock.now())


@blueprint.post("/replays")
def replay_many() -> str:
    """Replay exactly the runs that the form names. Errors: bad_request (field run or reason)."""
    run_ids = request.form.getlist("run")
    if not run_ids or any(named(each) is None for each in run_ids):
        raise SyncError("bad_request", "run: name the runs to replay", field="run")
    order = ReplayOrder(principal().actor, reason_of(request.form.get("reason")))
    done = replay_all(container().replay, run_ids, order)
    begun = sum(each.receipt is not None for each in done)
    log.info("replays_asked", extra={"runs": len(done), "begun": begun, "actor": order.actor})
    again = {name: request.form.get(name, "") for name in ("code", "since", "next")}
    return render_template(
        "replayed.html", done=[(each, _name(each)) for each in done], begun=begun, again=again, why=order.reason,
        onward=_onward(again),
    )  # fmt: skip


def _onward(again: Mapping[str, str]) -> ReplayPlan | None:
    """The plan of the page behind, where it would begin any run anew; what is done stands, whatever becomes of this."""
    if not again["code"] or not again["next"]:
        return None
    try:
        alike = _alike(again["code"], _since(again["since"]))
        found = plan(board(), container().replay, alike, after=again["next"])
    except SyncError as error:
        log.warning("no_further_plan", extra={"code": error.code})
        return None
    return found if found.begun else None


def _name(done: Done) -> str:
    try:
        return queries().run(done.run_id).name
    except SyncError:
        return done.run_id
