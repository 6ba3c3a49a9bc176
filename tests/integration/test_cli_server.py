"""`modsync db`, `redis`, `web`, `worker`, `sweeper` and `send`: the service's own processes, started and ended."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import requests

from app.adapters import migrate
from app.adapters.database import connect, writing
from app.adapters.embedded_redis import socket_path
from tests.integration.cli_world import TIMEOUT, Cli
from tests.integration.databases import sqlite_only, wait_until
from tests.integration.stored import MODULE, A, Stored

RELEASE = ("send", "platform", "--module", MODULE, "--version", "v1.0.0", "--commit", A)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, database_url, port=free_port())


def ended(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Ask the process to end; its exit status."""
    process.send_signal(number)
    return process.wait(TIMEOUT)


# --- db -----------------------------------------------------------------------------------------------------------


def test_the_database_is_brought_to_the_newest_schema(tmp_path: Path, empty_database_url: str) -> None:
    cli = Cli(tmp_path, empty_database_url)
    head = migrate.head()
    assert (cli("db", "current").out, cli("db", "check").status) == ("none\n", 1)
    assert "run `modsync db upgrade`" in cli("db", "check").out
    for _ in range(2):
        assert cli("db", "upgrade").out == f"{head}\n"
    assert cli("db", "check", "--json").json == {"revision": head, "needed": head, "ok": True}
    assert cli("db", "current", "--json").json == {"revision": head}


def test_a_newer_database_is_left_and_called_so(tmp_path: Path, empty_database_url: str) -> None:
    cli = Cli(tmp_path, empty_database_url)
    migrate.upgrade(empty_database_url)
    engine = connect(empty_database_url)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    told = cli("db", "upgrade")
    assert (told.status, told.out) == (0, "9999\n")
    assert f"the database is newer than this modsync, which needs {migrate.head()}" in told.err
    assert cli("db", "upgrade", "--json").json == cli("db", "current", "--json").json == {"revision": "9999"}


def test_a_database_that_is_away_cannot_be_upgraded(tmp_path: Path) -> None:
    cli = Cli(tmp_path, "postgresql+psycopg://nobody@/none?host=/nonexistent")
    for command in ("upgrade", "current", "check"):
        failed = cli("db", command)
        assert (failed.status, failed.out) == (4, "")
        assert failed.err.startswith("error: store_unavailable: ")


# --- redis --------------------------------------------------------------------------------------------------------


@contextmanager
def embedded_redis(cli: Cli) -> Iterator[subprocess.Popen[str]]:
    with cli.started("redis") as process:
        place = socket_path(cli.home / "var")
        client = redis.Redis(unix_socket_path=str(place))
        wait_until(lambda: place.exists() and answers(client))
        yield process
        client.close()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@sqlite_only
def test_a_data_directory_that_cannot_be_is_named(cli: Cli) -> None:
    (cli.home / "var").write_text("a file")
    told = cli("redis")
    assert (told.status, told.out) == (3, "")
    assert told.err.startswith("error: data_dir: cannot hold the embedded Redis: ")
    assert "Traceback" not in told.err


@sqlite_only
def test_the_embedded_redis_keeps_what_it_was_told(cli: Cli) -> None:
    for expected in (None, b"kept"):
        with embedded_redis(cli) as process:
            client = redis.Redis(unix_socket_path=str(socket_path(cli.home / "var")))
            assert client.get("key") == expected
            client.set("key", "kept")
            client.close()
            assert ended(process) == 0


@sqlite_only
def test_a_second_embedded_redis_leaves_the_first_one_its_socket(cli: Cli) -> None:
    client = redis.Redis(unix_socket_path=str(socket_path(cli.home / "var")))
    with embedded_redis(cli) as first:
        client.set("key", "the first one's")
        second = cli("redis")
        assert (second.status, second.err) == (1, f"Error: an embedded Redis runs already in {cli.home / 'var'}\n")
        client.connection_pool.disconnect()
        assert client.get("key") == b"the first one's"
        first.kill()
        first.wait(TIMEOUT)
    with embedded_redis(cli):  # nothing has to be removed by hand
        assert answers(client)
    client.close()


@sqlite_only
def test_a_lock_that_cannot_be_taken_is_a_problem_of_the_data_directory(cli: Cli) -> None:
    lock = cli.home / "var" / "redis" / ".lock"
    lock.mkdir(parents=True)  # as root may write anywhere, no lack of rights
    ended = cli("redis")
    assert (ended.status, ended.err.startswith("error: data_dir: cannot hold the embedded Redis: ")) == (3, True), (
        ended.err
    )
    lock.rmdir()


@sqlite_only
def test_a_redis_that_is_installed_later_does_not_take_over_what_it_cannot_read(cli: Cli) -> None:
    """Valkey 9 keeps its data in a format of its own: a Redis, and a Valkey of before, would not start with them."""
    client = redis.Redis(unix_socket_path=str(socket_path(cli.home / "var")))
    programs = cli.home / "bin"
    programs.mkdir()
    for name in ("redis-server", "valkey-server"):
        (programs / name).write_text('#!/bin/sh\necho "Valkey server v=8.1.1 sha=0:0"\nexit 3\n')
        (programs / name).chmod(0o755)
    with cli.started("redis", environment={"PATH": str(programs)}) as fake:
        assert fake.wait(TIMEOUT) == 3  # nothing is there that it could not read
    with embedded_redis(cli):
        client.set("key", "kept")
    cli.environment["PATH"] = f"{programs}:{cli.environment['PATH']}"
    with embedded_redis(cli):
        assert client.get("key") == b"kept"
    client.close()


@sqlite_only
def test_a_configured_redis_is_not_started_again(tmp_path: Path, database_url: str) -> None:
    cli = Cli(tmp_path, database_url, redis="redis://redis.corp.example:6379/0")
    with cli.started("redis") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "Redis is configured (redis://redis.corp.example:6379/0): no embedded one is started\n"
        assert ended(process) == 0
    assert not (tmp_path / "var").exists()


# --- the service and send -----------------------------------------------------------------------------------------


@contextmanager
def web(cli: Cli) -> Iterator[str]:
    address = cli("config", "show").out.split('web.base_url = "')[1].partition('"')[0]
    with cli.started("web") as process:
        wait_until(lambda: process.poll() is not None or healthy(address))
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield address
        assert ended(process) == 0


def healthy(address: str) -> bool:
    try:
        return requests.get(f"{address}/healthz", timeout=5).ok
    except (requests.ConnectionError, requests.Timeout):  # it listens before its process can answer
        return False


@sqlite_only
def test_a_sent_release_becomes_a_run(cli: Cli, stored: Stored) -> None:
    with web(cli):
        sent = cli(*RELEASE)
        assert (sent.status, sent.err) == (0, "")
        assert sent.out.startswith("HTTP 202: delivery d")
        (run,) = cli("runs", "--json").json["items"]
        assert (run["module"], run["version"], run["ref"], run["commit"]) == (MODULE, "v1.0.0", "v1.0.0", A)
        assert run["id"] in sent.out
        again = cli(*RELEASE, "--json").json
        assert (again["status"], again["answer"]["runs"][0]["duplicate"]) == (200, True)
        refused = cli(*RELEASE[:-1], "not-a-commit")
        assert (refused.status, refused.out) == (1, "")
        assert refused.err.startswith("HTTP 422: ")
        by_curl = cli(*RELEASE, "--dry-run").out
        curl = subprocess.run(shlex.split(by_curl), capture_output=True, text=True, timeout=TIMEOUT, check=True)
        assert run["id"] in curl.stdout


@sqlite_only
def test_a_dry_run_sends_nothing(cli: Cli) -> None:
    shown = cli(*RELEASE, "--dry-run", "--url", "https://modsync.corp.example/")
    assert shown.status == 0
    words = shlex.split(shown.out)
    assert words[0] == "curl"
    assert words[-1] == "https://modsync.corp.example/webhooks/platform"
    assert any(word.startswith("X-Gitlab-Token: sha256=") for word in words)
    assert f"{cli.environment['TEST_HOOK']}" not in shown.out


@sqlite_only
def test_what_cannot_be_sent_is_said_before(cli: Cli) -> None:
    release = RELEASE[2:]
    cases = {
        ("nobody", *release): "has no source 'nobody'",
        ("forge", *release): "no rule of source forge",
        ("platform", "--module", MODULE, "--commit", A): "give --version or --ref",
        ("platform", "--module", "elsewhere.example/x", "--version", "v1.0.0", "--commit", A): "give --ref",
        ("platform", "--module", MODULE, "--version", "v2.0.0", "--commit", A): "should be v0 or v1",
    }
    for arguments, said in cases.items():
        wrong = cli("send", *arguments, "--dry-run")
        assert (wrong.status, wrong.out) == (2, ""), arguments
        assert said in wrong.err


@sqlite_only
@pytest.mark.parametrize("command", ["reconcile", "backfill"])
def test_a_name_that_go_would_not_take_begins_nothing(cli: Cli, command: str) -> None:
    for name, said in (("nodots", "missing dot"), ("go.corp.example/Log!", "'!'"), ("elsewhere.example/x", "no_rule")):
        wrong = cli(command, name)
        assert (wrong.status, wrong.out) == (2 if said != "no_rule" else 1, ""), wrong
        assert said in wrong.err
        assert "Traceback" not in wrong.err


@sqlite_only
def test_nobody_answers(cli: Cli) -> None:
    failed = cli(*RELEASE)
    assert (failed.status, failed.out) == (4, "")
    assert "does not answer" in failed.err


@sqlite_only
@pytest.mark.parametrize("command", [["worker", "--processes", "1"], ["worker", "--queue", "backfill"], ["sweeper"]])
def test_workers_and_sweepers_end_when_they_are_told(cli: Cli, stored: Stored, command: list[str]) -> None:
    with embedded_redis(cli), cli.started(*command) as process:
        if command[0] == "worker":
            client = redis.Redis(unix_socket_path=str(socket_path(cli.home / "var")))
            wait_until(lambda: process.poll() is not None or client.smembers("rq:workers"))
            client.close()
        else:
            assert process.stderr is not None
            assert any('"sweeper_started"' in line for line in process.stderr)
        assert ended(process) == 0
