"""A Retry-After is waited for by the run, not by the worker: it holds no lease and no job meanwhile."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from app.adapters.flow_store import SqlFlowStore
from app.adapters.read_store import SqlReadStore
from app.domain.errors import SyncError
from app.domain.run import Status
from tests.integration.flow_world import MIRROR, SOURCE, FlowWorld


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


@pytest.mark.parametrize(
    ("method", "code"),
    [("ensure_project", "rate_limited"), ("create_pipeline", "read_only"), ("pipeline", "rate_limited")],
)
def test_the_other_sides_wish_is_the_runs_next_time(world: FlowWorld, method: str, code: str) -> None:
    run = world.take().run_id
    world.gitlab.fail(method, SyncError(code, "come back later", retry_after=50))
    started = world.clock.now()
    for _ in range(3):  # as far as it goes without waiting
        world.advance(run)
        world.world_goes_on()
        if world.run(run).error == code:
            break
        world.clock.advance(2)
    waiting = world.run(run)
    assert waiting.error == code
    assert waiting.due_at is not None
    assert waiting.due_at >= started + timedelta(seconds=50)
    assert (waiting.lease_owner, waiting.lease_until) == (None, None)

    before = len(world.gitlab.calls)
    world.clock.advance(40)
    world.sweep.once()
    world.work()
    assert len(world.gitlab.calls) == before  # nobody is asked before the time
    world.settle(run)
    assert world.run(run).status is Status.DONE


BUSY = SyncError("cache_busy", "another run on this host works in the cache")


def test_who_finds_the_cache_in_use_gives_its_worker_back(world: FlowWorld) -> None:
    """For however long it takes: no try and no patience are spent, and neither the mirror nor the run is held."""
    run = world.take().run_id
    for _ in range(100):
        world.git.fail("source", BUSY)
        world.advance(run)
        waiting = world.run(run)
        assert (waiting.status, waiting.error, waiting.tries, waiting.lease_owner) == (Status.MIRROR, None, 0, None)
        assert waiting.due_at == world.clock.now() + timedelta(seconds=1)
        assert SqlFlowStore(world.engine).lease_mirror(MIRROR, f"other-{_}", world.clock.now(), 0.1) is not None
        world.clock.advance(1)
    world.settle(run)
    assert world.run(run).status is Status.DONE


@pytest.mark.parametrize("way", ["cache", "mirror"])
def test_an_hour_behind_others_is_no_part_of_a_failure(world: FlowWorld, way: str) -> None:
    """One failure before and one after it are two within a moment, and not an hour of failures."""
    run = world.take().run_id
    world.git.fail("source", SyncError("source_unreachable", "no route"))
    world.advance(run)
    assert (world.run(run).error, world.run(run).tries) == ("source_unreachable", 1)
    store = SqlFlowStore(world.engine)
    for minute in range(60):
        world.clock.advance(60 if minute else 2)
        held = None
        if way == "mirror":
            held = store.lease_mirror(MIRROR, f"other-{minute}", world.clock.now(), 10)
        else:
            world.git.fail("source", BUSY)
        world.advance(run)
        assert (world.run(run).status, world.run(run).tries) == (Status.MIRROR, 1)
        if held:
            store.release_mirror(held, world.clock.now(), project=None, branch_at=None)
    world.clock.advance(2)
    world.git.fail("source", SyncError("source_unreachable", "no route"))
    world.advance(run)
    assert (world.run(run).status, world.run(run).tries) == (Status.MIRROR, 2)
    world.clock.advance(100)  # but what it goes on failing counts: the policy gives up after a minute
    world.git.fail("source", SyncError("source_unreachable", "no route"))
    world.advance(run)
    assert world.run(run).status is Status.FAILED


def test_a_mirror_waits_for_the_cache_that_another_mirror_of_the_source_uses(world: FlowWorld) -> None:
    run, other = world.take().run_id, world.take("v1.0.0", mirror="mirrors/second/thing").run_id
    with world.git.source(SOURCE, lambda: None):
        for each in (run, other):
            world.advance(each)
            assert (world.run(each).status, world.run(each).lease_owner) == (Status.MIRROR, None)


def test_nobody_asks_the_proxy_before_the_tag_is_in_the_mirror(world: FlowWorld) -> None:
    """Several proxies keep a miss, for half an hour at worst."""
    run = world.take("v1.1.0").run_id
    for _ in range(5):
        world.clock.advance(2)
        world.advance(run)
    assert (world.run(run).error, world.mirror.refs) == ("tag_missing", {})
    assert (world.proxy.calls, world.gitlab.pipelines) == ([], {})
    world.source.tag("v1.1.0", world.commit)
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert world.proxy.calls[0] == ("info", world.run(run).module, "v1.1.0")


def test_lfs_deep_below_the_module_is_named_on_the_run(world: FlowWorld) -> None:
    files = {"go.mod": b"module go.example/team/thing\n", "assets/film/.gitattributes": b"*.mp4 filter=lfs\n"}
    commit = world.source.commit(files)
    world.source.tag("v1.1.0", commit)
    run = world.take("v1.1.0", commit).run_id
    world.settle(run)
    (warning,) = world.run(run).facts["warnings"]
    assert (warning["code"], warning["message"].endswith(": assets/film/*.mp4")) == ("lfs", True)


def test_submodules_and_lfs_are_named_on_the_run(world: FlowWorld) -> None:
    files = {
        "go.mod": b"module go.example/team/thing\n", ".gitmodules": b'[submodule "x"]\n',
        ".gitattributes": b"*.bin filter=lfs\n",
    }  # fmt: skip
    commit = world.source.commit(files)
    world.source.tag("v1.1.0", commit)
    run = world.take("v1.1.0", commit).run_id
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert [each["code"] for each in world.run(run).facts["warnings"]] == ["submodules", "lfs"]
    shown = SqlReadStore(world.engine).run(run)
    assert shown is not None
    assert [each["code"] for each in shown.facts.warnings] == ["submodules", "lfs"]
