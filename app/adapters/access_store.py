"""Credentials and the audit log in the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, or_, select, text, update

from app.adapters.database import reading, writing
from app.adapters.rows import plain
from app.adapters.tables import audit, credentials
from app.domain.access import Credential, Kind, Role, Scope
from app.domain.audit import GENESIS, Entry
from app.services.access import Note

_BATCH = 1000
_LARGEST = 2**31 - 1  # the largest number that an entry can have
_AUDIT_LOCK = 7173002  # pg_advisory_xact_lock; SQLite's BEGIN IMMEDIATE needs none


_LAST = select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
_ADD = insert(audit)
_WORDS = frozenset({"kind", "role", "scopes"})
_LIVE = credentials.c.revoked_at.is_(None)


class SqlCredentialStore:
    """CredentialStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self, credential: Credential, secret_digest: str, note: Note, *, spends: str | None = None,
        under: str | None = None, alone: bool = False,
    ) -> bool:  # fmt: skip
        """See CredentialStore."""
        values = {name: getattr(credential, name) for name in Credential.__dataclass_fields__}
        values["scopes"] = sorted(credential.scopes) or None
        with writing(self._engine) as connection:
            if spends and not _end(connection, spends, credential.created_at):
                return False
            if under and not _holds(connection, under):
                return False
            if alone and _is_taken(connection, credential):
                return False
            connection.execute(insert(credentials).values(**values, digest=secret_digest))
            _tell(connection, note, credential.created_at)
        return True

    def by_digest(self, secret_digest: str) -> Credential | None:
        """See CredentialStore."""
        with reading(self._engine) as connection:
            row = (
                connection.execute(select(credentials).where(credentials.c.digest == secret_digest))
                .mappings()
                .one_or_none()
            )
        return _credential(row) if row else None

    def used(self, credential_id: str, now: datetime) -> None:
        """See CredentialStore."""
        with writing(self._engine) as connection:
            connection.execute(update(credentials).where(credentials.c.id == credential_id).values(last_used_at=now))

    def revoke(self, credential_id: str, now: datetime, note: Note, *, sessions_of: str | None = None) -> bool:
        """See CredentialStore: compare-and-set, so that of two at once one succeeds."""
        with writing(self._engine) as connection:
            if not _end(connection, credential_id, now):
                return False
            if sessions_of:
                opened = (credentials.c.created_by == sessions_of) & (credentials.c.kind == Kind.SESSION)
                connection.execute(update(credentials).where(opened, _LIVE).values(revoked_at=now))
            _tell(connection, note, now)
        return True

    def tokens(self) -> list[Credential]:
        """See CredentialStore."""
        query = select(credentials).where(credentials.c.kind == Kind.TOKEN).order_by(credentials.c.created_at.desc())
        with reading(self._engine) as connection:
            return [_credential(row) for row in connection.execute(query).mappings()]

    def prune(self, before: datetime, limit: int) -> int:
        """Forget sessions and links that ended before then, at most `limit`; how many."""
        over = or_(credentials.c.expires_at < before, credentials.c.revoked_at < before)
        ids = select(credentials.c.id).where(credentials.c.kind != Kind.TOKEN, over).limit(limit)
        with writing(self._engine) as connection:
            return connection.execute(credentials.delete().where(credentials.c.id.in_(ids.scalar_subquery()))).rowcount


class SqlAuditStore:
    """AuditStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(
        self, actor: str, action: str, thing: str, now: datetime, *, reason: str = "",
        before: dict[str, Any] | None = None, after: dict[str, Any] | None = None,
    ) -> Entry:  # fmt: skip
        """See AuditStore."""
        with writing(self._engine) as connection:
            return append(connection, actor, action, thing, now, reason=reason, before=before, after=after)

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """See AuditStore."""
        after = min(after, _LARGEST)
        while True:
            query = select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(_BATCH)
            with reading(self._engine) as connection:
                rows = connection.execute(query).mappings().all()
            if not rows:
                return
            for row in rows:
                yield Entry(**row)
            after = rows[-1]["number"]

    def newest(self, limit: int) -> list[Entry]:
        """The last entries, newest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(audit).order_by(audit.c.number.desc()).limit(limit)).mappings().all()
        return [Entry(**row) for row in rows]


def append(
    connection: Connection, actor: str, action: str, thing: str, now: datetime, *, reason: str = "",
    before: dict[str, Any] | None = None, after: dict[str, Any] | None = None,
) -> Entry:  # fmt: skip
    """Add an entry inside the caller's transaction: the log says what was committed, no more and no less."""
    _take_turn(connection)
    last = connection.execute(_LAST).one_or_none()
    entry = Entry(
        number=(last.number if last else 0) + 1, at=now, actor=actor, action=action, object=thing, reason=reason,
        before=plain(before or {}), after=plain(after or {}), previous=last.hash if last else GENESIS,
    ).sealed()  # fmt: skip
    connection.execute(_ADD, {name: getattr(entry, name) for name in Entry.__dataclass_fields__})
    return entry


def _take_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _AUDIT_LOCK})


def _is_taken(connection: Connection, new: Credential) -> bool:
    """Whether a live one of its kind has its name. Each that is made is told to the audit log: one at a time."""
    _take_turn(connection)
    same = (credentials.c.kind == new.kind) & (credentials.c.name == new.name)
    live = select(credentials.c.id).where(same, _LIVE, credentials.c.expires_at > new.created_at)
    return connection.execute(live.limit(1)).first() is not None


def _end(connection: Connection, credential_id: str, now: datetime) -> bool:
    which = update(credentials).where(credentials.c.id == credential_id, _LIVE)
    return connection.execute(which.values(revoked_at=now)).rowcount == 1


def _holds(connection: Connection, credential_id: str) -> bool:
    """Whether it is live; who revokes it waits for us, and then finds what was made under it."""
    which = select(credentials.c.id).where(credentials.c.id == credential_id, _LIVE).with_for_update()
    return connection.execute(which).first() is not None


def _tell(connection: Connection, note: Note, now: datetime) -> None:
    append(
        connection, note.actor, note.action, note.object, now, reason=note.reason, before=dict(note.before),
        after=dict(note.after),
    )  # fmt: skip


def _credential(row: Any) -> Credential:
    plain_values = {name: row[name] for name in Credential.__dataclass_fields__ if name not in _WORDS}
    scopes = frozenset(Scope(each) for each in row["scopes"] or ())
    return Credential(**plain_values, kind=Kind(row["kind"]), role=Role(row["role"]), scopes=scopes)
