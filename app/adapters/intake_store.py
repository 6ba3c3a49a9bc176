"""Deliveries and runs, recorded together: the database half of intake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, RowMapping, select, update

from app.adapters.database import writing
from app.adapters.fences import fenced
from app.adapters.release_claims import claim_release
from app.adapters.rows import (
    begin_attempt,
    end_attempt,
    goes_to,
    hold_release,
    insert_ignoring,
    next_job,
    restart,
    target_json,
)
from app.adapters.tables import deliveries, delivery_runs, releases, runs
from app.domain.errors import SyncError
from app.domain.run import Claim, Lane, Stage, Status, begins_anew, earlier
from app.services.stores import NewDelivery, PlannedRun, Receipt

# A refused run is looked at again when its delivery comes again: rules and the other run's fate may have changed.
_DECIDED = ("verdict", "reason", "note")
# The log has it as it came last, also where the body that came first is not kept any more.
_AS_IT_CAME = ("scheme", "secret_id", "last_seen_at", "headers", "body", "skew_ms", "pruned")


class SqlIntakeStore:
    """IntakeStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, delivery: NewDelivery, planned: Sequence[PlannedRun]) -> tuple[str, bool, list[Receipt]]:
        """See IntakeStore."""
        with writing(self._engine) as connection:
            return record(connection, delivery, planned)

    def add(self, claim: Claim, planned: Sequence[PlannedRun], now: datetime) -> list[Receipt]:
        """See IntakeStore."""
        with writing(self._engine) as connection:
            made = _runs(connection, planned, claim.run.delivery, False, now)
            fenced(connection, claim, {"updated_at": now})  # last: releases are held before runs
        return made


def record(
    connection: Connection, delivery: NewDelivery, planned: Sequence[PlannedRun]
) -> tuple[str, bool, list[Receipt]]:
    """IntakeStore.record inside a transaction of the caller's."""
    delivery_id, known = _delivery(connection, delivery)
    return delivery_id, known, _runs(connection, planned, delivery_id, known, delivery.received_at)


def delivery_row(delivery: NewDelivery) -> dict[str, Any]:
    """A new delivery as a row of `deliveries`."""
    return {
        "id": delivery.id, "source": delivery.source, "dedupe": delivery.dedupe, "scheme": delivery.scheme,
        "secret_id": delivery.secret_id, "received_at": delivery.received_at, "last_seen_at": delivery.received_at,
        "seen": 1, "headers": dict(delivery.headers), "body": delivery.body, "verdict": delivery.verdict,
        "note": delivery.note, "reason": delivery.reason, "skew_ms": delivery.skew_ms, "pruned": False,
    }  # fmt: skip


def _delivery(connection: Connection, delivery: NewDelivery) -> tuple[str, bool]:
    """(id, it was there already). One that is pruned away between the two statements is new."""
    while not insert_ignoring(connection, deliveries, delivery_row(delivery)):
        if known := _seen_again(connection, delivery):
            return known, True
    return delivery.id, False


def _seen_again(connection: Connection, delivery: NewDelivery) -> str | None:
    same = (deliveries.c.source == delivery.source) & (deliveries.c.dedupe == delivery.dedupe)
    row = delivery_row(delivery)
    # The newest verdict is the one that counts: rules and secrets change.
    again = {name: row[name] for name in _DECIDED}
    if not delivery.by_hand:
        again |= {**{name: row[name] for name in _AS_IT_CAME}, "seen": deliveries.c.seen + 1}
    return connection.execute(
        update(deliveries).where(same).values(again).returning(deliveries.c.id)
    ).scalar_one_or_none()


def _runs(
    connection: Connection, planned: Sequence[PlannedRun], delivery: str, known: bool, now: datetime
) -> list[Receipt]:
    """A receipt for each plan; taken in a fixed order, so that two deliveries cannot wait for each other."""
    ordered = sorted(planned, key=lambda plan: (plan.module, plan.version or "", plan.commit))
    done = {plan.id: _run(connection, plan, delivery, known, now) for plan in ordered}
    return [done[plan.id] for plan in planned]


def _run(connection: Connection, plan: PlannedRun, delivery: str, known: bool, now: datetime) -> Receipt:
    made = _made_before(connection, plan, delivery) if known else None
    hold_release(connection, plan.module, made.version if made else plan.version)
    misnamed = _misnamed(connection, plan, delivery) if known and not made else None
    row, new = _row(connection, plan, delivery, made.id if made else misnamed or _in_flight(connection, plan), now)
    values = {"delivery": delivery, "run_id": row["id"], "duplicate": not new}
    insert_ignoring(connection, delivery_runs, values)
    if not new:
        return _again(connection, plan, row, now)
    actor = plan.actor or f"source:{plan.source}"
    begin_attempt(connection, plan.id, 1, kind="delivery", stage=Stage.MIRROR, actor=actor, reason="", now=now)
    return _admit(connection, plan, row, now)


def _row(
    connection: Connection, plan: PlannedRun, delivery: str, there: str | None, now: datetime
) -> tuple[RowMapping, bool]:
    """The run's row, held, and whether it is new. One that is pruned away between two statements is made anew."""
    while True:
        new = there is None and insert_ignoring(connection, runs, run_row(plan, delivery, now))
        which = runs.c.id == there if there else runs.c.semantic == plan.semantic
        if row := connection.execute(select(runs).where(which).with_for_update()).mappings().one_or_none():
            return row, new
        there = None


def _made_before(connection: Connection, plan: PlannedRun, delivery: str) -> Row[Any, Any] | None:
    """(id, version) of the run that this very delivery made: since then it may have got a version or a commit."""
    named = runs.c.version == plan.version if plan.version else runs.c.ref == plan.ref
    if plan.commit:  # only a run whose event named none gets one later: several commits of one ref are several runs
        named &= runs.c.commit == plan.commit
    mine = (delivery_runs.c.delivery == delivery) & (runs.c.module == plan.module) & named
    query = select(runs.c.id, runs.c.version).join(delivery_runs, delivery_runs.c.run_id == runs.c.id).where(mine)
    return connection.execute(query.order_by(runs.c.id).limit(1)).one_or_none()


def _misnamed(connection: Connection, plan: PlannedRun, delivery: str) -> str | None:
    """The run that this very delivery made while no rule knew its repository, now under the module's true path.

    None when there is none, or another run brings the release already.
    """
    taken = select(runs.c.id).where(runs.c.semantic == plan.semantic)
    if plan.refusal or plan.event.get("module") or connection.execute(taken).first():
        return None
    refused = (runs.c.status == Status.REJECTED) & (runs.c.error == "no_rule")
    mine = (delivery_runs.c.delivery == delivery) & (runs.c.ref == plan.ref) & refused
    query = select(runs.c.id, runs.c.event).join(delivery_runs, delivery_runs.c.run_id == runs.c.id).where(mine)
    found = next((row.id for row in connection.execute(query) if not row.event.get("module")), None)
    true = {"module": plan.module, "commit": plan.commit, "semantic": plan.semantic}
    if found:
        connection.execute(update(runs).where(runs.c.id == found).values(true))
    return found


def _in_flight(connection: Connection, plan: PlannedRun) -> str | None:
    """The run that is bringing the version of a plan without a commit: it is told the same by two events."""
    if plan.commit or plan.version is None:
        return None
    held = (releases.c.module == plan.module) & (releases.c.version == plan.version)
    query = select(runs.c.id).join(releases, releases.c.run_id == runs.c.id).where(held, runs.c.active)
    return connection.execute(query).scalar_one_or_none()


def run_row(plan: PlannedRun, delivery: str, now: datetime) -> dict[str, Any]:
    """A new run as a row of `runs`."""
    return {
        "id": plan.id, "source": plan.source, "delivery": delivery, "module": plan.module, "version": plan.version,
        "ref": plan.ref, "commit": plan.commit, "semantic": plan.semantic, "target": target_json(plan.target),
        "event": dict(plan.event), "mirror": plan.target.mirror, "status": Status.QUEUED, "stage": Stage.MIRROR,
        "active": True, "lane": plan.lane, "attempt": 1, "fence": 0, "tries": 0, "facts": {}, "due_at": now, "created_at": now,
        "updated_at": now,
    }  # fmt: skip


def _refusal(connection: Connection, plan: PlannedRun, row: RowMapping, now: datetime) -> SyncError | None:
    if plan.refusal:
        return SyncError(*plan.refusal)
    # Without a version or a commit nothing is claimed yet: the worker does it when it knows both.
    if row["version"] is None or not row["commit"]:
        return None
    return claim_release(connection, row["module"], row["version"], row["id"], row["commit"], now)


def _admit(connection: Connection, plan: PlannedRun, row: RowMapping, now: datetime) -> Receipt:
    refusal = _refusal(connection, plan, row, now)
    which = runs.c.id == row["id"]
    if refusal is None:
        job = next_job(connection, row["id"], row["attempt"])
        connection.execute(update(runs).where(which).values(job=job, job_at=now))
        return Receipt(row["id"], Status.QUEUED, duplicate=False, job=job, lane=plan.lane)
    ended = {
        "status": Status.REJECTED, "active": False, "error": refusal.code, "error_message": refusal.message, "ended_at": now,
        "facts": {**row["facts"], **refusal.facts},
    }  # fmt: skip
    connection.execute(update(runs).where(which).values(**ended, due_at=None))
    end_attempt(connection, row["id"], row["attempt"], Status.REJECTED, refusal.code, now)
    return Receipt(row["id"], Status.REJECTED, duplicate=False, error=refusal.code)


def _again(connection: Connection, plan: PlannedRun, row: RowMapping, now: datetime) -> Receipt:
    status, error = Status(row["status"]), row["error"]
    if row["active"]:
        _promote(connection, plan, row)
    if not begins_anew(status, error) or _refusal(connection, plan, row, now) is not None:
        return Receipt(row["id"], status, duplicate=True, error=error)
    stage = earlier(Stage(row["stage"]), plan.needs or Stage.VERIFY)
    if stage is Stage.MIRROR:
        # The rules may have changed since: the newest decision is the one that counts.
        connection.execute(update(runs).where(runs.c.id == row["id"]).values(goes_to(row, plan.target, plan.event)))
    reason = "the same release was delivered again"
    actor = plan.actor or f"source:{plan.source}"
    job = restart(connection, row, kind="redelivery", stage=stage, actor=actor, reason=reason, now=now)
    connection.execute(update(runs).where(runs.c.id == row["id"]).values(lane=plan.lane))
    return Receipt(row["id"], Status.QUEUED, duplicate=True, job=job, lane=plan.lane)


def _promote(connection: Connection, plan: PlannedRun, row: RowMapping) -> None:
    """A backfill's run whose webhook arrives now is a live release: the sweeper gives it a job in the live queue."""
    if row["lane"] != plan.lane == Lane.LIVE:
        connection.execute(update(runs).where(runs.c.id == row["id"]).values(lane=Lane.LIVE, job_at=None))
