"""Which commits wait for the disk: by default all, and after one that did not the next one does again."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, insert, select

from app.adapters.database import reading, unhurried, writing
from app.adapters.tables import mirrors

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_only_commits_that_say_so_do_not_wait(engine: Engine) -> None:
    hasty, lasting = ("off", "on") if engine.dialect.name == "postgresql" else ("1", "2")
    for wanted, which in [(lasting, engine), (hasty, unhurried(engine)), (lasting, engine), (hasty, unhurried(engine))]:
        with writing(which) as connection:
            assert _waits(connection) == wanted


def test_all_see_at_once_what_did_not_wait(engine: Engine) -> None:
    with writing(unhurried(engine)) as connection:
        connection.execute(insert(mirrors).values(path="mirrors/x", fence=0, updated_at=NOW))
    with reading(engine) as connection:
        assert connection.execute(select(mirrors.c.path)).scalars().all() == ["mirrors/x"]


def _waits(connection: Connection) -> str:
    question = "SHOW synchronous_commit" if connection.dialect.name == "postgresql" else "PRAGMA synchronous"
    return str(connection.exec_driver_sql(question).scalar_one())
