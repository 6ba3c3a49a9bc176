"""The outbox of notifications: written with a run's outcome, in its transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, exists, insert, literal, or_, select

from app.adapters.tables import runs
from app.adapters.tables_notify import open_failures, outcomes
from app.domain.run import Status

_COPIED = ("stage", "source", "module", "version", "ref")


def log_outcome(
    connection: Connection, run_id: str, attempt: int, status: Status, error: str | None, at: datetime
) -> None:
    """Note how an attempt ended, for those who want to be told; the run's row has its outcome already.

    What is done is noted only where a failure of that release is known: most releases never fail.
    """
    given: list[ColumnElement[Any]] = [
        literal(attempt),
        literal(str(status)),
        literal(error),
        literal(at, outcomes.c.at.type),
    ]
    columns: list[ColumnElement[Any]] = [runs.c.id, *given, runs.c.error_message, *(runs.c[name] for name in _COPIED)]
    query = select(*columns).where(runs.c.id == run_id)
    if status is Status.DONE:
        query = query.where(or_(_about(open_failures), _about(outcomes)))
    names = ["run_id", "attempt", "status", "error", "at", "message", *_COPIED]
    connection.execute(insert(outcomes).from_select(names, query))


def _about(table: Table) -> ColumnElement[bool]:
    """True where the table has a row of this run, or of its version."""
    same = (table.c.module == runs.c.module) & (table.c.version == runs.c.version)
    return exists().where(or_(table.c.run_id == runs.c.id, same))
