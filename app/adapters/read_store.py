"""ReadStore on SQLite or PostgreSQL: the reading half of the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, Executable, RowMapping, Select, func, or_, select

from app.adapters.database import reading
from app.adapters.read_rows import detail, known, mirror, summary
from app.adapters.system import SystemClock
from app.adapters.tables import attempts, deliveries, delivery_runs, mirrors, releases, runs, steps
from app.domain.ids import run_of
from app.domain.run import Status
from app.services.ports import Clock
from app.services.run_filter import RunFilter, is_commit
from app.services.views import Counts, Known, MirrorView, RunDetail, RunSummary

_NEWEST = (runs.c.created_at.desc(), runs.c.id.desc())


class SqlReadStore:
    """See ReadStore."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()

    def runs(self, wanted: RunFilter, after: tuple[datetime, str] | None, limit: int) -> list[RunSummary]:
        """See ReadStore."""
        conditions = _conditions(wanted)
        if after:
            conditions.append(_behind(*after))
        query = select(runs).where(*conditions).order_by(*_NEWEST).limit(limit)
        with reading(self._engine) as connection:
            return [summary(row) for row in connection.execute(query).mappings()]

    def run(self, run_id: str) -> RunDetail | None:
        """See ReadStore."""
        with reading(self._engine) as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
            return _detail(connection, row) if row else None

    def counts(self) -> Counts:
        """See ReadStore."""
        now = self._clock.now()
        numbers = select(runs.c.status, func.count()).group_by(runs.c.status)
        with reading(self._engine) as connection:
            by_status: dict[str, int] = dict(connection.execute(numbers).all())
            due, oldest = connection.execute(_due(now)).one()
            expired = connection.execute(_number(runs.c.active, runs.c.lease_until < now)).scalar_one()
            received = connection.execute(select(func.count()).select_from(deliveries)).scalar_one()
        age = max((now - oldest).total_seconds(), 0.0) if oldest else 0.0
        return Counts({each: by_status.get(each, 0) for each in Status}, due, age, expired, received)

    def known(self, module: str, version: str | None, limit: int) -> Known:
        """See ReadStore."""
        of_runs, of_releases = [runs.c.module == module], [releases.c.module == module]
        if version is not None:
            of_runs.append(or_(runs.c.version == version, runs.c.version.is_(None)))
            of_releases.append(releases.c.version == version)
        with reading(self._engine) as connection:
            found = _rows(connection, select(runs).where(*of_runs).order_by(*_NEWEST).limit(limit))
            held = _rows(connection, select(releases).where(*of_releases).order_by(releases.c.version).limit(limit))
        return known(found, held)

    def mirrors(self, paths: Collection[str]) -> tuple[MirrorView, ...]:
        """See ReadStore."""
        query = select(mirrors).where(mirrors.c.path.in_(list(paths))).order_by(mirrors.c.path)
        with reading(self._engine) as connection:
            return tuple(map(mirror, _rows(connection, query)))


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


def _number(*conditions: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(runs).where(*conditions)


def _behind(created_at: datetime, run_id: str) -> ColumnElement[bool]:
    # The first condition is implied by the second, and lets the index be entered at the right place.
    earlier = or_(runs.c.created_at < created_at, runs.c.id < run_id)
    return (runs.c.created_at <= created_at) & earlier


def _conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    equal = {
        runs.c.version: wanted.version, runs.c.source: wanted.source, runs.c.error: wanted.error,
        runs.c.mirror: wanted.mirror,
    }  # fmt: skip
    found = [column == value for column, value in equal.items() if value]
    if wanted.module:
        found.append(_module(wanted.module))
    if wanted.commit:
        found.append(_commit(wanted.commit))
    if wanted.status:
        found.append(runs.c.status.in_([each.value for each in wanted.status]))
    if wanted.since:
        found.append(runs.c.created_at >= wanted.since)
    if wanted.until:
        found.append(runs.c.created_at < wanted.until)
    if wanted.q:
        found.append(_anything(wanted.q))
    return found


def _module(text: str) -> ColumnElement[bool]:
    prefix = text.removesuffix("*")
    # Not LIKE: it ignores letter case on SQLite, and Go's paths do not.
    return func.substr(runs.c.module, 1, len(prefix)) == prefix if prefix != text else runs.c.module == text


def _commit(prefix: str) -> ColumnElement[bool]:
    # "g" is what comes after the last hex digit in every collation; a range can use the index, a LIKE cannot.
    return (runs.c.commit >= prefix) & (runs.c.commit < prefix + "g")


def _anything(text: str) -> ColumnElement[bool]:
    run_id = run_of(text)
    if run_id:
        return runs.c.id == run_id
    module, at, version = text.rpartition("@")
    if at and module:
        return (runs.c.module == module) & or_(runs.c.version == version, runs.c.ref == version)
    found = [runs.c.module.icontains(text.removesuffix("*"), autoescape=True), runs.c.version == text]
    return or_(*found, *([_commit(text.lower())] if is_commit(text) else []))
