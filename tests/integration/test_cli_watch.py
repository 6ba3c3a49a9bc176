"""`modsync watch`: what happens to runs, as it happens."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.bootstrap import Container
from app.cli_watch import _follow_all
from app.domain.run import Stage, Status
from app.operator_local import LocalOperator
from tests.integration.cli_world import TIMEOUT, Cli
from tests.integration.databases import sqlite_only
from tests.integration.stored import MODULE, ORDER, Stored
from tests.integration.web_world import write_settings

FAST = ("--interval", "0.05")


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, database_url)


def told(process: subprocess.Popen[str]) -> dict[str, object]:
    """The next line of --json; waits for it."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    happening: dict[str, object] = json.loads(line)
    return happening


def test_a_run_is_followed_until_it_is_done(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    with cli.started("watch", f"{run_id}-1-1", "--json", *FAST) as process:
        assert (told(process)["what"], told(process)["outcome"]) == ("attempt", "queued")
        claim = stored.claim(run_id)
        assert told(process)["outcome"] == "mirror"
        claim = stored.push(claim)
        step, status = told(process), told(process)
        assert (step["what"], step["stage"], step["outcome"], step["seconds"]) == ("step", "mirror", "ok", 2.0)
        assert (status["what"], status["outcome"]) == ("status", "pipeline")
        claim = replace(claim, run=replace(claim.run, stage=Stage.VERIFY))
        stored.record(claim, Status.DONE, stage=Stage.VERIFY)
        assert [told(process)["outcome"] for _ in range(2)] == ["ok", "done"]
        assert process.wait(TIMEOUT) == 0


@sqlite_only
def test_a_run_that_ended_is_told_whole_and_its_end_is_the_status(cli: Cli, stored: Stored) -> None:
    done, failed = stored.release().run_id, stored.release(version="v1.1.0").run_id
    stored.finish(done)
    stored.fail(failed, error="tag_missing")
    watched = cli("watch", done)
    assert watched.status == 0
    lines = watched.out.splitlines()
    assert [line.split()[3:] for line in lines] == [
        ["attempt", "1:", "delivery", "delivery", "by", "source:platform"],
        ["mirror", "ok", "in", "2.00", "s"], ["pipeline", "ok", "in", "2.00", "s"], ["verify", "ok", "in", "2.00", "s"],
        ["done"],
    ]  # fmt: skip
    assert all(line.startswith("2026-11-22 12:00:0") and f"{MODULE}@v1.0.0" in line for line in lines)
    watched = cli("watch", failed)
    assert watched.status == 1
    assert watched.out.splitlines()[-1].endswith("failed  tag_missing: tag_missing happened")
    assert cli("watch", "r" + "0" * 19).err.startswith("error: not_found")


@sqlite_only
def test_waiting_ends_when_its_time_is_over(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    watched = cli("watch", run_id, "--timeout", "0")
    assert (watched.status, watched.err) == (1, f"run {run_id} has not ended yet\n")


@sqlite_only
def test_all_runs_are_followed_from_now_on(cli: Cli, stored: Stored) -> None:
    old, running = stored.release(version="v0.1.0").run_id, stored.release(version="v0.2.0").run_id
    stored.fail(old, error="tag_missing")
    claim = stored.claim(running)
    with cli.started("watch", "--json", *FAST) as process:
        wait_until_it_looks(process)
        stored.now = datetime.now(UTC)
        new = stored.release().run_id
        assert [(told(process)["run"], told(process)["outcome"])] == [(new, "queued")]
        stored.record(claim, Status.REJECTED, error="version_moved")
        step, status = told(process), told(process)
        assert (step["run"], status["run"], status["error"]) == (running, running, "version_moved")
        stored.ops.replay(old, ORDER, None, stored.later())
        attempt, status = told(process), told(process)
        assert (attempt["run"], attempt["message"]) == (old, f"replay by {ORDER.actor}: {ORDER.reason}")
        assert status["outcome"] == "queued"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130


@sqlite_only
def test_more_than_one_look_shows_is_said(
    tmp_path: Path,
    database_url: str,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("app.cli_watch._BATCH", 2)
    operator = LocalOperator(Container(write_settings(tmp_path, DATABASE_URL=database_url)), "cli:alice")
    runs = [stored.release(version=f"v1.{number}.0").run_id for number in range(3)]
    said: list[str] = []

    def ticks() -> Iterator[None]:
        """Too many in flight; one ends; more that are new, and ended at once, than one look shows; none new."""
        yield
        said.append(capsys.readouterr().err)
        stored.fail(runs[0])
        yield
        said.append(capsys.readouterr().err)
        stored.now = datetime.now(UTC)
        for number in range(3):
            stored.fail(stored.release(version=f"v2.{number}.0").run_id)
        yield
        said.append(capsys.readouterr().err)
        yield
        said.append(capsys.readouterr().err)

    _follow_all(operator, lambda _happening: None, ticks())
    less = "more than 2 runs are in flight or new: not all that happens to them is told here, `modsync runs` has it\n"
    whole = "all runs are followed again\n"
    assert said == ["following all runs; Ctrl+C ends it\n" + less, whole, less, whole]


def wait_until_it_looks(process: subprocess.Popen[str]) -> None:
    """Until it says that it is ready to see what happens."""
    assert process.stderr is not None
    assert process.stderr.readline() == "following all runs; Ctrl+C ends it\n"
