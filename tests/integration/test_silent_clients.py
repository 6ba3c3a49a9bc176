"""A client that vanished, or stands still in the middle of a transaction, keeps no lock of PostgreSQL's for long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from app.adapters import database, migrate
from app.adapters.database import connect, reading, writing
from app.bootstrap import Container
from app.domain.errors import SyncError
from tests.integration.databases import PostgresServer
from tests.integration.web_world import make_world
from workers.sweeper import _Sweeper

LOCK = text("SELECT pg_advisory_xact_lock(4711)")


@pytest.fixture
def engine(postgres: PostgresServer) -> Iterator[Engine]:
    url = postgres.fresh("migrated")
    made = connect(url)
    yield made
    made.dispose()
    postgres.drop(url)


def test_the_server_ends_what_does_nothing_within_a_transaction(engine: Engine) -> None:
    wanted = {
        "idle_in_transaction_session_timeout": "8s", "lock_timeout": "5s",
        "tcp_keepalives_idle": "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
    }  # fmt: skip
    with reading(engine) as connection:
        rows = connection.execute(text("SELECT name, setting FROM pg_settings")).all()
        shown = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert shown == wanted["idle_in_transaction_session_timeout"]
    assert {row.name: row.setting for row in rows}["lock_timeout"] == "5000"
    # A server that is reached by its socket tells 0: what was asked for is in the connection's own options.
    assert all(
        f"-c {name}={value}" in database._POSTGRES_OPTIONS for name, value in wanted.items() if name.startswith("tcp_")
    )


def test_the_lock_of_one_that_stands_still_is_free_again(engine: Engine) -> None:
    other = connect(str(engine.url.render_as_string(hide_password=False)))
    with pytest.raises(SyncError, match="store_unavailable"), writing(engine) as silent:
        _stands_still_holding_the_lock(silent, other)
    other.dispose()


def _stands_still_holding_the_lock(silent: Connection, other: Engine) -> None:
    silent.execute(text("SET LOCAL idle_in_transaction_session_timeout = 300"))  # not to wait for all eight seconds
    silent.execute(LOCK)
    with writing(other) as connection:
        connection.execute(LOCK)  # a SyncError after lock_timeout otherwise
    silent.execute(text("SELECT 1"))


def test_slots_that_cannot_be_looked_at_hold_up_no_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path)
    try:
        migrate.upgrade(world.settings.store.url)
        sweeper, swept = _Sweeper(Container(world.settings)), list[str]()

        def held() -> None:
            raise SyncError("store_unavailable", "lock timeout")

        monkeypatch.setattr(sweeper._slots, "once", held)
        monkeypatch.setattr(sweeper._sweep, "once", lambda: swept.append("jobs"))
        monkeypatch.setattr(sweeper, "_tidy_now_and_then", lambda: None)
        sweeper.look(1)
        assert swept == ["jobs"]
    finally:
        world.stop()
