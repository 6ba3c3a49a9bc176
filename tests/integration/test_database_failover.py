"""PostgreSQL's address moves from a server that takes no writes to one that does: nobody stays with the first one for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from app.adapters.database import connect, reading
from app.adapters.duty_store import SqlDutyStore
from app.domain.errors import SyncError
from tests.integration.databases import running_postgres, standby_of

READ_ONLY = "store_unavailable: the database refused: .*read-only transaction"


class Address:
    """What a moving address is to clients: new connections go where it leads, old ones stay."""

    def __init__(self, place: Path, standby: str, primary: str) -> None:
        self._place, self.standby, self.primary = place, _directory(standby), _directory(primary)
        self.url = f"postgresql+psycopg://postgres@/migrated?host={place}"
        place.symlink_to(self.standby)

    def move(self) -> None:
        self._place.unlink()
        self._place.symlink_to(self.primary)


def _directory(url: str) -> str:
    return url.partition("host=")[2]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    with running_postgres() as primary, standby_of(primary) as standby:
        yield standby.url(""), primary.url("")


@pytest.fixture
def address(servers: tuple[str, str], tmp_path: Path) -> Address:
    """It leads to the standby at first."""
    return Address(tmp_path / "pg", *servers)


@pytest.fixture
def engine(address: Address) -> Iterator[Engine]:
    made = connect(address.url)
    yield made
    made.dispose()


def write(engine: Engine) -> bool:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    return SqlDutyStore(engine).take_duty("sweep", "me", now, now + timedelta(seconds=3))


def test_a_pool_leaves_a_server_that_takes_no_writes(address: Address, engine: Engine) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(reading(engine)).execute(text("SELECT 1"))
    address.move()
    with pytest.raises(SyncError, match=READ_ONLY):
        write(engine)
    assert [write(engine) for _ in range(4)] == [True] * 4


def test_a_server_that_is_set_to_read_only_is_taken_at_its_word(address: Address) -> None:
    engine = connect(f"{address.url}&options=-cdefault_transaction_read_only%3Don")
    address.move()
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    with pytest.raises(SyncError, match=READ_ONLY):
        write(engine)
    engine.dispose()


@pytest.mark.parametrize(("asked", "standby"), [("", False), ("&target_session_attrs=any", True)])
def test_of_several_servers_the_one_is_taken_that_takes_writes(address: Address, asked: str, standby: bool) -> None:
    engine = connect(f"{address.url}&host={address.primary}{asked}")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one() is standby
    engine.dispose()
