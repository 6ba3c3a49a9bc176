"""The sweeper's and the operator's side of the database: runs without a job, replays, cancellation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import JSON, Connection, Engine, RowMapping, bindparam, or_, select, update

from app.adapters.access_store import append
from app.adapters.database import reading, writing
from app.adapters.push_audit import audit_unanswered
from app.adapters.release_claims import claim_release
from app.adapters.rows import end_attempt, hold_release, next_job, restart, run_of_row, target_json
from app.adapters.run_names import renamed
from app.adapters.tables import UtcDateTime, runs
from app.domain.errors import SyncError
from app.domain.modules import ModulePath
from app.domain.run import WORKERS_LOST, Lane, Run, Stage, Status, Target
from app.services.stores import DueRun, Receipt, ReplayOrder

# A replay cannot help these: the version is another commit's, or another run brings the same release.
_FINAL = frozenset({"version_moved", "superseded", "duplicate_release"})

_GIVE = (
    update(runs)
    .where(runs.c.id == bindparam("on"))
    .values(job=bindparam("given"), job_at=bindparam("at", type_=UtcDateTime()))
)
_COUNT_LOST = update(runs).where(runs.c.id == bindparam("on")).values(facts=bindparam("counted", type_=JSON()))


class SqlSweepStore:
    """SweepStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def due(self, now: datetime, job_older_than: datetime, limit: int) -> list[DueRun]:
        """See SweepStore."""
        idle = or_(runs.c.lease_until.is_(None), runs.c.lease_until < now)
        jobless = or_(runs.c.job_at.is_(None), runs.c.job_at < job_older_than)
        columns = (runs.c.id, runs.c.job, runs.c.job_at, runs.c.lane, runs.c.lease_until, runs.c.delivery)
        query = select(*columns).where(runs.c.active, runs.c.due_at <= now, idle, jobless)
        # A dead worker's (its lease is there still) before all that only wait: it was begun. Then round and round: with
        # more waiting jobs than one look can ask for, each run has its turn.
        alive = runs.c.lease_until.is_(None)
        ordered = query.order_by(alive, runs.c.job_at.nulls_first(), runs.c.due_at, runs.c.id).limit(limit)
        with reading(self._engine) as connection:
            # Each lane by itself: a long backfill must not hide a live run that lost its job.
            rows = [row for lane in Lane for row in connection.execute(ordered.where(runs.c.lane == lane)).all()]
        return [DueRun(r.id, r.job, r.job_at, r.lane, r.lease_until is not None, r.delivery) for r in rows]

    def give_jobs(self, due: Sequence[DueRun], now: datetime) -> Mapping[str, str]:
        """See SweepStore: a row that somebody else holds now is at work, or changes: the next look sees it."""
        if not due:
            return {}
        seen = {run.id: run.job_at for run in due}
        idle = or_(runs.c.lease_until.is_(None), runs.c.lease_until < now)
        columns = (runs.c.id, runs.c.attempt, runs.c.job_at, runs.c.facts, runs.c.lease_until)
        query = select(*columns).where(runs.c.id.in_(seen), runs.c.active, idle)
        with writing(self._engine) as connection:
            rows = connection.execute(query.order_by(runs.c.id).with_for_update(skip_locked=True)).all()
            jobs = {row.id: next_job(connection, row.id, row.attempt) for row in rows if row.job_at == seen[row.id]}
            if jobs:
                connection.execute(_GIVE, [{"on": run, "given": job, "at": now} for run, job in jobs.items()])
            # With the first job after it: one that did not arrive, or was lost, is no second death.
            lost = [row for row in rows if row.id in jobs and row.lease_until is not None and row.job_at is None]
            if lost:
                counted = [{**row.facts, WORKERS_LOST: row.facts.get(WORKERS_LOST, 0) + 1} for row in lost]
                connection.execute(
                    _COUNT_LOST, [{"on": row.id, "counted": facts} for row, facts in zip(lost, counted, strict=True)]
                )
        return jobs

    def still_queued(self, run_ids: Sequence[str], now: datetime) -> None:
        """See SweepStore: a row that somebody else holds now is about to change, and is left to the next look."""
        if not run_ids:
            return
        queued = select(runs.c.id).where(runs.c.id.in_(run_ids), runs.c.job_at.is_not(None))
        with writing(self._engine) as connection:
            ids = connection.execute(queued.order_by(runs.c.id).with_for_update(skip_locked=True)).scalars().all()
            connection.execute(update(runs).where(runs.c.id.in_(ids)).values(job_at=now))


class SqlReplayStore:
    """ReplayStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, run_id: str) -> Run | None:
        """See ReplayStore."""
        with reading(self._engine) as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
        return run_of_row(row) if row else None

    def many(self, run_ids: Collection[str]) -> dict[str, Run]:
        """See ReplayStore."""
        if not run_ids:
            return {}
        with reading(self._engine) as connection:
            rows = connection.execute(select(runs).where(runs.c.id.in_(run_ids))).mappings()
            return {row["id"]: run_of_row(row) for row in rows}

    def replay(
        self, run_id: str, order: ReplayOrder, target: Target | None, now: datetime, *, module: ModulePath | None = None
    ) -> Receipt:
        """See ReplayStore."""
        with writing(self._engine) as connection:
            _hold_its_release(connection, run_id)
            row = _locked(connection, run_id)
            _check(row, order)
            if module and module.text != row["module"]:
                row = renamed(connection, row, module)
            if row["version"] is not None and row["commit"]:
                _hold_version(connection, row, now)
            if target is not None:
                changed = {"target": target_json(target), "mirror": target.mirror}
                if order.repo_url:
                    changed["event"] = {**row["event"], "repo_url": order.repo_url}
                connection.execute(update(runs).where(runs.c.id == run_id).values(changed))
            stage = order.from_stage or Stage(row["stage"])
            job = restart(
                connection, row, kind="replay", stage=stage, actor=order.actor, reason=order.reason, now=now
            )  # fmt: skip
            lane = order.lane or row["lane"]
            connection.execute(update(runs).where(runs.c.id == run_id).values(lane=lane))
            before = {"status": row["status"], "error": row["error"], "attempt": row["attempt"]}
            append(
                connection, order.actor, "run.replay", f"run:{run_id}", now, reason=order.reason, before=before,
                after={"stage": stage.value, "attempt": row["attempt"] + 1, "forced": order.force},
            )  # fmt: skip
        return Receipt(run_id, Status.QUEUED, duplicate=False, job=job, lane=lane)

    def cancel(self, run_id: str, actor: str, now: datetime, reason: str = "") -> None:
        """End a run that is in flight as `failed` with `cancelled`; its worker notices by the fence.

        Errors: not_found, already_ended.
        """
        with writing(self._engine) as connection:
            row = _locked(connection, run_id)
            if not row["active"]:
                raise SyncError("already_ended", f"run {run_id} has ended already ({row['status']})")
            ended = {
                "status": Status.FAILED, "active": False, "error": "cancelled", "error_message": f"cancelled by {actor}",
                "fence": row["fence"] + 1, "lease_owner": None, "lease_until": None, "due_at": None, "ended_at": now,
                "updated_at": now,
            }  # fmt: skip
            connection.execute(update(runs).where(runs.c.id == run_id).values(ended))
            audit_unanswered(connection, row, now)
            end_attempt(connection, run_id, row["attempt"], Status.FAILED, "cancelled", now)
            append(
                connection, actor, "run.cancel", f"run:{run_id}", now, reason=reason,
                before={"status": row["status"], "attempt": row["attempt"]},
                after={"status": Status.FAILED.value, "error": "cancelled"},
            )  # fmt: skip


def _hold_its_release(connection: Connection, run_id: str) -> None:
    row = connection.execute(select(runs.c.module, runs.c.version).where(runs.c.id == run_id)).one_or_none()
    if row:
        hold_release(connection, row.module, row.version)


def _locked(connection: Connection, run_id: str) -> RowMapping:
    row = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).mappings().one_or_none()
    if row is None:
        raise SyncError("not_found", f"there is no run {run_id}")
    return row


def _check(row: RowMapping, order: ReplayOrder) -> None:
    name = f"run {row['id']} ({row['module']}@{row['version'] or row['ref']})"
    if row["active"]:
        raise SyncError("still_running", f"{name} is in flight (attempt {row['attempt']}, {row['status']})")
    if order.attempt not in (None, row["attempt"]):
        since = f"attempt {row['attempt']} ended {row['status']}" + (f": {row['error']}" if row["error"] else "")
        raise SyncError("not_replayable", f"{name} changed since it was looked at: {since}")
    if row["status"] == Status.DONE and not order.force:
        raise SyncError("already_done", f"{name} is done")
    if row["status"] == Status.REJECTED and row["error"] in _FINAL:
        raise SyncError("not_replayable", f"{name} was rejected: {row['error']}: {row['error_message']}")
    _check_stage(row, order, name)


def _check_stage(row: RowMapping, order: ReplayOrder, name: str) -> None:
    stages = list(Stage)
    reached = stages.index(Stage(row["stage"]))
    if order.from_stage and stages.index(order.from_stage) > reached:
        raise SyncError("bad_request", f"{name} never came to stage {order.from_stage}; it can start at {row['stage']}")


def _hold_version(connection: Connection, row: RowMapping, now: datetime) -> None:
    refusal = claim_release(connection, row["module"], row["version"], row["id"], row["commit"], now)
    if refusal:
        raise SyncError("not_replayable", refusal.message)
