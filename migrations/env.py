"""Alembic's entry: `modsync db upgrade` and the alembic command both come here."""

from __future__ import annotations

import os
from typing import Literal

from alembic import context
from sqlalchemy import Connection

from app.adapters.database import connect
from app.adapters.tables import UtcDateTime, metadata


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    # A migration must not change its meaning when the application's types do.
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url") or os.environ.get("DATABASE_URL", "sqlite:///var/modsync.db")
    engine = connect(url)
    try:
        with engine.begin() as connection:
            _migrate(connection)
    finally:  # a try that met a lock is one of many, and leaves no connection behind
        engine.dispose()


def _migrate(connection: Connection) -> None:
    # Two processes that start at once must not both migrate: SQLite's BEGIN IMMEDIATE or this lock makes one wait.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7173001)")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(context.config.attributes.get('lock_ms', 300))}")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        render_item=_render,
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
