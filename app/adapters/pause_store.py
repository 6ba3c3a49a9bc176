"""Pauses on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select

from app.adapters.access_store import append
from app.adapters.database import reading, writing
from app.adapters.fences import take_in_order, write_taken
from app.adapters.rows import insert_ignoring
from app.adapters.tables import pauses, runs
from app.domain.pause import Parked, Pause, PauseKind

_ALL = select(pauses).order_by(pauses.c.created_at)
_AT_ONCE = 1000  # runs that are woken in one transaction
_PARKED = runs.c.active & (runs.c.error == "paused")

_TOLD = ("actor", "reason", "created_at")


class SqlPauseStore:
    """See PauseStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pauses(self) -> Sequence[Pause]:
        """See PauseStore."""
        with reading(self._engine) as connection:
            return read_pauses(connection)

    def add(self, pause: Pause) -> bool:
        """See PauseStore."""
        values = {name: getattr(pause, name) for name in Pause.__dataclass_fields__}
        with writing(self._engine) as connection:
            new = insert_ignoring(connection, pauses, values)
            if new:
                append(
                    connection, pause.actor, "pause", f"pause:{pause.name}"[:700], pause.created_at, reason=pause.reason,
                    after={"kind": pause.kind.value, "value": pause.value},
                )  # fmt: skip
        return new

    def remove(self, kind: PauseKind, value: str, actor: str, now: datetime, reason: str = "") -> bool:
        """See PauseStore."""
        which = (pauses.c.kind == kind) & (pauses.c.value == value)
        with writing(self._engine) as connection:
            ended = connection.execute(delete(pauses).where(which).returning(pauses)).mappings().one_or_none()
            if ended:
                thing, before = f"pause:{kind} {value}".strip()[:700], {name: str(ended[name]) for name in _TOLD}
                append(connection, actor, "resume", thing, now, reason=reason, before=before)
        return ended is not None

    def parked(self, limit: int) -> Sequence[Parked]:
        """See PauseStore."""
        columns = (runs.c.id, runs.c.source, runs.c.module, runs.c.target)
        query = select(*columns).where(_PARKED).order_by(runs.c.updated_at.desc()).limit(limit)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [Parked(row.id, row.source, row.module, row.target["clone_url"]) for row in rows]

    def count_parked(self) -> int:
        """See PauseStore."""
        with reading(self._engine) as connection:
            return connection.execute(select(func.count()).where(_PARKED)).scalar_one()

    def wake(self, run_ids: Sequence[str] | None, now: datetime) -> int:
        """See PauseStore."""
        which = _PARKED if run_ids is None else _PARKED & runs.c.id.in_(run_ids)
        woken = 0
        # In parts, so that others write between them. What another pause parks anew meanwhile is none of ours.
        while part := self._wake_some(which & (runs.c.updated_at <= now), now):
            woken += part
        return woken

    def _wake_some(self, which: ColumnElement[bool], now: datetime) -> int:
        some = select(runs.c.id).where(which).order_by(runs.c.due_at, runs.c.id).limit(_AT_ONCE)
        with writing(self._engine) as connection:
            ids = take_in_order(connection, which, runs.c.id.in_(some.scalar_subquery()))
            write_taken(connection, ids, {"due_at": now, "error": None, "error_message": None})
        return len(ids)


def read_pauses(connection: Connection) -> list[Pause]:
    """All pauses, oldest first."""
    rows = connection.execute(_ALL).mappings()
    return [Pause(**{**row, "kind": PauseKind(row["kind"])}) for row in rows]
