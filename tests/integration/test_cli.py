"""The command as a whole: help, speed, where the configuration comes from, exit statuses, colours."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import COMMANDS
from tests.integration.cli_world import MODSYNC, TIMEOUT, Cli
from tests.integration.databases import sqlite_only
from tests.integration.stored import Stored


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, database_url)


@sqlite_only
def test_help_names_every_command_and_shows_examples(cli: Cli) -> None:
    shown = cli("--help")
    assert (shown.status, shown.err) == (0, "")
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in shown.out
        assert summary in shown.out
    assert "Examples:" in shown.out
    assert "Exit status:" in shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str) -> None:
    """In one process: that they start as processes is what the other tests show."""
    from click.testing import CliRunner

    from app.cli import cli

    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f"Usage: cli {name}" in shown.output
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.get_short_help_str(100).rstrip(".") in COMMANDS[name][1], "the list's line is not the command's own"


def test_help_and_checksum_load_little() -> None:
    """What makes a command slow is what it imports; neither of these needs the database's, the web's or GitLab's."""
    program = "import sys, app.cli; {}; print(*sorted(set(sys.modules)))"
    heavy = {"flask", "gitlab", "pydantic", "redis", "rich", "rq", "sqlalchemy"}
    for more in ("0", "app.cli.cli.get_command(None, 'checksum')"):
        done = subprocess.run(
            [sys.executable, "-c", program.format(more)], capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
        assert not heavy & set(done.stdout.split()), more


@sqlite_only
def test_the_version_is_the_packages(cli: Cli) -> None:
    from importlib.metadata import version

    assert cli("--version").out == f"modsync, version {version('modsync')}\n"


@sqlite_only
def test_a_wrong_command_is_wrong_usage(cli: Cli) -> None:
    for arguments in (["nonsense"], ["runs", "--nonsense"], ["show"]):
        wrong = cli(*arguments)
        assert (wrong.status, wrong.out) == (2, "")
        assert "Try 'modsync" in wrong.err


@sqlite_only
def test_the_configuration_can_be_named(cli: Cli, stored: Stored, tmp_path: Path) -> None:
    run_id = stored.release().run_id
    (tmp_path / "modsync.toml").rename(tmp_path / "other.toml")
    assert cli("runs").status == 3
    for found in (cli("--config", "other.toml", "show", run_id), cli("show", run_id, MODSYNC_CONFIG="other.toml")):
        assert (found.status, run_id in found.out) == (0, True)


@sqlite_only
def test_every_problem_of_the_configuration_is_said(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "modsync.toml"
    path.write_text(path.read_text().replace('token_env = "TEST_GITLAB"', "nonsense = 1"))
    for command in (["runs"], ["web"], ["worker"], ["sweeper"], ["redis"], ["db", "upgrade"]):
        wrong = cli(*command)
        assert (wrong.status, wrong.out) == (3, ""), command
        assert "error: gitlab.nonsense: is not a known key" in wrong.err
        assert "error: gitlab.token" in wrong.err
    assert cli("config", "check").status == 1
    assert cli("--help").status == 0


@sqlite_only
def test_a_database_that_is_away_or_empty_is_said_to_be_so(tmp_path: Path, database_url: str) -> None:
    away = Cli(tmp_path, "postgresql+psycopg://nobody@/none?host=/nonexistent")
    empty = Cli(tmp_path / "..", f"sqlite:///{tmp_path}/empty.db")
    for cli in (away, empty):
        failed = cli("runs")
        assert (failed.status, failed.out) == (4, "")
        assert failed.err.startswith("error: store_unavailable: ")
        assert "modsync db upgrade" in failed.err


@sqlite_only
def test_colours_are_for_terminals(cli: Cli, stored: Stored) -> None:
    stored.fail(stored.release().run_id, error="tag_missing")
    assert "\x1b[" not in cli("runs").out
    assert "\x1b[1;31mfailed" in on_a_terminal(cli, "runs")
    assert "\x1b[1;31m" not in on_a_terminal(cli, "runs", NO_COLOR="1")
    assert "\x1b[" not in on_a_terminal(cli, "runs", "--json")


def on_a_terminal(cli: Cli, *arguments: str, **environment: str) -> str:
    """What the command prints to a terminal of 160 columns."""
    ours, its = pty.openpty()
    values = {**cli.environment, "TERM": "xterm-256color", "COLUMNS": "160", **environment}
    process = subprocess.Popen([MODSYNC, *arguments], cwd=cli.home, env=values, stdout=its, stderr=its, stdin=its)
    os.close(its)
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:
        pass  # Linux says the end of a terminal so
    os.close(ours)
    assert process.wait(TIMEOUT) == 0
    return said.decode()


@sqlite_only
def test_a_reader_that_goes_away_is_no_error(cli: Cli, stored: Stored) -> None:
    for n in range(3):
        stored.release(version=f"v1.{n}.0")
    command = f"set -o pipefail; '{MODSYNC}' runs --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cli.home,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.stdout, "Traceback" in done.stderr) == ("{", False)
