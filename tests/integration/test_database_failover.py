"""PostgreSQL's address moves from a server that takes no writes to one that does: nobody stays with the first one for ever."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app import create_app
from app.adapters import migrate
from app.adapters.database import connect, reading, takes_writes
from app.adapters.duty_store import SqlDutyStore
from app.bootstrap import Container
from app.domain.errors import SyncError
from tests.integration.databases import running_postgres, standby_of
from tests.integration.web_world import write_settings

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


def test_whoever_asks_whether_a_write_is_possible_leaves_it_too(address: Address, engine: Engine) -> None:
    """A load balancer that sends no webhooks, for /readyz said no, would else never send one again."""
    assert not takes_writes(engine)
    address.move()
    assert takes_writes(engine)
    assert write(engine)


def test_asking_again_and_again_leaves_no_connection_behind(engine: Engine) -> None:
    gc.disable()  # which would find some of them, some time
    try:
        for _ in range(5):
            with ExitStack() as stack:
                for _ in range(3):
                    stack.enter_context(reading(engine)).execute(text("SELECT 1"))
                assert not takes_writes(engine)
        with reading(engine) as connection:
            of_ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'client%'"
            assert connection.execute(text(of_ours)).scalar_one() <= 5
    finally:
        gc.enable()


def test_a_server_that_is_set_to_read_only_is_taken_at_its_word(address: Address) -> None:
    engine = connect(f"{address.url}&options=-cdefault_transaction_read_only%3Don")
    address.move()
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    with pytest.raises(SyncError, match=READ_ONLY):
        write(engine)
    assert not takes_writes(engine)
    engine.dispose()


def test_readyz_says_that_no_webhook_can_be_recorded(
    address: Address, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    container = Container(write_settings(tmp_path, DATABASE_URL=address.url))
    client = create_app(container).test_client()
    answer = client.get("/readyz")
    told: Any = answer.json
    assert (answer.status_code, answer.headers["Retry-After"], told["status"]) == (503, "5", "not_ready")
    assert told["checks"]["database"] == {"state": "read_only"}
    assert told["checks"]["migrations"]["state"] == "ok"
    assert "database_not_ready" in caplog.text
    address.move()
    assert client.get("/readyz").status_code == 200
    container.engine.dispose()


def test_a_start_that_would_migrate_waits_for_the_primary(address: Address) -> None:
    with pytest.raises(SyncError, match=READ_ONLY):
        migrate.upgrade(address.url.replace("/migrated", "/postgres"))


def test_a_file_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'modsync.db'}")
    assert takes_writes(engine)
    migrate.upgrade(str(engine.url))
    assert takes_writes(engine)
    # As on a disk that became read-only; the tests' user may be root, whom a file's mode does not stop.
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    assert not takes_writes(engine)
    engine.dispose()


@pytest.mark.parametrize(("asked", "standby"), [("", False), ("&target_session_attrs=any", True)])
def test_of_several_servers_the_one_is_taken_that_takes_writes(address: Address, asked: str, standby: bool) -> None:
    engine = connect(f"{address.url}&host={address.primary}{asked}")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one() is standby
    engine.dispose()
