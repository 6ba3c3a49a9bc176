"""`modsync runs`, `show`, `explain`, `replay`, `cancel` as real processes, on SQLite and PostgreSQL."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from sqlalchemy import update

from app.adapters.database import writing
from app.adapters.tables import releases
from app.domain.run import Status
from tests.integration.cli_world import Cli
from tests.integration.databases import sqlite_only
from tests.integration.stored import MODULE, ORDER, TARGET, A, B, Stored

UNKNOWN = "r" + "0" * 19


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, database_url)


def test_runs_are_listed(cli: Cli, stored: Stored) -> None:
    done, failed = stored.release().run_id, stored.release(version="v1.1.0").run_id
    stored.finish(done)
    stored.fail(failed, error="tag_missing")

    listed = cli("runs")
    assert (listed.status, listed.err) == (0, "")
    lines = listed.out.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["created", "status", "release", "commit", "attempt", "error", "run"]
    assert lines[1].split() == [
        "2026-11-22", "12:00:00", "failed", f"{MODULE}@v1.1.0", A[:12], "1", "tag_missing", failed,
    ]  # fmt: skip
    assert lines[2].split()[-1] == done

    assert [run["id"] for run in cli("runs", "--json").json["items"]] == [failed, done]
    assert [run["id"] for run in cli("runs", "--status", "done", "--json").json["items"]] == [done]
    assert [run["id"] for run in cli("runs", "v1.1.0", "--json").json["items"]] == [failed]
    assert cli("runs", "--module", "elsewhere.example/*").out == "no runs\n"
    first = cli("runs", "--limit", "1")
    cursor = first.out.splitlines()[-1].removeprefix("there are more: --cursor ")
    assert [run["id"] for run in cli("runs", "--cursor", cursor, "--json").json["items"]] == [done]


@sqlite_only
def test_a_run_is_shown_by_any_of_its_ids(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, pushed=True, error="pipeline_failed")
    shown = cli("show", f"{run_id}-1-1")
    assert shown.status == 0
    for text in (
        f"{MODULE}@v1.0.0  failed", run_id, A, TARGET.mirror, TARGET.clone_url, "pipeline_failed happened",
        "advice       Read the pipeline's log", "attempt 1  delivery by source:platform", "2026-11-22 12:00:00  mirror",
    ):  # fmt: skip
        assert text in shown.out
    assert cli("show", run_id, "--json").json["attempts"][0]["jobs"] == [f"{run_id}-1-1"]
    stored.ops.replay(run_id, ORDER, None, stored.later())
    assert f"reason: {ORDER.reason}" in cli("show", run_id).out


@sqlite_only
def test_a_done_run_shows_its_go_sum_lines_whole(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.finish(run_id)
    out = cli("show", run_id).out
    lines = cli("show", run_id, "--json").json["facts"]["go_sum"]
    assert len(lines) == 2
    assert [line.strip() for line in out.splitlines()][-2:] == lines
    assert "downloadable after 6.00 s" in " ".join(out.split())


@sqlite_only
def test_what_a_step_found_is_told_in_words(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    differ = [f"file{number}.go" for number in range(12)]
    detail = {"new": True, "h1": None, "differ": differ, "warnings": [{"code": "lfs_content", "message": "big.bin"}]}
    stored.record(stored.claim(run_id), Status.PIPELINE, detail=detail)
    out = " ".join(cli("show", run_id).out.split())
    assert "pushed by this run: yes; differ: file0.go, file1.go, " in out
    assert "file9.go and 2 more; warnings: lfs_content big.bin" in out
    assert not set("[]{}") & set(out)


@sqlite_only
def test_what_comes_from_outside_cannot_command_the_terminal(cli: Cli, stored: Stored) -> None:
    run_id = stored.release(ref="refs/heads/[red]x[/red]").run_id
    stored.record(
        stored.claim(run_id), Status.FAILED, error="git_failed", error_message="\x1b[2Jgone\rover\x07 [bold]b"
    )
    out = cli("show", run_id).out
    assert not {"\x1b", "\r", "\x07"} & set(out)
    assert "[red]x[/red]" in out
    assert "gone" in out
    assert "[bold]b" in out


@sqlite_only
def test_unknown_runs_and_wrong_filters(cli: Cli, stored: Stored) -> None:
    for command in ("show", "replay", "cancel"):
        missing = cli(command, UNKNOWN)
        assert (missing.status, missing.out) == (1, "")
        assert missing.err == f"error: not_found: there is no run or job {UNKNOWN!r}\nadvice: Check the id or name.\n"
    wrong = cli("runs", "--since", "yesterday")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err.startswith("error: bad_request: since is neither")
    assert cli("runs", "--limit", "0").status == 2
    assert cli("runs", "--cursor", "x").status == 2


@sqlite_only
def test_an_explanation(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.push(stored.claim(run_id))
    explained = cli("explain", f"{MODULE}@v1.0.0")
    assert explained.status == 0
    words = " ".join(explained.out.split())
    for text in (
        "rule go.corp.example/{team}/{repo}", f"clone URL {TARGET.clone_url}", f"mirror {TARGET.mirror}",
        "tag v1.0.0", "proxy default", "pushed 2026-11-22 12:00:02", run_id,
    ):  # fmt: skip
        assert text in words
    assert cli("explain", f"{MODULE}@v1.0.0", "--json").json["routes"][0]["tag"] == "v1.0.0"
    with writing(stored.engine) as connection:
        connection.execute(update(releases).values(run_id=""))
    assert "adopted from the mirror" in cli("explain", f"{MODULE}@v1.0.0").out
    with writing(stored.engine) as connection:
        connection.execute(update(releases).values(run_id=UNKNOWN))
    assert f"run {UNKNOWN} (not kept any more)" in " ".join(cli("explain", f"{MODULE}@v1.0.0").out.split())


@sqlite_only
def test_an_explanation_of_what_no_rule_takes_is_a_no(cli: Cli) -> None:
    explained = cli("explain", "elsewhere.example/x")
    assert explained.status == 1
    assert "no_rule" in explained.out
    assert "Add a rule" in explained.out
    assert "nothing was ever reported of it" in explained.out
    as_json = cli("explain", "elsewhere.example/x", "--json")
    assert (as_json.status, as_json.json["routes"][0]["error"]["code"]) == (1, "no_rule")
    assert cli("explain", "not a module").status == 2


def test_a_replay_is_recorded_with_who_and_why_also_while_redis_is_away(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, pushed=True)
    done = cli("replay", f"{run_id}-1-1", "--from", "pipeline", "--reason", "runner was down")
    assert (done.status, done.out.splitlines()[0]) == (0, f"run {run_id}: new attempt, job {run_id}-2-1")
    assert done.err == "Redis does not answer: the sweeper enqueues the job when it is back.\n"
    attempt = stored.attempts(run_id)[1]
    assert (attempt["actor"], attempt["reason"]) == (f"cli:{getpass.getuser()}", "runner was down")
    assert (attempt["from_stage"], attempt["kind"]) == ("pipeline", "replay")

    again = cli("replay", run_id, "--json")
    assert (again.status, again.out) == (1, "")
    assert again.err.startswith("error: still_running: ")
    assert "\nadvice: The run is in flight" in again.err


@sqlite_only
def test_a_replay_of_a_done_run_needs_force(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.finish(run_id)
    assert cli("replay", run_id).err.startswith("error: already_done: ")
    forced = cli("replay", run_id, "--force", "--from", "verify", "--json")
    assert forced.json == {"run": run_id, "status": "queued", "job": f"{run_id}-2-1"}
    assert cli("replay", run_id, "--from", "nowhere").status == 2


@sqlite_only
def test_a_replay_from_the_mirror_stage_follows_the_rules_of_today(cli: Cli, stored: Stored) -> None:
    elsewhere = stored.release(module="elsewhere.example/x").run_id
    stored.fail(elsewhere, error="tag_missing")
    refused = cli("replay", elsewhere)
    assert (refused.status, stored.run(elsewhere).status) == (1, Status.FAILED)
    assert refused.err.startswith("error: no_rule: ")


@sqlite_only
def test_a_reason_that_is_no_text_is_kept_readable(cli: Cli, stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, error="tag_missing")
    assert cli("replay", run_id, "--reason", "caf\udce9\x1b[0m").status == 0
    assert stored.attempts(run_id)[1]["reason"] == "caf\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[0m"


def test_a_run_is_cancelled_once(cli: Cli, stored: Stored) -> None:
    run_id = stored.release(B).run_id
    assert cli("cancel", f"{run_id}-1-1").out == f"run {run_id} ({MODULE}@v1.0.0) is cancelled\n"
    assert stored.run(run_id).error_message == f"cancelled by cli:{getpass.getuser()}"
    again = cli("cancel", run_id, "--json")
    assert (again.status, again.err.startswith("error: already_ended: ")) == (1, True)
