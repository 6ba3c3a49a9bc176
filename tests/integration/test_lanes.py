"""Live releases and backfills: two queues, two worker groups, and who waits for whom."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.intake_store import SqlIntakeStore
from app.adapters.job_queue import RqJobQueue
from app.domain.run import Lane, Stage, Status
from app.services.stores import NewDelivery, ReplayOrder
from tests.integration.embedded import embedded_redis
from tests.integration.flow_world import FlowWorld


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def _tagged(world: FlowWorld, version: str) -> str:
    commit = world.source.commit({f"{version}.go": b""})
    world.source.tag(version, commit)
    return commit


def test_each_lane_has_the_jobs_of_its_runs_to_the_end(world: FlowWorld) -> None:
    old = world.take(lane=Lane.BACKFILL).run_id
    new = world.take("v1.1.0", _tagged(world, "v1.1.0")).run_id
    world.settle(old, new)

    assert {world.run(run).status for run in (old, new)} == {Status.DONE}
    lanes = {(job.split("-")[0], lane) for job, lane in world.queue.lanes.items()}
    assert lanes == {(old, "backfill"), (new, "live")}


def test_a_batch_holds_runs_of_one_lane(world: FlowWorld) -> None:
    world.take(lane=Lane.BACKFILL)
    new = world.take("v1.1.0", _tagged(world, "v1.1.0")).run_id
    world.advance(new)
    assert set(world.mirror.refs) == {"refs/heads/ci-sync", "refs/tags/v1.1.0"}


def test_a_live_release_goes_before_the_next_batch_of_a_backfill(world: FlowWorld) -> None:
    old = world.take(lane=Lane.BACKFILL).run_id
    new = world.take("v1.1.0", _tagged(world, "v1.1.0")).run_id

    world.advance(old)
    assert world.mirror.refs == {}
    assert world.run(old).due_at is not None
    world.advance(new)
    world.clock.advance(1)
    world.advance(old)
    assert set(world.mirror.refs) == {"refs/heads/ci-sync", "refs/tags/v1.1.0", "refs/tags/v1.0.0"}


def test_a_live_release_that_waits_for_its_tag_does_not_hold_a_backfill_up(world: FlowWorld) -> None:
    new = world.take("v1.1.0").run_id
    for _ in range(3):
        world.advance(new)
        world.clock.advance(3)
    world.advance(new)
    old = world.take(lane=Lane.BACKFILL).run_id
    world.advance(old)
    assert "refs/tags/v1.0.0" in world.mirror.refs


def test_a_backfill_leaves_the_branch_at_the_newest_release(world: FlowWorld) -> None:
    first = world.take().run_id
    new = _tagged(world, "v1.1.0")
    world.settle(first, world.take("v1.1.0", new).run_id)
    old = _tagged(world, "v0.9.0")
    world.settle(world.take("v0.9.0", old, lane=Lane.BACKFILL).run_id)
    assert world.mirror.refs["refs/heads/ci-sync"] == new
    assert world.mirror.refs["refs/tags/v0.9.0"] == old


def test_a_webhook_makes_a_waiting_backfill_a_live_release(world: FlowWorld) -> None:
    run = world.take(lane=Lane.BACKFILL).run_id
    again = world.take()
    assert (again.run_id, again.duplicate) == (run, True)
    assert world.run(run).lane == Lane.LIVE
    world.queue.jobs.clear()
    world.sweep.once()
    assert [world.queue.lanes[job] for job, _ in world.queue.jobs] == ["live"]


def test_a_long_backfill_does_not_hide_a_live_run_from_the_sweeper(world: FlowWorld) -> None:
    store = SqlIntakeStore(world.engine)
    plans = [world.planned(f"v0.{number}.0", "a" * 40, lane=Lane.BACKFILL) for number in range(250)]
    store.record(_delivery(world), plans)
    world.clock.advance(60)
    new = world.take().run_id
    world.clock.advance(5)
    world.queue.jobs.clear()
    world.sweep.once()
    assert new in [run for _, run in world.queue.jobs]


def test_a_replay_keeps_the_lane(world: FlowWorld) -> None:
    run = world.take(lane=Lane.BACKFILL).run_id
    world.settle(run)
    receipt = world.replays.replay(run, ReplayOrder("cli:me", "why", Stage.VERIFY, force=True), None, world.clock.now())
    assert receipt.lane == Lane.BACKFILL


@pytest.fixture
def redis_url() -> Iterator[str]:
    with embedded_redis() as served:
        yield served


def test_rq_has_a_queue_for_each_lane_or_one_for_both(redis_url: str) -> None:
    two, one = RqJobQueue(redis_url), RqJobQueue(redis_url, shared=True)
    two.enqueue("a", "r")
    two.enqueue("b", "r", Lane.BACKFILL)
    one.enqueue("c", "r", Lane.BACKFILL)
    assert (two.depth(), two.depth(Lane.BACKFILL)) == (2, 1)
    assert two.waiting(["a", "b", "c", "d"]) == {"a", "b", "c"}


def _delivery(world: FlowWorld) -> NewDelivery:
    return NewDelivery(
        id="d-many", source="platform", dedupe="many", scheme="reconcile", secret_id="", headers={}, body=b"",
        received_at=world.clock.now(), verdict="reconcile",
    )  # fmt: skip
