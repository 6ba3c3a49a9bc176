"""What a proxy serves in place of a release rejects its run, and is still counted, listed and replayed as a failure."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from app import create_app
from app.adapters.board_store import SqlBoardStore
from app.adapters.standing_store import SqlStandingStore
from app.bootstrap import Container
from app.domain.errors import CATALOG, SERVED_OTHER
from app.domain.measures import ENDED, sums
from app.domain.run import Stage, Status
from app.services.board import FailedAlike
from app.services.flow import RunFailedError
from app.services.level import Kind
from app.services.measuring import Tally, outcome
from app.services.ports import ProxyInfo
from app.services.stores import Change, ReplayOrder, StepRecord
from tests.integration.databases import sqlite_only
from tests.integration.flow_world import MODULE, FlowWorld
from tests.integration.pages_world import application, page
from tests.integration.stored import START, B, Stored, StoredClock

CODES = sorted(SERVED_OTHER)
OTHERS = sorted(code for code, kind in CATALOG.items() if kind.rejects and code not in SERVED_OTHER)


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def wrongly_served(world: FlowWorld, code: str) -> str:
    """A run that its proxy's content or commit rejected, and the error by which its job failed."""
    run = world.take_to_pipeline()
    world.world_goes_on()
    held = world.proxy.held[MODULE, "v1.0.0"]
    if code == "served_other_commit":
        held.info = ProxyInfo("v1.0.0", None, "f" * 40)
    else:
        held.zip = b"something else"
    world.settle(run)
    return run


@pytest.mark.parametrize("code", CODES)
def test_it_is_rejected_and_a_replay_after_the_purge_brings_it_through(world: FlowWorld, code: str) -> None:
    run = wrongly_served(world, code)
    assert (world.run(run).status, world.run(run).error) == (Status.REJECTED, code)
    world.replays.replay(run, ReplayOrder("cli:me", "not purged yet"), None, world.clock.now())
    world.settle(run)
    assert (world.run(run).status, world.run(run).error, world.run(run).attempt) == (Status.REJECTED, code, 2)

    world.proxy.held.clear()  # the operator purged it: the next question makes the proxy fetch
    world.cache("v1.0.0")
    world.replays.replay(run, ReplayOrder("cli:me", "purged"), None, world.clock.now())
    assert world.run(run).stage is Stage.VERIFY
    world.settle(run)
    assert (world.run(run).status, world.run(run).attempt) == (Status.DONE, 3)
    assert len(world.gitlab.pipelines) == 1


def test_rqs_dashboard_has_its_job_among_the_failed_ones(world: FlowWorld) -> None:
    run = wrongly_served(world, "served_other_content")
    world.replays.replay(run, ReplayOrder("cli:me", ""), None, world.clock.now())
    with pytest.raises(RunFailedError, match="rejected: served_other_content"):
        world.flow().advance(run)


def test_the_platform_redelivers_it_and_it_goes_on_where_it_was(world: FlowWorld) -> None:
    run = wrongly_served(world, "served_other_content")
    world.proxy.held.clear()
    world.cache("v1.0.0")
    again = world.take()
    assert (again.run_id, again.status, again.duplicate) == (run, Status.QUEUED, True)
    world.settle(run)
    assert world.run(run).status is Status.DONE


# --- who counts, lists and tells what failed -----------------------------------------------------------------------


def rejected(stored: Stored, version: str, code: str) -> str:
    """A run that its stage verify rejected."""
    run = stored.release(version=version).run_id
    stored.record(stored.push(stored.claim(run)), Status.REJECTED, error=code)
    return run


def test_a_branch_that_reports_it_anew_begins_it_anew(world: FlowWorld) -> None:
    """An event that names no commit finds another run with this release: as when its own delivery comes again."""
    run = wrongly_served(world, "served_other_content")
    world.proxy.held.clear()
    world.cache("v1.0.0")
    other = world.take(commit="", ref="refs/tags/v1.0.0").run_id
    world.settle(other, run)
    assert world.run(other).error == "duplicate_release"
    assert (world.run(run).status, world.run(run).attempt) == (Status.DONE, 2)


def test_bulk_replays_and_the_first_page_have_it(stored: Stored) -> None:
    board = SqlBoardStore(stored.engine, StoredClock(stored))
    runs = [rejected(stored, f"v1.0.{at}", code) for at, code in enumerate(CODES)]
    for at, code in enumerate(OTHERS):
        rejected(stored, f"v2.0.{at}", code)
    assert {(each.code, each.runs) for each in board.failures(START)} == {(code, 1) for code in CODES}
    assert [[run.id for run in board.failed(FailedAlike(code, START, stored.later()), 9)] for code in (*CODES, OTHERS[0])] == [
        *([run] for run in runs), [],
    ]  # fmt: skip
    assert {run.id for run in board.now(10).failed} == set(runs)


def test_the_service_level_counts_it_for_it_was_to_be_downloaded(stored: Stored) -> None:
    board = SqlBoardStore(stored.engine, StoredClock(stored))
    for at, code in enumerate([*CODES, *OTHERS]):
        rejected(stored, f"v1.0.{at}", code)
    stored.release(B, "v1.0.0")
    rows = board.level(START - timedelta(hours=1), 86_400)
    assert [(row.kind, row.count) for row in rows] == [(Kind.FAILED, len(CODES))]


def test_the_metrics_count_it_as_failed(stored: Stored, engine: Engine) -> None:
    for at, code in enumerate([*CODES, *OTHERS]):
        rejected(stored, f"v1.0.{at}", code)
    ended = SqlStandingStore(engine, StoredClock(stored)).standing().ended
    assert ended == {Status.DONE: 0, Status.FAILED: len(CODES), Status.REJECTED: len(OTHERS)}


@sqlite_only
def test_what_a_worker_ended_so_is_counted_as_failed(stored: Stored) -> None:
    run, now = stored.run(stored.release().run_id), stored.now
    tally = Tally()
    for code in (CODES[0], OTHERS[0]):
        change = Change(Status.REJECTED, Stage.VERIFY, {}, 1, None, error=code)
        outcome(tally, run, StepRecord(Stage.VERIFY, "rejected", now, now, code), change, now)
    counted = {
        values: each.count for measure, by in sums(tally.take()) if measure is ENDED for values, each in by.items()
    }
    assert counted == {("failed", "live"): 1, ("rejected", "live"): 1}


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return application(tmp_path)


@pytest.fixture
def client(container: Container) -> FlaskClient:
    return create_app(container).test_client()


@pytest.mark.parametrize(("code", "offered"), [("served_other_content", True), ("tag_unsigned", False)])
def test_its_page_offers_a_replay_of_it_and_of_all_like_it(
    client: FlaskClient, container: Container, code: str, offered: bool
) -> None:
    stored = Stored(container.engine)
    run = rejected(stored, "v1.0.0", code)
    text = page(client, f"/runs/{run}")
    assert f'action="/runs/{run}/replay"' in text
    assert (f'href="/replays?code={code}"' in text) is offered
