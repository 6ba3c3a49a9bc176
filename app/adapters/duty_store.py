"""The sweeper's side of the database beside the runs' own: who sweeps, and what became of the jobs that RQ still has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine, delete, or_, select, update

from app.adapters.database import reading, writing
from app.adapters.rows import insert_ignoring
from app.adapters.tables import duties, runs
from app.domain.run import Status
from app.services.set_back import SKEW
from app.services.tidy import RunState

_CHUNK = 500  # ids in one statement


class SqlDutyStore:
    """DutyStore and StateStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take_duty(self, name: str, owner: str, now: datetime, until: datetime) -> bool:
        """See DutyStore."""
        # Nobody holds it for longer than `until`: what says so was written before a clock was set back.
        free = or_(duties.c.owner == owner, duties.c.until < now, duties.c.until > until + SKEW)
        with writing(self._engine) as connection:
            if insert_ignoring(connection, duties, {"name": name, "owner": owner, "until": until}):
                return True
            taken = update(duties).where(duties.c.name == name, free).values(owner=owner, until=until)
            return connection.execute(taken).rowcount == 1

    def leave_duty(self, name: str, owner: str) -> None:
        """See DutyStore."""
        with writing(self._engine) as connection:
            connection.execute(delete(duties).where(duties.c.name == name, duties.c.owner == owner))

    def states(self, run_ids: Sequence[str]) -> Mapping[str, RunState]:
        """See StateStore."""
        return dict(self._states(run_ids))

    def _states(self, run_ids: Sequence[str]) -> Iterator[tuple[str, RunState]]:
        columns = (runs.c.id, runs.c.status, runs.c.attempt, runs.c.job, runs.c.job_at, runs.c.lease_until)
        for start in range(0, len(run_ids), _CHUNK):
            with reading(self._engine) as connection:
                query = select(*columns).where(runs.c.id.in_(run_ids[start : start + _CHUNK]))
                for row in connection.execute(query):
                    yield row.id, RunState(Status(row.status), row.attempt, row.job, row.job_at, row.lease_until)
