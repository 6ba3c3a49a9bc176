"""How the databases are connected to: what a URL asks for is kept, and nobody waits long for a connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.adapters import database
from app.adapters.database import connect
from tests.integration.databases import PostgresServer


def test_the_urls_own_options_count_beside_ours(postgres: PostgresServer) -> None:
    url = postgres.fresh("migrated")
    engine = connect(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3Dmodsync")
    with engine.connect() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in ("search_path", "lock_timeout")]
    engine.dispose()
    postgres.drop(url)
    assert shown == ["modsync", "5s"]


def test_sqlite_has_a_connection_for_each_thread_and_no_long_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    engine = connect(f"sqlite:///{tmp_path / 'm.db'}", pool_size=20)
    held = [engine.raw_connection() for _ in range(40)]
    with pytest.raises(PoolTimeout):
        engine.raw_connection()
    for each in held:
        each.close()
    engine.dispose()
