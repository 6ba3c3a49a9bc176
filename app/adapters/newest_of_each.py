"""The newest runs of very many modules: each is asked for its newest one by an index, and then few of them for more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, literal_column, select, true

from app.adapters.tables import runs
from app.adapters.texts import texts

_NEWEST = (runs.c.created_at.desc(), runs.c.id.desc())
_SHOWN = runs.alias("shown")


def newest_of_each(
    connection: Connection, names: Select[str], within: Sequence[ColumnElement[bool]], limit: int
) -> Select[str] | None:
    """The question for the ids of the newest `limit` runs of the modules that `names` selects (a column `name`).

    None when they have none.

    As many modules as runs are wanted are enough: those whose newest runs are the newest. No run that is older than the
    newest one of the last of these can be wanted.
    """
    first = connection.execute(_first(names, within, limit)).all()
    if not first:
        return None
    bound = [runs.c.created_at >= first[-1].latest] if len(first) == limit else []
    given = texts(connection, [row.name for row in first])
    make = _lateral if connection.dialect.name == "postgresql" else _by_rowid
    return make(given, [*within, *bound], limit)


def _first(names: Select[str], within: Sequence[ColumnElement[bool]], limit: int) -> Select[str, datetime]:
    """The `limit` modules with the newest runs, and when these were."""
    named = names.subquery("named")
    own = select(runs.c.id).where(runs.c.module == named.c.name, *within)
    newest = own.order_by(*_NEWEST).limit(1).correlate(named).scalar_subquery().label("newest")
    each = select(named.c.name, newest).subquery("each_one")
    # In the order of the list itself: one delivery's releases have one time, and each has to come once.
    query = select(each.c.name, _SHOWN.c.created_at.label("latest")).join(_SHOWN, _SHOWN.c.id == each.c.newest)
    return query.order_by(_SHOWN.c.created_at.desc(), _SHOWN.c.id.desc()).limit(limit)


def _lateral(given: FromClause, within: Sequence[ColumnElement[bool]], limit: int) -> Select[str]:
    own = select(runs.c.id, runs.c.created_at).where(runs.c.module == given.c.name, *within)
    found = own.order_by(*_NEWEST).limit(limit).lateral("found")
    query = select(found.c.id).select_from(given).join(found, true())
    return query.order_by(found.c.created_at.desc(), found.c.id.desc()).limit(limit)


def _by_rowid(given: FromClause, within: Sequence[ColumnElement[bool]], limit: int) -> Select[str]:
    """SQLite knows no LATERAL; a list of row ids that depends on the row before is the same to it."""
    own: Select[Any] = select(literal_column("runs.rowid")).select_from(runs)
    newest = own.where(runs.c.module == given.c.name, *within).order_by(*_NEWEST).limit(limit).correlate(given)
    query = select(_SHOWN.c.id).select_from(given).join(_SHOWN, literal_column("shown.rowid").in_(newest))
    return query.order_by(_SHOWN.c.created_at.desc(), _SHOWN.c.id.desc()).limit(limit)
