"""The outbox of notifications: written with a run's outcome, in its transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, String, Table, bindparam, exists, insert, or_, select

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
    values = {"of": attempt, "ended": str(status), "code": error, "at": at, "on": run_id}
    connection.execute(_DONE if status is Status.DONE else _ENDED, values)


def _about(table: Table) -> ColumnElement[bool]:
    """True where the table has a row of this run, or of its version."""
    same = (table.c.module == runs.c.module) & (table.c.version == runs.c.version)
    return exists().where(or_(table.c.run_id == runs.c.id, same))


def _adding() -> Select[Any]:
    given: list[ColumnElement[Any]] = [
        bindparam("of", type_=Integer), bindparam("ended", type_=String), bindparam("code", type_=String),
        bindparam("at", type_=outcomes.c.at.type),
    ]  # fmt: skip
    columns: list[ColumnElement[Any]] = [runs.c.id, *given, runs.c.error_message, *(runs.c[name] for name in _COPIED)]
    return select(*columns).where(runs.c.id == bindparam("on"))


_NAMES = ["run_id", "attempt", "status", "error", "at", "message", *_COPIED]
_ENDED = insert(outcomes).from_select(_NAMES, _adding())
_DONE = insert(outcomes).from_select(_NAMES, _adding().where(or_(_about(open_failures), _about(outcomes))))
