"""Replays of many runs end, also where each run fails again at once, and say before how many they will be."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict

from app import cli_replay
from app.bootstrap import Container
from app.cli import cli
from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.bulk import ReplayPlan
from app.services.operator import Operator, Replayed
from app.services.replay import Replay
from app.services.run_filter import make_cursor
from app.services.stores import Receipt, ReplayOrder
from tests.contract.test_operator_contract import opened
from tests.integration.pages_world import page
from tests.integration.stored import Stored
from tests.integration.test_bulk_replay import failing
from tests.integration.web_world import BEARER, BROWSER, ENVIRONMENT

CODE = "tag_missing"
RUNS = 5
MODULES = [f"go.corp.example/team/x{number}" for number in range(RUNS)]


@pytest.fixture
def failed(container: Container, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that failed, two to a page; each replay fails again at once, as while its cause is still there."""
    monkeypatch.setattr("app.services.bulk.plan.__kwdefaults__", {"after": None, "limit": 2})
    monkeypatch.setattr("app.cli_replay.LONGEST_PAGE", 2)
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=5)
    found = failing(stored, *MODULES)
    replay, begun = Replay.replay, []

    def fails_again(self: Replay, identifier: str, order: ReplayOrder) -> Receipt:
        begun.append(identifier)
        assert len(begun) <= 3 * RUNS, "there is no end"
        receipt = replay(self, identifier, order)
        stored.now = container.clock.now()
        stored.fail(identifier, error=CODE)
        return receipt

    monkeypatch.setattr(Replay, "replay", fails_again)
    return found


def attempts(container: Container, ids: list[str]) -> list[int]:
    stored = Stored(container.engine)
    assert {stored.run(each).status for each in ids} == {Status.FAILED}
    return [stored.run(each).attempt for each in ids]


@contextmanager
def asking(container: Container, mode: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """The command's operator, on the server or from afar; somebody sits at the terminal."""
    with opened(container, mode) as operator:
        monkeypatch.setattr(cli_replay, "open_operator", lambda: operator)
        monkeypatch.setattr("app.cli_replay._somebody", lambda: True)
        yield operator


def command(*arguments: str, typed: str = "") -> Result:
    return CliRunner(env=ENVIRONMENT).invoke(cli, ["replay", "--failed", CODE, *arguments], input=typed)


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_the_command_ends_and_says_before_how_many(
    container: Container, failed: list[str], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    with asking(container, mode, monkeypatch):
        left = command("--all", typed="n\n")
        assert attempts(container, failed) == [1] * RUNS
        done = command("--all", typed="y\n")
    question = f"begin all {RUNS} anew, but for those that today's rules refuse? [y/N]:"
    assert (left.exit_code, question in left.output) == (1, True), left.output
    assert f"{RUNS} runs in all failed so until " in left.output
    assert done.exit_code == 0, done.output
    assert attempts(container, failed) == [2] * RUNS


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_unasked_it_ends_too_and_its_json_has_each_run_once(
    container: Container, failed: list[str], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    with asking(container, mode, monkeypatch):
        done = command("--all", "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert re.findall(r'"run": "(\w+)"', done.output) == failed
    assert re.findall(r'"next": (\w+)', done.output) == ["null"]
    assert attempts(container, failed) == [2] * RUNS


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_a_plan_keeps_the_first_ones_times(container: Container, failed: list[str], mode: str) -> None:
    with opened(container, mode) as operator:
        first = operator.plan_replays(CODE, "24h", None, 2)
        operator.replay_many([run.id for run in first.runs], "")
        # The first plan's time counts, however short the one that is given with the place.
        second = operator.plan_replays(CODE, "1s", first.next, 2)
        third = operator.plan_replays(CODE, "1s", second.next, 2)
    assert [[run.id for run in each.runs] for each in (first, second, third)] == [failed[:2], failed[2:4], failed[4:]]
    assert (first.total, second.total, third.next) == (RUNS, RUNS - 2, None)
    assert len({(each.since, each.until) for each in (first, second, third)}) == 1


def test_the_api_ends(client: FlaskClient, container: Container, failed: list[str]) -> None:
    after: str | None = ""
    seen: list[str] = []
    while after is not None:
        plan = client.get(
            "/api/replays", query_string={"code": CODE, "limit": 2, "after": after}, headers=BEARER
        ).get_json()
        ids = [run["id"] for run in plan["runs"]]
        done = client.post("/api/replays", json={"runs": ids}, headers=BEARER).get_json()
        assert [each["error"] for each in done["runs"]] == [None] * len(ids)
        seen += ids
        after = plan["next"]
    assert seen == failed
    assert attempts(container, failed) == [2] * RUNS


def test_the_page_ends(client: FlaskClient, container: Container, failed: list[str]) -> None:
    shown = page(client, f"/replays?code={CODE}")
    while fields := re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown):
        form = MultiDict([(name, html.unescape(value)) for name, value in fields])
        shown = client.post("/replays", data=form, headers={**BROWSER, **BEARER}).text
    assert "began anew" in shown
    assert attempts(container, failed) == [2] * RUNS


def test_an_older_server_that_bounds_nothing_is_not_followed(
    container: Container, failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ReplayPlan(CODE, container.clock.now(), (), {}, "next")
    with asking(container, "local", monkeypatch) as operator:
        monkeypatch.setattr(operator, "plan_replays", lambda *_: plan)
        told = command("--all", "--yes")
    assert (told.exit_code, "the server is too old for --all" in told.output) == (2, True)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_place_with_other_times_is_refused(container: Container, times: int) -> None:
    now = container.clock.now()
    with opened(container, "local") as operator, pytest.raises(SyncError) as caught:
        operator.plan_replays(CODE, "24h", make_cursor(now, "r" + "0" * 19, *[now] * times), 2)
    assert (caught.value.code, caught.value.field) == ("bad_request", "after")


@pytest.mark.parametrize("json", [True, False])
def test_what_was_done_is_told_when_the_server_goes_away(
    container: Container, failed: list[str], monkeypatch: pytest.MonkeyPatch, json: bool
) -> None:
    """Else nobody would know which of them began anew."""
    with asking(container, "local", monkeypatch) as operator:
        many, calls = operator.replay_many, []

        def goes_away(runs: Sequence[str], reason: str) -> tuple[Replayed, ...]:
            calls.append(runs)
            if len(calls) == 3:
                raise SyncError("server_unreachable", "no route")
            return many(runs, reason)

        monkeypatch.setattr(operator, "replay_many", goes_away)
        monkeypatch.setattr("app.cli_replay.BATCH", 1)
        told = command("--all", "--yes", *(["--json"] if json else []))
    assert isinstance(told.exception, SyncError)
    assert [each for each in failed if each in told.output] == failed[:2]
    assert ('"ended": "early"' in told.output) is json
