"""Finds the newest runs that match, by reading few others, however many there are.

Each filter that is an equality has an index in the list's own order, and the one with the fewest runs is walked. A part of a
module's name is looked up among the names (names_store), which are far fewer than the runs; then each such module is asked for
its newest runs. At worst the runs of the smallest set that was asked for are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from app.adapters.names_store import Match, contains, marked, matching, starts_with
from app.adapters.newest_of_each import newest_of_each
from app.adapters.tables import runs
from app.domain.ids import run_of
from app.domain.modules import RuleBroken, Version
from app.domain.run import Status
from app.services.run_filter import RunFilter, is_commit
from app.services.views import RunSummary

LISTED = [runs.c[name] for name in RunSummary.__dataclass_fields__ if name in runs.c] + [runs.c.error_message]
NEWEST = (runs.c.created_at.desc(), runs.c.id.desc())

Conditions = list[ColumnElement[bool]]
_SMALL, _LARGE = (
    2000,
    50_000,
)  # runs: a set of fewer than the first is read as a whole; from the second on all are as large
_WALKED = 1000  # the newest runs, where a part of a name that is released all the time is found at once
_FEW = 200  # modules


@dataclass(frozen=True, slots=True)
class _Set:
    """Runs that one filter names: each of `ways` enters an index in the list's order; `plain` says the same without an index."""

    ways: Conditions
    plain: ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What all results must be: one of each of `sets`, within `times`, and the `rest`."""

    connection: Connection
    sets: tuple[_Set, ...]
    times: Conditions
    limit: int


def newest_runs(
    connection: Connection, wanted: RunFilter, after: tuple[datetime, str] | None, limit: int
) -> list[RowMapping]:
    """LISTED of the runs that match, newest first, at most `limit`; only those behind `after`."""
    asked = _Asked(connection, tuple(_sets(wanted)), _times(wanted, after), limit)
    if wanted.q:
        return _anything(asked, wanted)
    if _is_prefix(wanted.module):
        return _named(asked, _prefix(wanted))
    return _walked(asked, [])


def _anything(asked: _Asked, wanted: RunFilter) -> list[RowMapping]:
    """By a text that is a run, module@version, a commit, a version or a part of a module's name."""
    text = wanted.q or ""
    also = [_prefix(wanted).of(runs.c.module)] if _is_prefix(wanted.module) else []
    if run_id := run_of(text):
        return _one_way(asked, _Set([runs.c.id == run_id], runs.c.id == run_id), also)
    module, at, version = text.rpartition("@")
    if at and module and "." in module.partition("/")[0]:
        return _one_way(asked, _release(module, version), also)
    if at and module:  # only a part of the path
        return _one_way(asked, _equal(runs.c.version, version), [*also, contains(module).of(runs.c.module)])
    found = [_one_way(asked, each, also) for each in _exact(text)]
    return _merged([*found, _named(asked, contains(text.removesuffix("*")), also)], asked.limit)


def _exact(text: str) -> Iterable[_Set]:
    if text.startswith("v"):
        yield _equal(runs.c.version, text)
    if is_commit(text):
        yield _commit(text.lower())


def _one_way(asked: _Asked, one: _Set, also: Conditions) -> list[RowMapping]:
    return _walked(_Asked(asked.connection, (one, *asked.sets), asked.times, asked.limit), also)


def _walked(asked: _Asked, also: Conditions) -> list[RowMapping]:
    return _along(asked, _smallest(asked)[0] if len(asked.sets) > 1 else next(iter(asked.sets), None), also)


def _along(asked: _Asked, first: _Set | None, also: Conditions) -> list[RowMapping]:
    """Along the index of a set, or of all runs."""
    others = [each.plain for each in asked.sets if each is not first]
    ways = first.ways if first else [true()]
    queries = [_page(asked, [way, *others, *also]) for way in ways]
    if len(queries) == 1:
        return _rows(asked, queries[0])
    parts = [select(query.subquery()) for query in queries]
    return _merged([_rows(asked, union_all(*parts))], asked.limit)


def _named(asked: _Asked, match: Match, also: Sequence[ColumnElement[bool]] = ()) -> list[RowMapping]:
    """Of the modules whose names match."""
    alike = [*also, match.of(runs.c.module)]
    first, fewest = _smallest(asked)
    if fewest < _SMALL:
        return _along(asked, first, alike)
    mark, since = _places(asked)
    if first is None:
        found = _rows(asked, _page(asked, [*([runs.c.created_at >= since] if since else []), *alike]))
        if since is None or len(found) == asked.limit:
            return found
    names = matching(match, mark)
    if first and _count(asked, names.limit(_FEW + 1)) > _FEW:
        return _along(asked, first, alike)
    within = [*asked.times, *also, *(each.plain for each in asked.sets)]
    ids = newest_of_each(asked.connection, names, within, asked.limit)
    return [] if ids is None else _rows(asked, select(*LISTED).where(runs.c.id.in_(ids)).order_by(*NEWEST))


def _places(asked: _Asked) -> tuple[datetime, datetime | None]:
    """(the names' mark, since when the newest _WALKED runs are; None: there are no more)."""
    last = select(runs.c.created_at).where(*asked.times).order_by(*NEWEST).offset(_WALKED).limit(1)
    row = asked.connection.execute(select(marked(), last.scalar_subquery())).one()
    return row[0], row[1]


def _page(asked: _Asked, conditions: Conditions) -> Select[Any]:
    return select(*LISTED).where(*asked.times, *conditions).order_by(*NEWEST).limit(asked.limit)


def _rows(asked: _Asked, query: Any) -> list[RowMapping]:
    return list(asked.connection.execute(query).mappings())


def _merged(found: Iterable[Iterable[RowMapping]], limit: int) -> list[RowMapping]:
    by_id = {row["id"]: row for rows in found for row in rows}
    return sorted(by_id.values(), key=lambda row: (row["created_at"], row["id"]), reverse=True)[:limit]


def _smallest(asked: _Asked) -> tuple[_Set | None, int]:
    """The set with the fewest runs, and how many; counted in an index's entries, and no further than it takes to tell."""
    first, fewest = next(iter(asked.sets), None), _LARGE
    for each in asked.sets:
        size = _size(asked, each, fewest)
        if size < fewest:
            first, fewest = each, size
    return first, fewest


def _size(asked: _Asked, one: _Set, most: int) -> int:
    """How many runs it has, `most` at most."""
    ways = [select(literal(1)).select_from(runs).where(way, *asked.times).limit(most) for way in one.ways]
    return min(most, sum(_count(asked, way) for way in ways))


def _count(asked: _Asked, query: Select[Any]) -> int:
    found: int = asked.connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    return found


def _sets(wanted: RunFilter) -> Iterable[_Set]:
    """Those that are small as a rule come first: the others are counted no further than these."""
    often, seldom = (wanted.status, None) if Status.DONE in wanted.status else (None, wanted.status)
    module = None if _is_prefix(wanted.module) else wanted.module
    if wanted.commit:
        yield _commit(wanted.commit)
    yield from _equals({runs.c.error: wanted.error})
    yield from _states(seldom)
    yield from _equals({runs.c.mirror: wanted.mirror, runs.c.module: module, runs.c.version: wanted.version})
    yield from _equals({runs.c.source: wanted.source})
    yield from _states(often)


def _states(wanted: Iterable[Status] | None) -> Iterable[_Set]:
    if names := sorted(each.value for each in wanted or ()):
        yield _Set([runs.c.status == name for name in names], _unindexed(runs.c.status).in_(names))


def _equals(wanted: Mapping[Column[Any], str | None]) -> Iterable[_Set]:
    return (_equal(column, value) for column, value in wanted.items() if value)


def _equal(column: ColumnElement[Any], value: str) -> _Set:
    return _Set([column == value], _unindexed(column) == value)


def _unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same text, where the database must not enter another index: without statistics SQLite guesses, and wrongly."""
    return column.concat("")


def _commit(prefix: str) -> _Set:
    # "g" is what comes after the last hex digit in every collation; a range can use the index, a LIKE cannot.
    found = (runs.c.commit >= prefix) & (runs.c.commit < prefix + "g")
    return _Set([found], func.substr(runs.c.commit, 1, len(prefix)) == prefix)


def _release(module: str, version: str) -> _Set:
    """module@version, which may be a branch's name instead; what is a version to Go is no branch whose version is known."""
    own = runs.c.module == module
    branch = own & (runs.c.ref == version)
    if _is_version(version):
        branch &= runs.c.version.is_(None)
    plain = or_(_unindexed(runs.c.version) == version, runs.c.ref == version)
    return _Set([and_(own, runs.c.version == version), branch], and_(_unindexed(runs.c.module) == module, plain))


def _is_version(text: str) -> bool:
    try:
        Version.parse(text)
    except RuleBroken:
        return False
    return True


def _is_prefix(module: str | None) -> bool:
    return bool(module and module.endswith("*"))


def _prefix(wanted: RunFilter) -> Match:
    return starts_with((wanted.module or "").removesuffix("*"))


def _times(wanted: RunFilter, after: tuple[datetime, str] | None) -> Conditions:
    found: Conditions = []
    if wanted.since:
        found.append(runs.c.created_at >= wanted.since)
    if wanted.until:
        found.append(runs.c.created_at < wanted.until)
    if after:
        # The first condition is implied by the second, and lets the index be entered at the right place.
        found += [runs.c.created_at <= after[0], or_(runs.c.created_at < after[0], runs.c.id < after[1])]
    return found
