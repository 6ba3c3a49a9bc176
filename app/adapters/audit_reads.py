"""AuditReads on SQLite or PostgreSQL: by number only, which is the log's one index."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, func, select

from app.adapters.access_store import SqlAuditStore
from app.adapters.database import reading
from app.adapters.tables import audit
from app.domain.audit import Entry
from app.services.audit_log import AuditFilter, AuditPage

_WINDOW = 20_000  # entries that one page of a filtered list reads at most
_SKEW = timedelta(hours=1)  # several hosts write: their clocks put neighbours out of order by less


class SqlAuditReads:
    """See AuditReads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, wanted: AuditFilter, before: int | None, limit: int) -> AuditPage:
        """See AuditReads."""
        conditions = _conditions(wanted)
        with reading(self._engine) as connection:
            top, bottom = _range(connection, wanted, before)
            floor = max(bottom, top - _WINDOW) if conditions else bottom
            query = select(audit).where(audit.c.number <= top, audit.c.number > floor, *conditions)
            rows = connection.execute(query.order_by(audit.c.number.desc()).limit(limit + 1)).mappings().all()
        items = tuple(Entry(**row) for row in rows[:limit])
        if len(rows) > limit:
            return AuditPage(items, items[-1].number, items[-1].number)
        return AuditPage(items, floor + 1 if floor > bottom else None, floor + 1)

    def last(self) -> int:
        """See AuditReads."""
        with reading(self._engine) as connection:
            return _last(connection)

    def hash_of(self, number: int) -> str | None:
        """See AuditReads."""
        with reading(self._engine) as connection:
            found: str | None = connection.execute(
                select(audit.c.hash).where(audit.c.number == number)
            ).scalar_one_or_none()
        return found

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """See AuditReads."""
        return SqlAuditStore(self._engine).entries(after)


def _last(connection: Connection) -> int:
    found: int | None = connection.execute(select(func.max(audit.c.number))).scalar_one()
    return found or 0


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    found = [
        audit.c[name].icontains(text, autoescape=True)
        for name in ("actor", "action", "object")
        if (text := getattr(wanted, name))
    ]
    if wanted.since:
        found.append(audit.c.at >= wanted.since)
    return [*found, audit.c.at < wanted.until] if wanted.until else found


def _range(connection: Connection, wanted: AuditFilter, before: int | None) -> tuple[int, int]:
    """(the highest number to look at, the number above which to look)."""
    last = _last(connection)
    top = min(last, before - 1) if before is not None else last
    if wanted.until:
        top = min(top, _first_at(connection, _moved(wanted.until, _SKEW), last))
    bottom = _first_at(connection, _moved(wanted.since, -_SKEW), last) - 1 if wanted.since else 0
    return top, bottom


def _moved(moment: datetime, by: timedelta) -> datetime:
    """Nothing was written in the calendar's first and last hours."""
    try:
        return moment + by
    except OverflowError:
        return moment


def _first_at(connection: Connection, moment: datetime, last: int) -> int:
    """The first number that was written at `moment` or later, last + 1 when none was: by halves, a look each."""
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        at = connection.execute(
            select(audit.c.at).where(audit.c.number >= middle).order_by(audit.c.number).limit(1)
        ).scalar_one_or_none()
        if at is None or at >= moment:
            high = middle
        else:
            low = middle + 1
    return low
