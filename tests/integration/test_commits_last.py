"""On PostgreSQL a commit waits for the disk even where server, database or role say that it need not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import Engine, insert

from app.adapters.database import connect, reading, unhurried, writing
from app.adapters.tables import mirrors
from tests.integration.databases import PostgresServer

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOW = "SHOW synchronous_commit"


def told(postgres: PostgresServer, statements: Sequence[str], database: str = "postgres") -> None:
    where = postgres.url(database).replace("+psycopg", "")
    with psycopg.connect(where, autocommit=True) as connection:
        for each in statements:
            connection.execute(each.encode())


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database of a role that does not wait for the disk by default."""
    made = postgres.fresh("migrated")
    told(postgres, ["CREATE ROLE hasty LOGIN SUPERUSER", "ALTER ROLE hasty SET synchronous_commit = off"])
    yield made.replace("postgres@", "hasty@")
    postgres.drop(made)
    told(postgres, ["DROP ROLE hasty"])


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = connect(url)
    yield made
    made.dispose()


def how(engine: Engine) -> str:
    with writing(engine) as connection:
        return str(connection.exec_driver_sql(HOW).scalar_one())


def test_the_roles_default_is_really_off(url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        assert connection.execute(HOW.encode()).fetchone() == ("off",)


def test_what_must_last_waits_and_what_says_so_does_not(engine: Engine) -> None:
    assert [how(each) for each in (engine, unhurried(engine), engine, unhurried(engine), engine)] == [
        "on", "off", "on", "off", "on",
    ]  # fmt: skip
    with reading(engine) as connection:
        assert connection.exec_driver_sql(HOW).scalar_one() == "on"


def test_it_stays_so_after_a_rollback_and_on_every_connection(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(engine):
        raise ZeroDivisionError
    with writing(engine), writing(engine):
        assert how(engine) == "on"  # the third connection at once


def test_when_the_commit_has_returned_it_is_on_disk(engine: Engine) -> None:
    for number in range(20):
        with writing(engine) as connection:
            connection.execute(insert(mirrors).values(path=f"mirrors/{number}", fence=0, updated_at=NOW))
            written = connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn()").scalar_one()
        with reading(engine) as connection:
            flushed = f"SELECT pg_current_wal_flush_lsn() > '{written}'"
            assert connection.exec_driver_sql(flushed).scalar_one() is True


@pytest.mark.parametrize("chosen", ["local", "remote_write", "on", "remote_apply"])
def test_what_somebody_chose_about_standby_servers_stays(postgres: PostgresServer, url: str, chosen: str) -> None:
    told(postgres, [f"ALTER ROLE hasty SET synchronous_commit = {chosen}"])
    engine = connect(url)
    assert how(engine) == chosen
    engine.dispose()


def test_a_default_that_is_changed_later_changes_nothing(postgres: PostgresServer, url: str) -> None:
    told(postgres, ["ALTER ROLE hasty RESET synchronous_commit"])
    engine = connect(url)
    assert how(engine) == "on"
    try:
        told(postgres, ["ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()"])
        told_off(postgres)
        assert [how(engine), how(engine)] == ["on", "on"]
    finally:
        told(postgres, ["ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()"])
        engine.dispose()


def told_off(postgres: PostgresServer) -> None:
    """Until a new session has the new default."""
    for _ in range(500):
        with psycopg.connect(postgres.url("postgres").replace("+psycopg", "")) as connection:
            if connection.execute(HOW.encode()).fetchone() == ("off",):
                return
            connection.execute(b"SELECT pg_sleep(0.02)")
    raise AssertionError("the server did not take its new default")
