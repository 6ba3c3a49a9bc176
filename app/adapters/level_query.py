"""The service level's numbers, counted inside the database: a month can hold many releases."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, case, cast, func, or_, select

from app.adapters.rows import FAILURE
from app.adapters.tables import attempts, runs
from app.domain.run import Lane, Status
from app.services.level import GOAL_SECONDS, QUICK_SECONDS, Kind, LevelRow


def level_rows(
    connection: Connection, since: datetime, bucket_seconds: int, now: datetime, until: datetime | None = None
) -> list[LevelRow]:
    """Live releases recorded since then (and before `until`) by bucket and kind; the first time it was done counts.

    Nobody waits for a backfill, nor for what somebody cancelled before it was done. What is under way for too long is late.
    """
    # Each run's own, by its key: the attempts of so long ago are very many, and have no index by time.
    done = select(func.min(attempts.c.ended_at)).where(
        attempts.c.run_id == runs.c.id, attempts.c.outcome == Status.DONE
    )
    wanted = [runs.c.created_at >= since, runs.c.lane == Lane.LIVE, or_(runs.c.status != Status.REJECTED, FAILURE)]
    if until:
        wanted.append(runs.c.created_at < until)
    columns = (runs.c.created_at, runs.c.active, runs.c.error)
    found = select(*columns, done.scalar_subquery().label("at")).where(*wanted)
    # A fence for the planner (OFFSET 0): else it would look for the first time done again for each use of it.
    released = found.offset(0).subquery()
    sqlite = connection.dialect.name == "sqlite"
    created, ended = _seconds(released.c.created_at, sqlite=sqlite), _seconds(released.c.at, sqlite=sqlite)
    # Integer division in both: cast() alone would round on PostgreSQL.
    bucket = cast(func.floor(created / bucket_seconds), Integer).label("bucket")
    overdue = released.c.created_at < now - timedelta(seconds=GOAL_SECONDS)
    kind = _kind(released.c.at, ended - created, released.c.active, overdue).label("kind")
    meant = released.c.at.is_not(None) | released.c.error.is_distinct_from("cancelled")
    query = select(bucket, kind, func.count().label("count")).where(meant).group_by(bucket, kind)
    return [LevelRow(row.bucket, Kind(row.kind), row._mapping["count"]) for row in connection.execute(query)]


def _seconds(column: Any, *, sqlite: bool) -> Any:
    """Seconds since 1970 with a fraction; to about a hundredth of a second on SQLite."""
    return (func.julianday(column) - 2440587.5) * 86400.0 if sqlite else func.extract("epoch", column)


def _kind(done_at: Any, took: Any, active: Any, overdue: Any) -> Any:
    return case(
        (done_at.is_not(None) & (took <= QUICK_SECONDS), Kind.QUICK.value),
        (done_at.is_not(None) & (took <= GOAL_SECONDS), Kind.IN_TIME.value),
        (done_at.is_not(None), Kind.LATE.value),
        (active & overdue, Kind.LATE.value),
        (active, Kind.OPEN.value),
        else_=Kind.FAILED.value,
    )
