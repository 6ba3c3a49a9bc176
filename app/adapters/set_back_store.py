"""SetBackStore on SQLite or PostgreSQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ColumnElement, Engine, case, literal, or_, update

from app.adapters.database import writing
from app.adapters.tables import UtcDateTime, mirrors, runs


class SqlSetBackStore:
    """See SetBackStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def bring_back(self, now: datetime, ahead: datetime, lease_ahead: datetime) -> int:
        """See SetBackStore. A pause that was meant to be long was written at a time that is not ahead: it stays."""
        due = (runs.c.due_at > ahead) & (runs.c.updated_at > ahead)
        job, held = runs.c.job_at > ahead, runs.c.lease_until > lease_ahead
        values = {
            "due_at": _now_if(due, runs.c.due_at, now),
            "job_at": _now_if(job, runs.c.job_at, now),
            "lease_until": _now_if(held, runs.c.lease_until, now),
            "updated_at": _now_if(runs.c.updated_at > ahead, runs.c.updated_at, now),
        }
        late = update(runs).where(runs.c.active, or_(due, job, held)).values(values)
        locked = update(mirrors).where(mirrors.c.lease_until > lease_ahead).values(lease_until=now)
        with writing(self._engine) as connection:
            return sum(connection.execute(each).rowcount for each in (late, locked))


def _now_if(wrong: ColumnElement[bool], column: Column[datetime], now: datetime) -> ColumnElement[datetime]:
    return case((wrong, literal(now, UtcDateTime())), else_=column)
