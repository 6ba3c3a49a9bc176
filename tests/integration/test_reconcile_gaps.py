"""Reconcile and backfill begin where the gap is, however far the run came that ended before."""

from pathlib import Path

import pytest

from app.adapters.ops_store import SqlReplayStore
from app.domain.run import Stage, Status
from tests.integration.flow_world import MODULE
from tests.integration.reconcile_world import ReconcileWorld


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    return ReconcileWorld(tmp_path)


def without_the_proxy(world: ReconcileWorld) -> str:
    """A run that a proxy's outage ended: its pipeline succeeded, and nothing was cached."""
    run = world.take_to_pipeline()
    for number in world.gitlab.pipelines:
        world.gitlab.finish(number, "success")
    world.settle(run, rounds=200)
    ended = world.run(run)
    assert (ended.status, ended.stage, ended.error) == (Status.FAILED, Stage.VERIFY, "not_cached_yet")
    return run


def done_after(world: ReconcileWorld, *, retry: bool = False) -> tuple[dict[str, str], int, int]:
    """What a comparison found, and how many pushes and pipelines brought the one run through."""
    pushes, pipelines = world.git.calls.count("push"), len(world.gitlab.pipelines)
    report = world.reconcile(module=MODULE if retry else "", retry=retry)
    (run,) = report.runs
    assert world.run(run).status is Status.DONE
    return world.found(report), world.git.calls.count("push") - pushes, len(world.gitlab.pipelines) - pipelines


def test_a_tag_that_the_mirror_lost_is_pushed_though_its_run_failed_later(world: ReconcileWorld) -> None:
    without_the_proxy(world)
    del world.mirror.refs["refs/tags/v1.0.0"]
    assert done_after(world) == ({"v1.0.0": "missing_in_mirror"}, 1, 1)
    assert world.mirror.refs["refs/tags/v1.0.0"] == world.commit


@pytest.mark.parametrize("retry", [False, True])
def test_a_version_that_only_the_pipeline_brings_to_the_proxy_gets_one(world: ReconcileWorld, retry: bool) -> None:
    without_the_proxy(world)
    assert done_after(world, retry=retry) == ({"v1.0.0": "missing_in_proxy"}, 0, 1)


def test_one_that_the_proxy_lists_is_only_verified(world: ReconcileWorld) -> None:
    without_the_proxy(world)
    world.cache("v1.0.0")
    assert done_after(world) == ({"v1.0.0": "missing_in_proxy"}, 0, 0)


def test_a_run_that_never_came_so_far_begins_where_it_ended(world: ReconcileWorld) -> None:
    run = world.take_to_pipeline()
    world.clock.advance(1)
    SqlReplayStore(world.engine).cancel(run, "cli:me", world.clock.now())
    world.cache("v1.0.0")

    assert (world.found(report := world.reconcile()), report.runs) == (
        {"v1.0.0": "failed"},
        (),
    )  # as somebody wanted it
    assert done_after(world, retry=True) == ({"v1.0.0": "failed"}, 0, 1)
