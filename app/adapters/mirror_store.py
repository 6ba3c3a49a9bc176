"""The leases of mirrors, and what is remembered of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, bindparam, or_, select, update

from app.adapters.database import reading, unhurried, writing
from app.adapters.fences import fenced_mirror
from app.adapters.mirror_source import keep_source, known_source, record_source
from app.adapters.rows import insert_ignoring
from app.adapters.tables import UtcDateTime, mirrors
from app.services.stores import MirrorLease


class SqlMirrorStore:
    """MirrorStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # For a hold on something: before anything is done outside, fence() or record() keep it.
        self._unhurried = unhurried(engine)

    def lease_mirror(self, path: str, owner: str, now: datetime, lease_seconds: float) -> MirrorLease | None:
        """See MirrorStore."""
        until = now + timedelta(seconds=lease_seconds)
        with writing(self._unhurried) as connection:
            _ensure_mirror(connection, path, now)
            values = {"on": path, "at": now, "owner": owner, "until": until}
            row = connection.execute(_LEASE, values).mappings().one_or_none()
            return _mirror_lease(row, keep_source(connection, row)) if row else None

    def source_of(self, path: str) -> str | None:
        """See MirrorStore."""
        with reading(self._engine) as connection:
            row = connection.execute(select(mirrors).where(mirrors.c.path == path)).mappings().one_or_none()
            return known_source(connection, row) if row else None

    def release_mirror(
        self, lease: MirrorLease, now: datetime, *, project: tuple[int, str, str] | None, branch_at: str | None
    ) -> None:
        """See MirrorStore; an overtaken holder writes nothing."""
        values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "updated_at": now, "branch_at": branch_at}
        if project:
            values |= {"project_id": project[0], "clone_url": project[1], "web_url": project[2]}
        with writing(self._unhurried) as connection:
            record_source(connection, lease, now)
            fenced_mirror(connection, lease, values, strict=False)


# Made once, before workers fork: to make a statement takes longer than to run it.
_AT: ColumnElement[Any] = bindparam("at", type_=UtcDateTime())
_LEASE = (
    update(mirrors)
    .where(mirrors.c.path == bindparam("on"), or_(mirrors.c.lease_until.is_(None), mirrors.c.lease_until < _AT))
    .values(fence=mirrors.c.fence + 1, lease_owner=bindparam("owner"), lease_until=bindparam("until"))
    .returning(mirrors)
)
_KNOWN_MIRROR = select(mirrors.c.path).where(mirrors.c.path == bindparam("on"))
_REMEMBERED = ("path", "fence", "project_id", "clone_url", "web_url", "branch_at")


def _ensure_mirror(connection: Connection, path: str, now: datetime) -> None:
    known = connection.execute(_KNOWN_MIRROR, {"on": path}).scalar_one_or_none()
    if known is None:
        insert_ignoring(connection, mirrors, {"path": path, "fence": 0, "updated_at": now})


def _mirror_lease(row: RowMapping, source: str | None) -> MirrorLease:
    plain = {name: row[name] for name in _REMEMBERED}
    return MirrorLease(**plain, owner=row["lease_owner"], source_url=source)
