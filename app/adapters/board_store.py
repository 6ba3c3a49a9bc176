"""BoardStore on SQLite or PostgreSQL: what the pages show beside lists of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, Select, case, func, select

from app.adapters.board_rows import mirror_row, module_row, seen
from app.adapters.database import reading
from app.adapters.level_query import level_rows
from app.adapters.names_store import contains, marked, matching
from app.adapters.read_rows import summary
from app.adapters.read_store import SqlReadStore
from app.adapters.rows import FAILURE
from app.adapters.run_search import LISTED, NEWEST
from app.adapters.tables import mirrors, releases, runs, steps
from app.adapters.texts import texts
from app.domain.run import Status
from app.services.board import (
    MOST,
    FailedAlike,
    FailureCount,
    MirrorRow,
    ModuleRow,
    Now,
    Seen,
)
from app.services.level import LevelRow
from app.services.ports import Clock
from app.services.views import Page, RunSummary

_FAILED_FOR = timedelta(days=1)
_OVERDUE = timedelta(seconds=10)
# How many steps are looked at for a word about GitLab and the proxies: a bound, for this is asked every two seconds.
_STEPS = 200


class SqlBoardStore:
    """See BoardStore."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def now(self, limit: int) -> Now:
        """See BoardStore."""
        moment = self._clock.now()
        held, idle = _worked_on(moment)
        # Between two looks at its pipeline no worker holds a run, and still it runs, but for one that is overdue.
        overdue = runs.c.due_at.is_(None) | (runs.c.due_at <= moment - _OVERDUE)
        waits = (runs.c.status == Status.QUEUED) | overdue
        well = idle & runs.c.error.is_(None)
        mended = runs.c.error.is_distinct_from("cancelled")  # what a person cancelled is nothing to be mended
        failed = FAILURE & mended & (runs.c.ended_at >= moment - _FAILED_FOR)
        counts = SqlReadStore(self._engine, self._clock).counts()
        with reading(self._engine) as connection:
            return Now(
                counts,
                _summaries(connection, held | (well & ~waits), runs.c.updated_at.desc(), limit),
                _summaries(connection, well & waits, runs.c.due_at, limit),
                _summaries(connection, idle & runs.c.error.is_not(None), runs.c.due_at, limit),
                _summaries(connection, failed, runs.c.ended_at.desc(), limit),
                _seen(connection),
            )

    def level(self, since: datetime, bucket_seconds: int, until: datetime | None = None) -> list[LevelRow]:
        """See BoardStore."""
        with reading(self._engine) as connection:
            return level_rows(connection, since, bucket_seconds, self._clock.now(), until)

    def modules(self, text: str, after: str | None, limit: int) -> Page[ModuleRow]:
        """See BoardStore."""
        with reading(self._engine) as connection:
            mark = connection.execute(select(marked())).scalar_one()
            names = matching(contains(text) if text else None, mark, after, limit + 1).subquery()
            listed = select(names.c.name).order_by(names.c.name).limit(limit + 1)
            found: list[str] = list(connection.execute(listed).scalars())
            rows = connection.execute(_counted(connection, found[:limit])).mappings().all()
            newest = _newest(connection, runs.c.module, found[:limit])
        # One whose last run was forgotten this moment is none any more.
        shown = tuple(module_row(row, newest[row["module"]]) for row in rows if row["module"] in newest)
        return Page(shown, found[limit - 1] if len(found) > limit else None)

    def mirrors(self, text: str, after: str | None, limit: int) -> Page[MirrorRow]:
        """See BoardStore."""
        query = select(mirrors).where(*_by_name(mirrors.c.path, text, after)).order_by(mirrors.c.path).limit(limit + 1)
        now = self._clock.now()
        with reading(self._engine) as connection:
            found = connection.execute(query).mappings().all()
            newest = _newest(connection, runs.c.mirror, [row["path"] for row in found[:limit]])
        rows = tuple(mirror_row(row, newest.get(row["path"]), now) for row in found[:limit])
        return Page(rows, rows[-1].path if len(found) > limit else None)

    def mirror(self, path: str) -> MirrorRow | None:
        """See BoardStore."""
        with reading(self._engine) as connection:
            row = connection.execute(select(mirrors).where(mirrors.c.path == path)).mappings().one_or_none()
            newest = _newest(connection, runs.c.mirror, [path])
        return mirror_row(row, newest.get(path), self._clock.now()) if row else None

    def failures(self, since: datetime) -> list[FailureCount]:
        """See BoardStore."""
        number = func.count().label("runs")
        query = select(runs.c.error, number).where(*_ended_failed(since), runs.c.error.is_not(None))
        with reading(self._engine) as connection:
            rows = connection.execute(query.group_by(runs.c.error).order_by(number.desc(), runs.c.error)).all()
        return [FailureCount(row.error, row.runs) for row in rows]

    def failed(self, alike: FailedAlike, limit: int, after: tuple[datetime, str] | None = None) -> list[RunSummary]:
        """See BoardStore."""
        query = select(*LISTED).where(*_alike(alike))
        if after:
            ended, last = runs.c.ended_at, after
            query = query.where(ended >= last[0], (ended > last[0]) | (runs.c.id > last[1]))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(runs.c.ended_at, runs.c.id).limit(limit)).mappings().all()
        return [summary(row) for row in rows]

    def count_failed(self, alike: FailedAlike) -> int:
        """See BoardStore."""
        with reading(self._engine) as connection:
            found: int = connection.execute(select(func.count()).select_from(runs).where(*_alike(alike))).scalar_one()
        return found


def _worked_on(moment: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Runs in flight that a worker holds, and those that none holds."""
    held = runs.c.active & (runs.c.lease_until >= moment)
    return held, runs.c.active & (runs.c.lease_until.is_(None) | (runs.c.lease_until < moment))


def _ended_failed(since: datetime) -> list[ColumnElement[bool]]:
    return [FAILURE, runs.c.ended_at >= since]


def _alike(which: FailedAlike) -> list[ColumnElement[bool]]:
    return [*_ended_failed(which.since), runs.c.ended_at < which.until, runs.c.error == which.code]


def _summaries(connection: Connection, which: ColumnElement[bool], order: Any, limit: int) -> tuple[RunSummary, ...]:
    query = select(*LISTED).where(which).order_by(order, runs.c.id).limit(limit)
    return tuple(summary(row) for row in connection.execute(query).mappings())


def _by_name(column: Any, text: str, after: str | None) -> list[ColumnElement[bool]]:
    found = [column.icontains(text, autoescape=True)] if text else []
    return [*found, column > after] if after is not None else found


def _newest(connection: Connection, column: Any, names: Sequence[str]) -> dict[str, RunSummary]:
    """The newest run by the value that it has in `column`."""
    given = texts(connection, names)
    last = select(runs.c.id).where(column == given.c.name).order_by(*NEWEST).limit(1).correlate(given)
    ids = select(last.scalar_subquery()).select_from(given)
    query = select(*LISTED, column.label("name")).where(runs.c.id.in_(ids))
    return {row["name"]: summary(row) for row in connection.execute(query).mappings()} if names else {}


def _counted(connection: Connection, names: Sequence[str]) -> Select[Any]:
    """Of each module, its runs and its versions in the mirror, at most MOST of each."""
    given = texts(connection, names)
    its_runs = select(runs.c.created_at).where(runs.c.module == given.c.name)
    held = select(releases.c.version).where(releases.c.module == given.c.name, releases.c.pushed_at.is_not(None))
    numbers = [
        select(func.count()).select_from(each.limit(MOST).correlate(given).subquery()).scalar_subquery()
        for each in (its_runs, held)
    ]
    return select(given.c.name.label("module"), numbers[0].label("runs"), numbers[1].label("versions")).order_by(
        given.c.name
    )


def _seen(connection: Connection) -> tuple[Seen, ...]:
    """The newest word about each system; the newest steps only."""
    last = select(steps).order_by(steps.c.id.desc()).limit(_STEPS).subquery()
    target = case((last.c.stage == "verify", runs.c.target))  # the JSON is of use for proxies only
    columns = (last.c.stage, last.c.outcome, last.c.ended_at, last.c.error, last.c.message, target.label("target"))
    query = select(*columns).join(runs, runs.c.id == last.c.run_id).order_by(last.c.id.desc())
    found: dict[tuple[str, str], Seen] = {}
    rows: list[RowMapping] = list(connection.execute(query).mappings())
    for each in (word for row in rows if (word := seen(row))):
        found.setdefault((each.system, each.name), each)
    return tuple(found.values())
