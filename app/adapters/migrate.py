"""Bring a database to the newest schema; Alembic does the work, its scripts are in migrations/.

It is imported only for that: it would cost each process that starts, and there are many, a tenth of its start.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Column, MetaData, String, Table, inspect, select
from sqlalchemy.exc import DBAPIError, OperationalError

import migrations
from app.adapters.database import BUSY_SECONDS, connect, reading
from app.domain.errors import SyncError

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
# A lock's holder, pg_dump above all, may take its time, and each try holds up webhooks for a moment (migrations/env.py).
_LOCKED_SECONDS = 5.0
# Behind a lock that is waited for stand all who write, so that is short; but PostgreSQL sends an autovacuum away only after
# its deadlock_timeout, a second, so each fourth try is longer. Whoever goes back by hand has announced it.
_SHORT_MS, _LONGER_MS, _BY_HAND_MS = 300, 1200, 5000
_EACH = 4
_LOCKED, _READ_ONLY = "55P03", "25006"  # SQLSTATEs
_SCRIPTS = Path(migrations.__file__).parent
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32)))


def _config(url: str, lock_ms: int) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    # Alembic reads its options with % as a placeholder's start; a password may hold one.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    config.attributes["lock_ms"] = lock_ms
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade to `revision`; does nothing when the database is there already, and two at once wait for each other.

    A database that a newer modsync has upgraded is left as it is: it works with this one, too (docs/upgrades.md).
    Errors: store_unavailable, migration_failed.
    """
    end = time.monotonic() + BUSY_SECONDS
    patience = _patience()
    while True:
        try:
            return _upgrade(url, next(patience), revision)
        except SyncError as error:
            if not _is_locked(error) or time.monotonic() > end:
                raise
            time.sleep(_LOOK_SECONDS)


def _patience() -> Iterator[int]:
    """For how many milliseconds each try waits for a lock."""
    return (_LONGER_MS if number % _EACH == 0 else _SHORT_MS for number in count(1))


def _upgrade(url: str, lock_ms: int, revision: str = "head") -> None:
    if revision == "head" and _told(url) == head():
        return
    try:
        _alembic("upgrade", url, revision, lock_ms)
    except SyncError as error:
        found = _told(url)
        if error.code != "migration_failed" or not is_newer(found):
            raise
        log.warning("database_newer", extra={"revision": found, "known": head()})


def _told(url: str) -> str | None:
    """The revision; None also where the database does not tell: Alembic says what is wrong then."""
    try:
        return current(url)
    except SyncError:
        return None


def _alembic(what: Literal["upgrade", "downgrade"], url: str, revision: str, lock_ms: int) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        with _own_errors():
            getattr(command, what)(_config(url, lock_ms), revision)
    except CommandError as error:
        raise SyncError("migration_failed", f"the schema cannot become {revision}: {error}") from error


def upgrade_when_reachable(url: str) -> None:
    """As upgrade(), but a database that is away is waited for: a start must not depend on who was started first."""
    patience = _patience()
    while True:
        try:
            return _upgrade(url, next(patience))
        except SyncError as error:
            if error.code != "store_unavailable":
                raise
            log.warning("database_away", extra={"error": error.message})
            time.sleep(_LOCKED_SECONDS if _is_locked(error) else _LOOK_SECONDS)


def downgrade(url: str, revision: str) -> None:
    """Go back to `revision` ("base": no tables). Errors: store_unavailable, migration_failed."""
    _alembic("downgrade", url, revision, _BY_HAND_MS)


def _is_locked(error: SyncError) -> bool:
    return _sqlstate(error.__cause__) == _LOCKED


def _sqlstate(error: BaseException | None) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


@contextmanager
def _own_errors() -> Iterator[None]:
    """Alembic has its own connection, so its errors do not become ours by themselves."""
    try:
        yield
    except DBAPIError as error:
        # SQLite calls a wrong statement operational, too.
        wrong = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        away = isinstance(error, OperationalError) or _sqlstate(error) == _READ_ONLY  # a standby, soon the primary
        if away and not wrong:
            raise SyncError("store_unavailable", f"the database refused: {_said(error)}", retry_after=2) from error
        raise SyncError("migration_failed", f"the database refused a migration: {_said(error)}") from error
    except sqlite3.OperationalError as error:  # of database.connect's BEGIN: another process writes for long
        raise SyncError("store_unavailable", f"the database refused: {error}", retry_after=2) from error


def _said(error: DBAPIError) -> str:
    """The driver's first line: the rest may hold values."""
    return str(error.orig).partition("\n")[0]


def current(url: str) -> str | None:
    """The database's revision, None for an empty one. Error: `store_unavailable`."""
    engine = connect(url, pool_size=1)
    try:
        with reading(engine) as connection:
            if not inspect(connection).has_table(_VERSION.name):
                return None
            return connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    finally:
        engine.dispose()


def is_newer(revision: str | None) -> bool:
    """True for a revision that this code does not know: a newer modsync made it."""
    return revision is not None and revision not in _known()


def head() -> str:
    """The newest revision that this code knows."""
    return _known()[-1]


def at_head(url: str) -> bool:
    """True when the database has the schema that this code needs, or a newer one."""
    found = current(url)
    return found == head() or is_newer(found)


def _known() -> list[str]:
    """All revisions, oldest first: each script is called by its own (0011_what_it_does.py)."""
    return sorted(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))
