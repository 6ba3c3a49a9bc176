"""MoveStore on SQLite or PostgreSQL: an accepted move is one transaction, so that nothing is ever half decided."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, insert, select, update

from app.adapters.access_store import append
from app.adapters.database import reading, writing
from app.adapters.intake_store import run_row
from app.adapters.push_audit import audit_unanswered
from app.adapters.rows import (
    begin_attempt,
    end_attempt,
    hold_release,
    is_active,
    next_job,
    restart,
    run_of_row,
    target_json,
)
from app.adapters.tables import delivery_runs, releases, runs
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.run import Run, Stage, Status, known_h1, replaced
from app.services.moves import MoveOrder
from app.services.stores import PlannedRun, Receipt

KIND = "accept-move"


class SqlMoveStore:
    """See MoveStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def holder(self, module: ModulePath, version: Version) -> Run | None:
        """See MoveStore."""
        held = (releases.c.module == module.text) & (releases.c.version == version.text)
        named = (runs.c.module == releases.c.module) & (runs.c.version == releases.c.version)
        # An adopted version has no run of its own: then the newest that wanted it says where it comes from.
        first = (runs.c.id == releases.c.run_id).desc(), runs.c.id.desc()
        query = select(runs).join(releases, named).where(held).order_by(*first).limit(1)
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
        return run_of_row(row) if row else None

    def asking(self, order: MoveOrder) -> Run | None:
        """See MoveStore."""
        with reading(self._engine) as connection:
            row = connection.execute(_asking(order)).mappings().one_or_none()
        return run_of_row(row) if row else None

    def accept(self, order: MoveOrder, plan: PlannedRun, now: datetime) -> Receipt:
        """See MoveStore."""
        with writing(self._engine) as connection:
            release, old = _held(connection, order)
            moved = _moved(order, release, old)
            run_id, job = _begin(connection, order, plan, old, now)
            connection.execute(update(runs).where(runs.c.id == run_id).values(facts={"moved": moved}))
            if old is not None and old["id"] != run_id:
                _lose(connection, old, run_id, order, now)
            which = (releases.c.module == order.module.text) & (releases.c.version == order.version.text)
            changed = {"run_id": run_id, "commit": order.commit, "pushed_at": None}
            connection.execute(update(releases).where(which).values(changed))
            append(
                connection, order.actor, "release.move", f"release:{order.name}", now, reason=order.reason,
                before={"commit": moved["old_commit"], "h1": moved["old_h1"], "run": moved["old_run"]},
                after={"commit": order.commit, "run": run_id},
            )  # fmt: skip
        return Receipt(run_id, Status.QUEUED, duplicate=False, job=job)


def _asking(order: MoveOrder) -> Select[Any]:
    same = (runs.c.module == order.module.text) & (runs.c.version == order.version.text)
    return select(runs).where(same, runs.c.commit == order.commit).order_by(runs.c.id.desc()).limit(1)


def _held(connection: Connection, order: MoveOrder) -> tuple[RowMapping, RowMapping | None]:
    """The release's row and that of the run that holds it (None: it was adopted), both locked."""
    hold_release(connection, order.module.text, order.version.text)
    which = (releases.c.module == order.module.text) & (releases.c.version == order.version.text)
    release = connection.execute(select(releases).where(which)).mappings().one_or_none()
    if release is None:
        raise SyncError("not_found", f"no release {order.name} is known: nothing can move")
    query = select(runs).where(runs.c.id == release["run_id"]).with_for_update()
    old = connection.execute(query).mappings().one_or_none()
    if release["commit"] == order.commit and _in_the_way(release, old) is None:
        raise SyncError("bad_request", f"commit: {order.name} is at {order.commit} already", field="commit")
    return release, old


def _in_the_way(release: RowMapping, old: RowMapping | None) -> tuple[str, str | None] | None:
    """What kept the holder's own commit out of the mirror: another commit's tag there, which nobody let it replace."""
    if old is None or release["pushed_at"] is not None or old["error"] != "version_moved":
        return None
    conflict = old["facts"].get("conflict", {})
    at = conflict.get("old_commit")
    return (at, conflict.get("old_h1")) if at and at != release["commit"] else None


def _moved(order: MoveOrder, release: RowMapping, old: RowMapping | None) -> dict[str, Any]:
    """What the new run has to know of before, and what is kept of the decision."""
    facts = old["facts"] if old else {}
    before = release["commit"], known_h1(facts, release["commit"])
    if release["commit"] == order.commit:
        before = _in_the_way(release, old) or before
    earlier = [each for each in replaced(facts) if each[0] not in (order.commit, before[0])]
    return {
        "old_commit": before[0], "old_h1": before[1],
        "old_run": old["id"] if old else "",
        "earlier": earlier, "actor": order.actor, "reason": order.reason,
    }  # fmt: skip


def _begin(
    connection: Connection, order: MoveOrder, plan: PlannedRun, old: RowMapping | None, now: datetime
) -> tuple[str, str]:
    """(run, job) of a new attempt of the new commit's run, which was rejected before; or of a new run."""
    same = (runs.c.module == order.module.text) & (runs.c.version == order.version.text)
    known = connection.execute(_asking(order).with_for_update()).mappings().one_or_none()
    if known is None:
        newest = select(runs.c.delivery).where(same).order_by(runs.c.id.desc()).limit(1)
        delivery = old["delivery"] if old else connection.execute(newest).scalar_one()
        connection.execute(insert(runs).values(**run_row(plan, delivery, now)))
        link = {"delivery": delivery, "run_id": plan.id, "duplicate": False}
        connection.execute(insert(delivery_runs).values(link))
        begin_attempt(
            connection, plan.id, 1, kind=KIND, stage=Stage.MIRROR, actor=order.actor, reason=order.reason, now=now
        )  # fmt: skip
        job = next_job(connection, plan.id, 1)
        connection.execute(update(runs).where(runs.c.id == plan.id).values(job=job, job_at=now))
        return plan.id, job
    if is_active(known["status"]):
        raise SyncError("still_running", f"run {known['id']} of {order.name} at {order.commit} is in flight")
    today = {"target": target_json(plan.target), "mirror": plan.target.mirror}
    connection.execute(update(runs).where(runs.c.id == known["id"]).values(today))
    job = restart(
        connection, known, kind=KIND, stage=Stage.MIRROR, actor=order.actor, reason=order.reason, now=now
    )  # fmt: skip
    return known["id"], job


def _lose(connection: Connection, old: RowMapping, new_run: str, order: MoveOrder, now: datetime) -> None:
    """The run that held the version: in flight it ends here, and the fence keeps its worker from another push."""
    values: dict[str, Any] = {"replaced_by": new_run, "updated_at": now}
    if is_active(old["status"]):
        said = f"{order.actor} accepted the move of {order.name} to {order.commit} (run {new_run})"
        values |= {
            "status": Status.REJECTED, "active": False, "error": "superseded", "error_message": said, "due_at": None,
            "fence": old["fence"] + 1, "lease_owner": None, "lease_until": None, "ended_at": now,
        }  # fmt: skip
        end_attempt(connection, old["id"], old["attempt"], Status.REJECTED, "superseded", now)
        audit_unanswered(connection, old, now)
    connection.execute(update(runs).where(runs.c.id == old["id"]).values(values))
