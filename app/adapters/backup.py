"""A copy of the SQLite database while it is in use; PostgreSQL has pg_dump for that."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from app.domain.errors import SyncError


def backup(url: str, target: Path) -> None:
    """Write a checked copy of the database at `url` to `target`, which appears whole or not at all.

    Errors: bad_request (PostgreSQL, the file is there already, its directory is not or takes no file), not_found (no database
    yet, or no schema in it), store_unavailable.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise SyncError("bad_request", "this copies SQLite only: back PostgreSQL up by pg_dump --format=custom")
    source = Path(parsed.database or "")
    if not source.is_file():
        raise SyncError("not_found", f"there is no database {source}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise SyncError(
            "bad_request", f"{target.absolute().parent} is not there, or modsync's user may not write there"
        )
    if target.exists():
        raise SyncError("bad_request", f"{target} is there already")
    half = target.with_name(f"{target.name}.part")
    try:
        _copied(source, half)
        half.rename(target)
    except (sqlite3.Error, OSError) as error:
        raise SyncError("store_unavailable", f"the copy failed: {error}") from error
    finally:
        half.unlink(missing_ok=True)


def _copied(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.touch(0o600, exist_ok=False)  # whatever the umask says: it holds what the database holds
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        # At once: who writes is not held up (WAL), but would make a copy in steps begin anew, for ever.
        old.backup(new)
        verdict = new.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy is not sound: {verdict}")
        if not _revisions(new):
            told = "is $DATABASE_URL set as for the service?"
            raise SyncError("not_found", f"{source} holds no modsync schema: nothing was copied; {told}")
        new.execute("PRAGMA journal_mode=DELETE")  # one file, without companions


def _revisions(database: sqlite3.Connection) -> int:
    """How many there are; 0 in a database that only a look at it has made."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'").fetchall():
        return 0
    return int(database.execute("SELECT count(*) FROM alembic_version").fetchone()[0])
