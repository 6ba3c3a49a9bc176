"""Replays of many runs, on the page and by the command: what would be refused is told before, and hides nothing behind it."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict

from app.bootstrap import Container
from app.domain.run import Status
from app.services.stores import ReplayOrder
from tests.integration.cli_world import Cli
from tests.integration.databases import sqlite_only
from tests.integration.pages_world import page, post
from tests.integration.stored import Stored
from tests.integration.test_cli_reasons import run
from tests.integration.web_world import BEARER, BROWSER


def failing(stored: Stored, *modules: str) -> list[str]:
    """A run of each module that failed in stage mirror, in this order."""
    runs = [stored.release(module=module).run_id for module in modules]
    for each in runs:
        stored.fail(each, error="tag_missing")
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
    assert re.findall(r'name="run" value="(\w+):1"', first) == [taken]
    row = next(each for each in re.findall(r"<tr>.*?</tr>", first, re.DOTALL) if refused in each)
    assert "<code>no_rule</code>" in row
    assert "attempt 2" not in row
    following = html.unescape(re.findall(r'href="(/replays\?[^"]*)" rel="next"', first)[0])
    assert re.findall(r'name="run" value="(\w+):1"', page(client, following)) == [last]
    assert page(client, following + "x").count("is not one of ours") == 1

    form = dict(re.findall(r'<input type="hidden" name="(code|since|next)" value="([^"]*)"', first))
    done = post(client, "/replays", run=taken, **form).text
    assert "1 of 1 runs began anew" in done
    onward = html.unescape(re.findall(r'href="(/replays\?[^"]*)">look for more', done)[0])
    assert re.findall(r'name="run" value="(\w+):1"', page(client, onward)) == [last]
    assert [stored.run(each).status for each in (refused, taken, last)] == [Status.FAILED, Status.QUEUED, Status.FAILED]


def test_one_button_goes_on_with_the_next_and_keeps_the_reason(
    client: FlaskClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.bulk.plan.__kwdefaults__", {"after": None, "limit": 2})
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    found = failing(stored, *(f"go.corp.example/team/x{number}" for number in range(5)))
    shown = page(client, "/replays?code=tag_missing")
    assert "5 runs match in all" in shown
    for number in (2, 2, 1):
        fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown)
        form = MultiDict([(name, html.unescape(value)) for name, value in fields])
        assert len(form.getlist("run")) == number
        if "reason" not in form:
            form["reason"] = 'the "proxy" is back'
        shown = client.post("/replays", data=form, headers={**BROWSER, **BEARER}).text
        assert f"{number} of {number} runs began anew" in shown
        assert ("Go on with the next" in shown) == (number == 2)
    assert [stored.run(each).status for each in found] == [Status.QUEUED] * 5
    assert {stored.attempts(each)[1]["reason"] for each in found} == {'the "proxy" is back'}


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


def test_all_goes_on_to_the_end_and_without_it_how_to_go_on_is_said(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli_replay.LONGEST_PAGE", 2)
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    found = failing(stored, *(f"go.corp.example/team/x{number}" for number in range(7)))
    first = run(container, "replay", "--failed", "tag_missing", "--yes")
    assert "2 of 2 runs begun anew; more match (of 7 in all): go on with --after " in first.output
    assert [stored.run(each).status for each in found].count(Status.QUEUED) == 2
    rest = run(container, "replay", "--failed", "tag_missing", "--yes", "--all", "--reason", "the proxy is back")
    assert rest.exit_code == 0, rest.output
    assert [stored.run(each).status for each in found] == [Status.QUEUED] * 7
    assert stored.attempts(found[-1])[1]["reason"] == "the proxy is back"
    assert run(container, "replay", found[0], "--all").exit_code == 2


def test_a_run_that_changed_since_the_plan_is_left_alone(client: FlaskClient, container: Container) -> None:
    """Somebody else replayed it meanwhile, and cancelled it: it was released by mistake."""
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    mine, theirs = failing(stored, "go.corp.example/team/x", "go.corp.example/team/y")
    shown = page(client, "/replays?code=tag_missing")
    fields = MultiDict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown))
    assert fields.getlist("run") == [f"{mine}:1", f"{theirs}:1"]
    stored.ops.replay(theirs, ReplayOrder("cli:bob", ""), None, container.clock.now())
    stored.ops.cancel(theirs, "cli:bob", container.clock.now(), "released by mistake")
    done = client.post("/replays", data=fields, headers={**BROWSER, **BEARER}).text
    assert "1 of 2 runs began anew" in done
    assert "changed since it was looked at: attempt 2 ended failed: cancelled" in done
    assert [stored.run(each).status for each in (mine, theirs)] == [Status.QUEUED, Status.FAILED]


@pytest.mark.parametrize(
    "text", ["x", "r1m81j18kr0000000003:0", "r1m81j18kr0000000003:x", "r1m81j18kr0000000003-1-1:1"]
)
def test_what_names_no_run_and_attempt_is_refused(client: FlaskClient, text: str) -> None:
    assert client.post("/api/replays", json={"runs": [text]}, headers=BEARER).status_code == 422
    assert post(client, "/replays", run=text).status_code == 422


def test_the_next_ones_are_shown_before_they_begin(
    client: FlaskClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.bulk.plan.__kwdefaults__", {"after": None, "limit": 1})
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    first, second = failing(stored, "go.corp.example/team/x", "go.corp.example/team/y")
    form = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page(client, "/replays?code=tag_missing"))
    )
    assert form["run"] == f"{first}:1"
    done = client.post("/replays", data=form, headers={**BROWSER, **BEARER}).text
    onward = done[done.index("Which they are") :]
    assert f'href="/runs/{second}"' in onward
    assert "go.corp.example/team/y" in onward
