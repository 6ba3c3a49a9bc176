"""The migrations lead to exactly the tables that the code uses, on both databases, forwards and back."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, inspect

import migrations
from app.adapters import migrate
from app.adapters.database import connect, hurry, writing
from app.adapters.tables import metadata
from app.domain.errors import SyncError
from tests.integration.cli_world import TIMEOUT, Cli
from tests.integration.databases import PostgresServer, wait_until


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


def test_the_schema_is_the_one_of_the_models(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    engine = connect(empty_database_url)
    with engine.connect() as connection:
        assert differences(connection) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


def test_a_difference_would_be_found(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    engine = connect(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE mirrors DROP COLUMN branch_at")
        connection.exec_driver_sql("DROP INDEX ix_runs_commit")
        assert len(differences(connection)) == 2
    engine.dispose()


def test_there_is_one_head() -> None:
    scripts = ScriptDirectory(migrations.__path__[0])
    assert scripts.get_heads() == [migrate.head()]


def test_the_scripts_names_are_their_revisions() -> None:
    """modsync tells by them whether Alembic has anything to do, without importing it."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(migrate._known()))
    assert migrate.head() == scripts.get_current_head()


def test_a_start_with_nothing_to_do_does_not_import_alembic(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    script = (
        "import sys; from app.adapters import migrate; migrate.upgrade(sys.argv[1]); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, empty_database_url], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_up_down_and_up_again(empty_database_url: str) -> None:
    assert migrate.current(empty_database_url) is None
    migrate.upgrade(empty_database_url)
    assert migrate.at_head(empty_database_url)
    migrate.downgrade(empty_database_url, "base")
    assert migrate.current(empty_database_url) is None
    engine = connect(empty_database_url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()
    migrate.upgrade(empty_database_url)
    assert migrate.at_head(empty_database_url)


def test_processes_that_start_at_once_do_not_disturb_each_other(empty_database_url: str) -> None:
    program = "import sys; from app.adapters import migrate; migrate.upgrade(sys.argv[1])"
    command = [sys.executable, "-c", program, empty_database_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [status for _, status in ended] == [0, 0, 0], ended
    assert migrate.at_head(empty_database_url)


def test_a_database_that_is_away_is_said_to_be_so() -> None:
    with pytest.raises(SyncError, match="store_unavailable"):
        migrate.current("postgresql+psycopg://nobody@/none?host=/nonexistent")


@pytest.mark.parametrize("move", [migrate.upgrade, migrate.downgrade])
def test_errors_of_a_migration_are_ours(move: Callable[[str, str], None], tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="store_unavailable: the database refused: ") as away:
        move("postgresql+psycopg://nobody:hunter2@/none?host=/nonexistent", "base")
    assert "hunter2" not in str(away.value)
    url = f"sqlite:///{tmp_path}/modsync.db"
    migrate.upgrade(url)
    with pytest.raises(SyncError, match="migration_failed: the schema cannot become nowhere"):
        move(url, "nowhere")


def test_a_migration_that_the_database_refuses(empty_database_url: str) -> None:
    engine = connect(empty_database_url)
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE runs (id INTEGER)")
    engine.dispose()
    with pytest.raises(SyncError, match=r"migration_failed: the database refused a migration: .*runs"):
        migrate.upgrade(empty_database_url)


def test_a_start_waits_for_a_database_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "modsync.db"
    path.mkdir()  # not to be opened
    start = threading.Thread(target=migrate.upgrade_when_reachable, args=(f"sqlite:///{path}",), daemon=True)
    start.start()
    wait_until(lambda: "database_away" in caplog.text)
    path.rmdir()
    start.join(20)
    assert migrate.at_head(f"sqlite:///{path}")


def test_a_start_waits_for_whoever_writes_for_long(tmp_path: Path) -> None:
    """As another process does that makes an index of a large table."""
    path = tmp_path / "modsync.db"
    cli = Cli(tmp_path, f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("BEGIN IMMEDIATE")
        refused = cli("db", "upgrade")
        assert (refused.status, refused.err.splitlines()[0]) == (
            4, "error: store_unavailable: the database refused: database is locked",
        )  # fmt: skip
        with cli.started("sweeper") as sweeper:
            assert sweeper.stderr is not None
            assert any('"database_away"' in line for line in sweeper.stderr)
            writer.execute("ROLLBACK")
            assert any('"sweeper_started"' in line for line in sweeper.stderr)
            sweeper.terminate()
            assert sweeper.wait(TIMEOUT) == 0
    assert migrate.at_head(f"sqlite:///{path}")


@pytest.mark.parametrize(("start", "pause"), [(migrate.upgrade_when_reachable, 5.0), (migrate.upgrade, 1.0)])
def test_webhooks_go_on_while_a_start_waits_for_a_dump(
    start: Callable[[str], None], pause: float, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(0.05)

    clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep)
    monkeypatch.setattr(migrate, "time", clock)
    url = postgres.fresh()
    migrate.upgrade(url, "0010")
    engine = connect(url)
    with engine.begin() as dump:
        dump.exec_driver_sql("LOCK TABLE deliveries, runs, releases, mirrors IN ACCESS SHARE MODE")
        starting = threading.Thread(target=start, args=(url,), daemon=True)
        starting.start()
        for _ in range(3):
            wait_until(lambda: _waited_for(engine))
            with writing(engine) as connection:
                hurry(connection)
                connection.exec_driver_sql("DELETE FROM deliveries")
    starting.join(20)
    assert migrate.at_head(url)
    assert set(slept) == {pause}
    engine.dispose()
    postgres.drop(url)


def test_now_and_then_a_try_waits_long_enough_for_an_autovacuum_to_be_sent_away(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL does that after deadlock_timeout, a second; here the lock is let go when it was waited for that long."""
    monkeypatch.setattr(migrate, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: time.sleep(0.05)))
    url = postgres.fresh()
    migrate.upgrade(url, "0010")
    engine = connect(url)
    with engine.begin() as vacuum:
        vacuum.exec_driver_sql("LOCK TABLE deliveries IN SHARE UPDATE EXCLUSIVE MODE")
        starting = threading.Thread(target=migrate.upgrade_when_reachable, args=(url,), daemon=True)
        starting.start()
        wait_until(lambda: _waited_for(engine, 1.0))
    starting.join(20)
    assert migrate.at_head(url)
    engine.dispose()
    postgres.drop(url)


def test_the_table_is_read_while_indexes_are_made(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    migrate.upgrade(url, "0010")
    reader, read = connect(url), list[str]()

    def look(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("CREATE INDEX ix_deliveries_"):
            with reader.begin() as connection:
                connection.exec_driver_sql("LOCK TABLE deliveries IN ACCESS SHARE MODE NOWAIT")
            read.append(statement)

    event.listen(Engine, "after_cursor_execute", look)
    try:
        migrate.upgrade(url, "0011")
    finally:
        event.remove(Engine, "after_cursor_execute", look)
    assert len(read) == 3
    reader.dispose()
    postgres.drop(url)


def test_a_try_that_met_a_lock_leaves_no_connection_behind(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    migrate.upgrade(url, "0010")
    engine = connect(url)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    gc.disable()  # which would find it, sooner or later
    try:
        with engine.begin() as dump:
            dump.exec_driver_sql("LOCK TABLE deliveries IN ACCESS SHARE MODE")
            with pytest.raises(SyncError, match="lock timeout"):
                migrate._alembic("upgrade", url, "head", 50)
            wait_until(lambda: dump.exec_driver_sql(others).scalar_one() == 0)
    finally:
        gc.enable()
    engine.dispose()
    postgres.drop(url)


def _waited_for(engine: Engine, seconds: float = 0.0) -> bool:
    """Whether a migration stands before all who write."""
    query = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'deliveries'::regclass"
        f" AND clock_timestamp() - waitstart >= interval '{seconds} seconds'"
    )
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one())


def test_a_start_does_not_wait_for_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "modsync.db").write_bytes(b"no database\n" * 1000)
    with pytest.raises(SyncError, match=r"migration_failed: .*not a database"):
        migrate.upgrade_when_reachable(f"sqlite:///{tmp_path}/modsync.db")
