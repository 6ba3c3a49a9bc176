"""Bring a database to the newest schema; Alembic does the work, its scripts are in migrations/."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

import migrations
from app.adapters.database import connect, reading

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    # Alembic reads its options with % as a placeholder's start; a password may hold one.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade to `revision`; does nothing when the database is there already, and two at once wait for each other.

    A database that a newer modsync has upgraded is left as it is: it works with this one, too (docs/upgrades.md).
    """
    try:
        command.upgrade(_config(url), revision)
    except CommandError:
        found = current(url)
        if not is_newer(found):
            raise
        log.warning("database_newer", extra={"revision": found, "known": head()})


def upgrade_when_reachable(url: str) -> None:
    """As upgrade(), but a database that is away is waited for: a start must not depend on who was started first."""
    while True:
        try:
            return upgrade(url)
        except OperationalError as error:
            log.warning("database_away", extra={"error": str(error.orig).partition("\n")[0]})
            time.sleep(_LOOK_SECONDS)


def downgrade(url: str, revision: str) -> None:
    """Go back to `revision` ("base": no tables)."""
    command.downgrade(_config(url), revision)


def current(url: str) -> str | None:
    """The database's revision, None for an empty one. Error: `store_unavailable`."""
    engine = connect(url, pool_size=1)
    try:
        with reading(engine) as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def is_newer(revision: str | None) -> bool:
    """True for a revision that this code does not know: a newer modsync made it."""
    if revision is None:
        return False
    try:
        ScriptDirectory.from_config(_config("")).get_revision(revision)
    except CommandError:
        return True
    return False


def head() -> str:
    """The newest revision that this code knows."""
    newest = ScriptDirectory.from_config(_config("")).get_current_head()
    if newest is None:
        raise RuntimeError("migrations/ holds no revision")
    return newest


def at_head(url: str) -> bool:
    """True when the database has the schema that this code needs, or a newer one."""
    found = current(url)
    return found == head() or is_newer(found)
