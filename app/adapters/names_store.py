"""The names of all modules, for searching: far fewer than runs. The sweeper keeps them: recording a run costs nothing more.

A mark says up to when runs were looked at. What came later is looked at by whoever asks: names are complete at any time,
also before the sweeper ever came, or while it is away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, delete, exists, func, literal, or_, select, update

from app.adapters.database import reading, writing
from app.adapters.repository_store import learn_mirrors, unknown_mirrors
from app.adapters.rows import insert_ignoring
from app.adapters.tables import marks, modules, runs

_MARK = "names"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Runs carry the time of their host and appear a little later: so far behind now the mark stays.
_SETTLED = timedelta(minutes=5)
_MOVES = timedelta(seconds=30)  # a mark that moved less is not worth a write


@dataclass(frozen=True, slots=True)
class Match:
    """What a name must be: `of` a column with a name as it is, `folded` of one with a name in small letters."""

    of: Callable[[ColumnElement[Any]], ColumnElement[bool]]
    known: ColumnElement[bool]


def contains(text: str) -> Match:
    """Names with this part, in small or capital letters."""
    folded = text.lower()

    def of(column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column.icontains(text, autoescape=True)

    return Match(of, modules.c.folded.contains(folded, autoescape=True))


def starts_with(prefix: str) -> Match:
    """Names that begin so; letters as they are."""

    def of(column: ColumnElement[Any]) -> ColumnElement[bool]:
        # Not LIKE: it ignores letter case on SQLite, and Go's paths do not.
        return func.substr(column, 1, len(prefix)) == prefix

    return Match(of, of(modules.c.name))


def marked() -> ColumnElement[datetime]:
    """Up to when names were learnt."""
    at = select(marks.c.at).where(marks.c.name == _MARK).scalar_subquery()
    return func.coalesce(at, literal(_BEGINNING, marks.c.at.type))


def matching(match: Match | None, mark: datetime, behind: str | None = None, first: int | None = None) -> Select[str]:
    """The names that match (None: all), as a column `name`; only those behind a name, of those learnt the first ones.

    `mark`: what `marked` gave. A value, no question: PostgreSQL then knows how few runs are behind it.
    """
    known, late = select(modules.c.name), select(runs.c.module.label("name")).where(runs.c.created_at >= mark)
    if match:
        known, late = known.where(match.known), late.where(match.of(runs.c.module))
    if behind is not None:
        # Not by an index of modules: SQLite would read half of all runs for those of the last minutes.
        known, late = known.where(modules.c.name > behind), late.where(runs.c.module.concat("") > behind)
    if first is not None:
        known = select(known.order_by(modules.c.name).limit(first).subquery())
    found = known.union(late).subquery("names")
    return select(found.c.name)


class SqlNames:
    """See NameStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def learn(self, now: datetime, limit: int) -> bool:
        """See NameStore. Nothing is written where nothing is new."""
        with reading(self._engine) as connection:
            mark = _mark(connection)
            row = connection.execute(_places(mark).offset(limit - 1).limit(1)).one_or_none()
            last = (row.created_at, row.id) if row else None
            looked = connection.execute(_told(mark, last)).all()
            names = _unknown(connection, {row.module for row in looked})
            mirrors = unknown_mirrors(connection, {row.mirror for row in looked})
        settled = (now - _SETTLED, "")
        to = max(mark, min(last or settled, settled))
        if names or mirrors or to[0] - mark[0] > _MOVES:
            with writing(self._engine) as connection:
                remember(connection, names)
                learn_mirrors(connection, mirrors)
                _move(connection, to)
        return last is not None and to < settled


def remember(connection: Connection, names: Collection[str]) -> None:
    """Note these modules."""
    for name in sorted(names):
        insert_ignoring(connection, modules, {"name": name, "folded": name.lower()})


def forget(connection: Connection, names: Collection[str]) -> None:
    """Take out those of these modules that have no run any more."""
    left = exists().where(runs.c.module == modules.c.name)
    connection.execute(delete(modules).where(modules.c.name.in_(names), ~left))


def _mark(connection: Connection) -> tuple[datetime, str]:
    row = connection.execute(select(marks.c.at, marks.c.id).where(marks.c.name == _MARK)).one_or_none()
    return (row.at, row.id) if row else (_BEGINNING, "")


def _move(connection: Connection, to: tuple[datetime, str]) -> None:
    values = {"at": to[0], "id": to[1]}
    if not insert_ignoring(connection, marks, {"name": _MARK, **values}):
        connection.execute(update(marks).where(marks.c.name == _MARK).values(values))


def _places(mark: tuple[datetime, str]) -> Select[datetime, str]:
    """The times and ids of the runs behind the mark, in order."""
    return select(runs.c.created_at, runs.c.id).where(_behind(mark)).order_by(runs.c.created_at, runs.c.id)


def _told(mark: tuple[datetime, str], last: tuple[datetime, str] | None) -> Select[str, str]:
    """What the runs behind the mark tell, up to the last one."""
    query = select(runs.c.module, runs.c.mirror).distinct().where(_behind(mark))
    return query.where(runs.c.created_at <= last[0], ~_behind(last)) if last else query


def _behind(place: tuple[datetime, str]) -> ColumnElement[bool]:
    at, run_id = place
    return (runs.c.created_at >= at) & or_(runs.c.created_at > at, runs.c.id > run_id)


def _unknown(connection: Connection, names: Collection[str]) -> set[str]:
    """Those that are not noted yet."""
    query = select(modules.c.name).where(modules.c.name.in_(list(names)))
    return set(names) - set(connection.execute(query).scalars())
