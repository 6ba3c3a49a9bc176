"""Rows <-> values, and the few statements that several stores share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from app.adapters.outcome_log import log_outcome
from app.adapters.tables import attempts, releases, runs
from app.domain.errors import SERVED_OTHER
from app.domain.ids import JobId
from app.domain.run import ACTIVE, WORKERS_LOST, Run, Stage, Status, Target, known_h1

# domain/run.is_failure. The index of states is entered by the two states; without statistics SQLite guesses another.
FAILURE = and_(
    runs.c.status.in_((Status.FAILED, Status.REJECTED)),
    or_(runs.c.status.concat("") == Status.FAILED, runs.c.error.concat("").in_(sorted(SERVED_OTHER))),
)


def run_of_row(row: RowMapping) -> Run:
    """A row of `runs` as a Run."""
    plain = {name: row[name] for name in Run.__dataclass_fields__ if name not in ("target", "status", "stage")}
    return Run(**plain, target=Target(**row["target"]), status=Status(row["status"]), stage=Stage(row["stage"]))


def target_json(target: Target) -> dict[str, Any]:
    """A Target as it is stored in runs.target; every field is plain."""
    return {name: getattr(target, name) for name in Target.__dataclass_fields__}


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping as JSON can keep it; a value that it cannot keep is a defect of ours."""
    result: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return result


def insert_ignoring(connection: Connection, table: Any, values: Mapping[str, Any]) -> bool:
    """INSERT ... ON CONFLICT DO NOTHING on either database; True when the row is new."""
    make = postgres_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = make(table).values(**values).on_conflict_do_nothing()
    # Not rowcount: SQLAlchemy keeps it for UPDATE and DELETE only, on PostgreSQL it is -1 after an INSERT.
    return connection.execute(statement.returning(literal(1))).first() is not None


_ATTEMPT = update(attempts).where(attempts.c.run_id == bindparam("on"), attempts.c.number == bindparam("of"))
_NEXT_JOB = _ATTEMPT.values(jobs=attempts.c.jobs + 1).returning(attempts.c.jobs)


def next_job(connection: Connection, run_id: str, attempt: int) -> str:
    """Count one more job in the attempt and return its id."""
    number = connection.execute(_NEXT_JOB, {"on": run_id, "of": attempt}).scalar_one()
    return str(JobId(run_id, attempt, number))


def begin_attempt(
    connection: Connection, run_id: str, number: int, *, kind: str, stage: Stage, actor: str, reason: str, now: datetime
) -> None:
    """Add an attempt; the run's own row is the caller's."""
    values = {"kind": kind, "from_stage": stage, "actor": actor, "reason": reason, "created_at": now, "jobs": 0}
    connection.execute(insert(attempts).values(run_id=run_id, number=number, **values))


def end_attempt(
    connection: Connection, run_id: str, number: int, outcome: Status, error: str | None, now: datetime
) -> None:
    """Close an attempt with its outcome, and note it for those who want to be told; the run's row is written before."""
    values = {"on": run_id, "of": number, "ended_at": now, "outcome": outcome, "error": error}
    connection.execute(_ATTEMPT, values)
    log_outcome(connection, run_id, number, outcome, error, now)


def restart(
    connection: Connection, row: RowMapping, *, kind: str, stage: Stage, actor: str, reason: str, now: datetime
) -> str:
    """Begin the run's next attempt at `stage` with fresh retries; returns the job to enqueue."""
    number = row["attempt"] + 1
    begin_attempt(connection, row["id"], number, kind=kind, stage=stage, actor=actor, reason=reason, now=now)
    job = next_job(connection, row["id"], number)
    connection.execute(
        update(runs)
        .where(runs.c.id == row["id"])
        .values(
            status=Status.QUEUED, stage=stage, active=True, attempt=number, fence=row["fence"] + 1, lease_owner=None,
            lease_until=None, due_at=now, job=job, job_at=now, tries=0, stage_since=None, error=None,
            error_message=None, replaced_by=None, ended_at=None, updated_at=now, facts=_kept(row, stage),
        )
    )  # fmt: skip
    return job


def goes_to(row: RowMapping, target: Target, event: Mapping[str, Any]) -> dict[str, Any]:
    """A run's columns where `event` tells of its release anew: what that says of the place counts, also in a replay."""
    repo_url = event.get("repo_url") or row["event"].get("repo_url")
    told = row["event"] | {"repo_url": repo_url} if repo_url else row["event"]
    return {"target": target_json(target), "mirror": target.mirror, "event": told}


# What a stage found out; a new attempt from that stage forgets it.
FACTS = {
    Stage.MIRROR: ("project", "push", "proof", "warnings", "signature", "conflict"),
    Stage.PIPELINE: ("pipeline",),
    Stage.VERIFY: ("verify",),
}


def _kept(row: RowMapping, stage: Stage) -> dict[str, Any]:
    """What h1 the commit has is never forgotten: should the version move, that is what it was."""
    facts, h1 = row["facts"], known_h1(row["facts"], row["commit"])
    facts = {**facts, "known_h1": h1} if h1 else facts
    order = list(Stage)
    forgotten = {name for later in order[order.index(stage) :] for name in FACTS[later]} | {
        "failing_since",
        "aside_since",
        WORKERS_LOST,
    }
    return {name: value for name, value in facts.items() if name not in forgotten}


def hold_release(connection: Connection, module: str, version: str | None) -> None:
    """Take the release's row, where there is one, for this transaction.

    A transaction that takes several rows takes a release before its runs, a run before its attempts and its mirror, and
    the audit log's lock after all of them; releases and runs in the order of their names, or without waiting for any
    (SKIP LOCKED). PostgreSQL would end one of two that wait for each other.
    """
    if version is not None:
        which = (releases.c.module == module) & (releases.c.version == version)
        connection.execute(select(releases.c.run_id).where(which).with_for_update())


def lock_release(
    connection: Connection, module: str, version: str, run_id: str, commit: str
) -> tuple[RowMapping, bool]:
    """Take the release's row for this transaction, made when it is missing; (row, it is new)."""
    values = {"module": module, "version": version, "run_id": run_id, "commit": commit}
    new = insert_ignoring(connection, releases, values)
    query = select(releases).where(releases.c.module == module, releases.c.version == version).with_for_update()
    return connection.execute(query).mappings().one(), new


def is_active(status: str) -> bool:
    """True for a run that has not ended."""
    return Status(status) in ACTIVE
