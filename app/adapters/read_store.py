"""ReadStore on SQLite or PostgreSQL: the reading half of the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Engine,
    Executable,
    RowMapping,
    Select,
    func,
    literal,
    or_,
    select,
    union_all,
)

from app.adapters.database import reading
from app.adapters.read_rows import detail, known, mirror, summary
from app.adapters.run_search import NEWEST, newest_runs
from app.adapters.system import SystemClock
from app.adapters.tables import attempts, deliveries, delivery_runs, mirrors, releases, runs, steps
from app.domain.modules import ModulePath, Version
from app.domain.run import ENDED, Status
from app.domain.semver import SortKey, semver_sort_key
from app.services.ports import Clock
from app.services.run_filter import RunFilter
from app.services.views import Counts, Known, MirrorView, RunDetail, RunSummary

_DAY = timedelta(days=1)
_MANY = 10_000  # rows that one of the numbers is counted from, at most
# Versions that one push or one adoption brought came at one moment: so many of them are put in order by version.
_SAME = 500
_HELD = select(releases, runs.c.id.label("kept")).outerjoin(runs, runs.c.id == releases.c.run_id)
_PUSHED_LAST = (releases.c.pushed_at.desc().nulls_first(), releases.c.version.desc())


class SqlReadStore:
    """See ReadStore."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()

    def runs(self, wanted: RunFilter, after: tuple[datetime, str] | None, limit: int) -> list[RunSummary]:
        """See ReadStore."""
        with reading(self._engine) as connection:
            return [summary(row) for row in newest_runs(connection, wanted, after, limit)]

    def run(self, run_id: str) -> RunDetail | None:
        """See ReadStore."""
        with reading(self._engine) as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
            return _detail(connection, row) if row else None

    def counts(self) -> Counts:
        """See ReadStore."""
        now = self._clock.now()
        with reading(self._engine) as connection:
            numbers = [*connection.execute(_in_flight()), *connection.execute(_ended(now - _DAY))]
            by_status: dict[str, int] = dict(tuple(row) for row in numbers)
            due, oldest = connection.execute(_due(now)).one()
            expired = connection.execute(_number(runs.c.active, runs.c.lease_until < now)).scalar_one()
            some = select(deliveries.c.id).limit(_MANY).subquery()
            received = connection.execute(select(func.count()).select_from(some)).scalar_one()
        age = max((now - oldest).total_seconds(), 0.0) if oldest else 0.0
        return Counts({each: by_status.get(each, 0) for each in Status}, due, age, expired, received)

    def known(self, module: ModulePath, version: Version | None, limit: int) -> Known:
        """See ReadStore."""
        of_runs, of_releases = [runs.c.module == module.text], [releases.c.module == module.text]
        if version is not None:
            # By the index of both: of a module with very many runs few are of one version.
            ids = [
                select(runs.c.id).where(*of_runs, which)
                for which in (runs.c.version == version.text, runs.c.version.is_(None))
            ]
            of_runs = [runs.c.id.in_(union_all(*ids))]
            of_releases.append(releases.c.version == version.text)
        with reading(self._engine) as connection:
            found = _rows(connection, select(runs).where(*of_runs).order_by(*NEWEST).limit(limit))
            held = _rows(connection, _HELD.where(*of_releases).order_by(*_PUSHED_LAST).limit(limit + _SAME))
        return known(found, sorted(held, key=_newest_first, reverse=True)[:limit])

    def mirrors(self, paths: Collection[str]) -> tuple[MirrorView, ...]:
        """See ReadStore."""
        query = select(mirrors).where(mirrors.c.path.in_(list(paths))).order_by(mirrors.c.path)
        with reading(self._engine) as connection:
            return tuple(map(mirror, _rows(connection, query)))


def _newest_first(release: RowMapping) -> tuple[bool, float, SortKey]:
    """What is not pushed yet is newer than all that is."""
    pushed: datetime | None = release["pushed_at"]
    return pushed is None, pushed.timestamp() if pushed else 0.0, semver_sort_key(release["version"]) or ((), False, ())


def _rows(connection: Connection, query: Executable) -> Sequence[RowMapping]:
    return connection.execute(query).mappings().all()


def _detail(connection: Connection, row: RowMapping) -> RunDetail:
    run_id = row["id"]
    tried = _rows(connection, select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.number))
    taken = _rows(connection, select(steps).where(steps.c.run_id == run_id).order_by(steps.c.id))
    wanted = (deliveries.c.id, deliveries.c.source, deliveries.c.received_at, delivery_runs.c.duplicate)
    asked = _rows(
        connection,
        select(*wanted)
        .join(delivery_runs, delivery_runs.c.delivery == deliveries.c.id)
        .where(delivery_runs.c.run_id == run_id)
        .order_by(deliveries.c.received_at, deliveries.c.id),
    )
    return detail(row, tried, taken, asked)


def _idle(now: datetime) -> ColumnElement[bool]:
    return or_(runs.c.lease_until.is_(None), runs.c.lease_until < now)


def _due(now: datetime) -> Select[int, datetime]:
    waiting = (runs.c.active, runs.c.due_at <= now, _idle(now))
    return select(func.count(), func.min(runs.c.due_at)).where(*waiting)


def _in_flight() -> Select[str, int]:
    found = select(runs.c.status).where(runs.c.active).limit(_MANY).subquery()
    return select(found.c.status, func.count()).group_by(found.c.status)


def _ended(since: datetime) -> CompoundSelect[str, int]:
    """Read in the index alone."""
    found = [select(runs.c.id).where(runs.c.status == each, runs.c.ended_at >= since) for each in sorted(ENDED)]
    counted = [select(func.count()).select_from(query.limit(_MANY).subquery()).scalar_subquery() for query in found]
    return union_all(*(select(literal(each), number) for each, number in zip(sorted(ENDED), counted, strict=True)))


def _number(*conditions: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(runs).where(*conditions)
