"""The configuration that a process saw last, on SQLite or PostgreSQL; a change is in the audit log, once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Engine, select, update

from app.adapters.access_store import append
from app.adapters.database import reading, writing
from app.adapters.rows import insert_ignoring
from app.adapters.system import random_secret
from app.adapters.tables_notify import settings_seen as seen
from app.domain.config_change import difference

_NAME = "config"
_ROUNDS = 10_000


class SqlSettingsSeen:
    """Processes on any hosts share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def salt(self, now: datetime) -> str:
        """What fingerprints are made with, the same for all; made at the first call. Error: store_unavailable."""
        query = select(seen.c.salt).where(seen.c.name == _NAME)
        with reading(self._engine) as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        if found is not None:
            return found
        first = {"name": _NAME, "salt": random_secret(), "entries": {}, "changed_at": now}
        with writing(self._engine) as connection:
            insert_ignoring(connection, seen, first)
            made: str = connection.execute(query).scalar_one()
        return made

    def record(self, entries: Mapping[str, str], actor: str, now: datetime) -> bool:
        """Remember these, and note in the audit log what changed; False when nothing did. After salt().

        Of several processes that start at once one notes it. Error: store_unavailable.
        """
        which = seen.c.name == _NAME
        with writing(self._engine) as connection:
            old = connection.execute(select(seen.c.entries).where(which).with_for_update()).scalar_one()
            before, after = difference(old, entries)
            if not before and not after:
                return False
            connection.execute(update(seen).where(which).values(entries=dict(entries), changed_at=now))
            reason = "" if old else "the first start with this database"
            append(connection, actor, "config.changed", "config", now, reason=reason, before=before, after=after)
        return True


def fingerprint(secret: str, salt: str) -> str:
    """Eight hex digits: enough to see that a secret changed, too few to find out which one it is."""
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt.encode(), _ROUNDS).hex()[:8]
