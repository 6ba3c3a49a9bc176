"""How many pipelines of backfills are in flight, counted in the runs' own rows, so that nothing can get lost or leak.

A backfill's run holds a slot from the moment it notes that it is about to create its pipeline until its stage ends.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, func, or_, select

from app.adapters.database import reading, writing
from app.adapters.fences import take_in_order, write_taken
from app.adapters.tables import runs
from app.domain.run import Lane, Run, Stage
from app.domain.turns import fair_turns

WAITS = "backfill_waits"
_LOCK = 7_266_010  # of transactions that give slots away; any number that nobody else uses
_PIPELINES = runs.c.active & (runs.c.lane == Lane.BACKFILL) & (runs.c.stage == Stage.PIPELINE)
_WAITING = _PIPELINES & (runs.c.error == WAITS)
# One that somebody paused holds none: its pipeline ends soon, its pause maybe not.
_HOLDING = (
    _PIPELINES
    & or_(runs.c.error.is_(None), runs.c.error.not_in((WAITS, "paused")))
    & runs.c.facts[("pipeline", "intent")].as_string().is_not(None)
)


def is_free(connection: Connection, run: Run, limit: int) -> bool:
    """Whether `run` may begin its pipeline: a slot is free, and nobody waits for it who came earlier.

    The answer holds until the caller's transaction ends.
    """
    _serialize(connection)
    if run.error != WAITS and _count(connection, _WAITING & (runs.c.id != run.id)):
        return False
    return _count(connection, _HOLDING & (runs.c.id != run.id)) < limit


class SqlSlotStore:
    """SlotStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def wake(self, limit: int, now: datetime) -> int:
        """See SlotStore."""
        asleep = runs.c.active & (runs.c.error == WAITS) & (runs.c.due_at > now)
        with reading(self._engine) as connection:
            if connection.execute(select(runs.c.id).where(asleep).limit(1)).first() is None:
                return 0
        with writing(self._engine) as connection:
            _serialize(connection)
            freed = runs.c.lane != Lane.BACKFILL  # a webhook came for it: it is a live release now
            next_ones = or_(freed, runs.c.id.in_(_next(connection, limit, now))) if limit else asleep
            ids = take_in_order(connection, asleep, next_ones)
            write_taken(connection, ids, {"due_at": now})
        return len(ids)


def _next(connection: Connection, limit: int, now: datetime) -> list[str]:
    free = limit - _count(connection, _HOLDING) - _count(connection, _WAITING & (runs.c.due_at <= now))
    if free <= 0:
        return []
    place = func.row_number().over(partition_by=runs.c.mirror, order_by=(runs.c.created_at, runs.c.id)).label("place")
    asleep = select(runs.c.mirror, runs.c.id, runs.c.created_at, place).where(_WAITING, runs.c.due_at > now).subquery()
    query = select(asleep.c.mirror, asleep.c.id).where(asleep.c.place <= free)
    waiting = connection.execute(query.order_by(asleep.c.created_at, asleep.c.id)).all()
    held = select(runs.c.mirror, func.count()).where(_HOLDING).group_by(runs.c.mirror)
    return fair_turns(
        [(row.mirror, row.id) for row in waiting], {row[0]: row[1] for row in connection.execute(held)}, free
    )


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(runs).where(which)).scalar_one()


def _serialize(connection: Connection) -> None:
    """One at a time: SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
