"""Deliveries and runs, recorded together: the database half of intake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, select, update

from app.adapters.database import writing
from app.adapters.release_claims import claim_release
from app.adapters.rows import (
    begin_attempt,
    end_attempt,
    hold_release,
    insert_ignoring,
    next_job,
    plain,
    restart,
    target_json,
)
from app.adapters.tables import deliveries, delivery_runs, runs
from app.domain.run import Stage, Status
from app.services.stores import NewDelivery, PlannedRun, Receipt

# A refused run is looked at again when its delivery comes again: rules and the other run's fate may have changed.
_LOOK_AGAIN = frozenset({"version_moved", "superseded", "no_rule"})


class SqlIntakeStore:
    """IntakeStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, delivery: NewDelivery, planned: Sequence[PlannedRun]) -> tuple[str, bool, list[Receipt]]:
        """See IntakeStore."""
        with writing(self._engine) as connection:
            delivery_id, known = _delivery(connection, delivery)
            return delivery_id, known, _runs(connection, planned, delivery_id, delivery.received_at)

    def add(self, delivery: str, planned: Sequence[PlannedRun], now: datetime) -> list[Receipt]:
        """See IntakeStore."""
        with writing(self._engine) as connection:
            return _runs(connection, planned, delivery, now)


def _delivery(connection: Connection, delivery: NewDelivery) -> tuple[str, bool]:
    values = {
        "id": delivery.id, "source": delivery.source, "dedupe": delivery.dedupe, "scheme": delivery.scheme,
        "secret_id": delivery.secret_id, "received_at": delivery.received_at, "last_seen_at": delivery.received_at,
        "seen": 1, "headers": dict(delivery.headers), "body": delivery.body, "verdict": delivery.verdict,
        "note": delivery.note,
    }  # fmt: skip
    if insert_ignoring(connection, deliveries, values):
        return delivery.id, False
    same = (deliveries.c.source == delivery.source) & (deliveries.c.dedupe == delivery.dedupe)
    again = {"seen": deliveries.c.seen + 1, "last_seen_at": delivery.received_at}
    return connection.execute(
        update(deliveries).where(same).values(again).returning(deliveries.c.id)
    ).scalar_one(), True


def _runs(connection: Connection, planned: Sequence[PlannedRun], delivery: str, now: datetime) -> list[Receipt]:
    """A receipt for each plan; taken in a fixed order, so that two deliveries cannot wait for each other."""
    ordered = sorted(planned, key=lambda plan: (plan.module, plan.version or "", plan.commit))
    done = {plan.id: _run(connection, plan, delivery, now) for plan in ordered}
    return [done[plan.id] for plan in planned]


def _run(connection: Connection, plan: PlannedRun, delivery: str, now: datetime) -> Receipt:
    hold_release(connection, plan.module, plan.version)
    new = insert_ignoring(connection, runs, _row(plan, delivery, now))
    query = select(runs).where(runs.c.semantic == plan.semantic).with_for_update()
    row = connection.execute(query).mappings().one()
    values = {"delivery": delivery, "run_id": row["id"], "duplicate": not new}
    insert_ignoring(connection, delivery_runs, values)
    if new:
        begin_attempt(
            connection,
            plan.id,
            1,
            kind="delivery",
            stage=Stage.MIRROR,
            actor=f"source:{plan.source}",
            reason="",
            now=now,
        )
        return _admit(connection, plan, row, now)
    return _again(connection, plan, row, now)


def _row(plan: PlannedRun, delivery: str, now: datetime) -> dict[str, object]:
    return {
        "id": plan.id, "source": plan.source, "delivery": delivery, "module": plan.module, "version": plan.version,
        "ref": plan.ref, "commit": plan.commit, "semantic": plan.semantic, "target": target_json(plan.target),
        "event": plain(plan.event), "mirror": plan.target.mirror, "status": Status.QUEUED, "stage": Stage.MIRROR,
        "active": True, "attempt": 1, "fence": 0, "tries": 0, "facts": {}, "due_at": now, "created_at": now,
        "updated_at": now,
    }  # fmt: skip


def _refusal(connection: Connection, plan: PlannedRun, run_id: str, now: datetime) -> tuple[str, str] | None:
    if plan.refusal:
        return plan.refusal
    if plan.version is None:
        return None
    return claim_release(connection, plan.module, plan.version, run_id, plan.commit, now)


def _admit(connection: Connection, plan: PlannedRun, row: RowMapping, now: datetime) -> Receipt:
    refusal = _refusal(connection, plan, row["id"], now)
    which = runs.c.id == row["id"]
    if refusal is None:
        job = next_job(connection, row["id"], row["attempt"])
        connection.execute(update(runs).where(which).values(job=job, job_at=now))
        return Receipt(row["id"], Status.QUEUED, duplicate=False, job=job)
    code, message = refusal
    ended = {"status": Status.REJECTED, "active": False, "error": code, "error_message": message, "ended_at": now}
    connection.execute(update(runs).where(which).values(**ended, due_at=None))
    end_attempt(connection, row["id"], row["attempt"], Status.REJECTED, code, now)
    return Receipt(row["id"], Status.REJECTED, duplicate=False, error=code)


def _again(connection: Connection, plan: PlannedRun, row: RowMapping, now: datetime) -> Receipt:
    status, error = Status(row["status"]), row["error"]
    look_again = status is Status.FAILED or (status is Status.REJECTED and error in _LOOK_AGAIN)
    if not look_again or _refusal(connection, plan, row["id"], now) is not None:
        return Receipt(row["id"], status, duplicate=True, error=error)
    stage = Stage(row["stage"])
    if stage is Stage.MIRROR:
        # The rules may have changed since: the newest decision is the one that counts.
        connection.execute(
            update(runs)
            .where(runs.c.id == row["id"])
            .values(target=target_json(plan.target), mirror=plan.target.mirror)
        )
    reason = "the same release was delivered again"
    actor = f"source:{plan.source}"
    job = restart(connection, row, kind="redelivery", stage=stage, actor=actor, reason=reason, now=now)
    return Receipt(row["id"], Status.QUEUED, duplicate=True, job=job)
