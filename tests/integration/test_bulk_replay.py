"""Replays of many runs, on the page and by the command: what would be refused is told before, and hides nothing behind it."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.bootstrap import Container
from app.domain.run import Status
from tests.integration.cli_world import Cli
from tests.integration.databases import sqlite_only
from tests.integration.pages_world import page, post
from tests.integration.stored import Stored


def failing(stored: Stored, *modules: str) -> list[str]:
    """A run of each module that failed in stage mirror, in this order."""
    runs = [stored.release(module=module).run_id for module in modules]
    for run in runs:
        stored.fail(run, error="tag_missing")
    return runs


def test_the_page_shows_refusals_and_goes_on_behind_them(
    client: FlaskClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.bulk.plan.__kwdefaults__", {"after": None, "limit": 2})
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    refused, taken, last = failing(stored, "gone.example/x", "go.corp.example/team/x", "go.corp.example/team/y")
    first = page(client, "/replays?code=tag_missing")
    assert "<h2>1 run would begin anew, 1 would be refused</h2>" in first
    assert re.findall(r'name="run" value="(\w+)"', first) == [taken]
    row = next(each for each in re.findall(r"<tr>.*?</tr>", first, re.DOTALL) if refused in each)
    assert "<code>no_rule</code>" in row
    assert "attempt 2" not in row
    following = html.unescape(re.findall(r'href="(/replays\?[^"]*)" rel="next"', first)[0])
    assert re.findall(r'name="run" value="(\w+)"', page(client, following)) == [last]
    assert page(client, following + "x").count("is not one of ours") == 1

    form = dict(re.findall(r'<input type="hidden" name="(code|since|next)" value="([^"]*)"', first))
    done = post(client, "/replays", run=taken, **form).text
    assert "1 of 1 runs began anew" in done
    onward = html.unescape(re.findall(r'href="(/replays\?[^"]*)">look for more', done)[0])
    assert re.findall(r'name="run" value="(\w+)"', page(client, onward)) == [last]
    assert [stored.run(each).status for each in (refused, taken, last)] == [Status.FAILED, Status.QUEUED, Status.FAILED]


def test_where_all_would_be_refused_there_is_no_button(client: FlaskClient, container: Container) -> None:
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    failing(stored, "gone.example/x")
    shown = page(client, "/replays?code=tag_missing")
    assert "0 runs would begin anew, 1 would be refused" in shown
    assert '<button type="submit" class="primary">Replay' not in shown


@sqlite_only
def test_the_command_replays_those_that_the_rules_take(
    tmp_path: Path, database_url: str, stored: Stored, container: Container
) -> None:
    cli = Cli(tmp_path, database_url)
    stored.now = container.clock.now() - timedelta(minutes=5)
    refused, taken = failing(stored, "gone.example/x", "go.corp.example/team/x")
    question = ("replay", "--failed", "tag_missing")
    told = cli(*question, "--dry-run")
    assert f"{refused} would be refused: no_rule: " in told.out
    assert told.out.endswith("2 runs failed with tag_missing, 1 of them would be refused\n")
    plan = cli(*question, "--dry-run", "--json").json
    assert ([run["id"] for run in plan["runs"]], list(plan["refused"]), plan["next"]) == (
        [refused, taken],
        [refused],
        None,
    )
    done = cli(*question, "--yes")
    assert (done.status, f"{taken}: {taken}-2-1" in done.out) == (1, True)
    assert done.out.endswith("1 of 2 runs begun anew\n")
    assert [stored.run(each).status for each in (refused, taken)] == [Status.FAILED, Status.QUEUED]
    assert cli(*question, "--after", "nonsense", "--yes").status == 2
