"""What reading() promises: one view of the database however long it takes, on both databases; and no writing in it."""

import pytest
from sqlalchemy import Engine, func, insert, select

from app.adapters.database import connect, reading, writing
from app.adapters.tables import secret_uses
from app.domain.errors import SyncError
from tests.integration.databases import PostgresServer
from tests.integration.flow_world import FakeClock


def _used(engine: Engine, secret: str) -> None:
    row = {"source": "platform", "secret_id": secret, "count": 1, "last_used_at": FakeClock().now()}
    with writing(engine) as connection:
        connection.execute(insert(secret_uses).values(row))


def test_what_is_written_meanwhile_is_not_seen(engine: Engine) -> None:
    _used(engine, "first")
    count = select(func.count()).select_from(secret_uses)
    with reading(engine) as connection:
        assert connection.execute(count).scalar_one() == 1
        _used(engine, "second")
        assert connection.execute(count).scalar_one() == 1
    with reading(engine) as connection:
        assert connection.execute(count).scalar_one() == 2
    _used(engine, "third")  # the connection that read may write again


def test_postgresql_lets_nobody_write_who_said_to_read(postgres: PostgresServer) -> None:
    engine = connect(postgres.fresh())
    with pytest.raises(SyncError, match="read-only"), reading(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE x (id INTEGER)")
    engine.dispose()
