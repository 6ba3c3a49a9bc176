"""Which deaths of workers are held against a run, which are not, and what becomes of the others in the same batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import SyncError
from app.domain.run import WORKERS_LOST, Status
from app.services.stages.mirror import MirrorRequest, MirrorStage
from app.services.stages.mirror_push import Push
from tests.integration.flow_world import GO_MOD, LEASE, MIRROR, FlowWorld
from tests.integration.fuses import CrashError, Fuse


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FlowWorld]:
    made = FlowWorld(tmp_path)
    yield made
    made.engine.dispose()


def release(world: FlowWorld, number: int) -> str:
    commit = world.source.commit({"go.mod": GO_MOD, "x": str(number).encode()})
    world.source.tag(f"v1.1.{number}", commit)
    return world.take(f"v1.1.{number}", commit).run_id


def lost(world: FlowWorld, run: str) -> int:
    return int(world.run(run).facts.get(WORKERS_LOST, 0))


def kill(world: FlowWorld, run: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(CrashError):
            world.advance(run, Fuse(at=6))
        world.clock.advance(LEASE + 0.1)
        world.sweep.once()


def test_a_death_counts_once_however_often_its_job_is_given(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is there, and takes nothing."""
    run = world.take().run_id
    kill(world, run, 1)

    def full(*_: object, **__: object) -> None:
        raise SyncError("queue_unavailable", "OOM command not allowed")

    with monkeypatch.context() as patched:
        patched.setattr(world.queue, "enqueue", full)
        patched.setattr(world.queue, "enqueue_all", full)
        world.queue.jobs.clear()
        for _ in range(30):
            world.clock.advance(1)
            with suppress(SyncError):  # it says so when there was a job to give
                world.sweep.once()
    assert lost(world, run) == 1
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_who_is_overtaken_lets_go_of_the_others(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [release(world, number) for number in range(4)]
    real = MirrorStage.run

    def cancelled_meanwhile(stage: MirrorStage, request: MirrorRequest, *more: Any) -> Any:
        world.replays.cancel(runs[3], "kim", world.clock.now(), "")
        return real(stage, request, *more)

    with monkeypatch.context() as patched:
        patched.setattr(MirrorStage, "run", cancelled_meanwhile)
        world.queue.jobs.clear()
        world.advance(runs[0])
    world.sweep.once()
    assert {run for _, run in world.queue.jobs} == set(runs[:3])  # at once, not when the lease is over
    assert [lost(world, run) for run in runs] == [0] * 4
    world.settle(*runs)
    assert [world.run(run).error for run in runs] == [None, None, None, "cancelled"]


def test_a_worker_that_has_to_end_fails_nobody(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad ref lets each push by itself; SIGTERM comes in the middle."""
    runs = [release(world, number) for number in range(4)]
    real, calls = Push._planned, []

    def planned(push: Push, ready: Any, at: Any) -> Any:
        calls.append(len(ready))
        if len(ready) > 1:
            raise SyncError("push_refused", "one bad ref")
        if len(calls) > 2:
            raise SyncError("interrupted", "the worker was asked to stop")
        return real(push, ready, at)

    with monkeypatch.context() as patched:
        patched.setattr(Push, "_planned", planned)
        world.advance(runs[0])
    assert calls == [4, 1, 1, 1, 1]
    # The first goes on to its pipeline.
    assert [(world.run(run).tries, world.run(run).error) for run in runs[1:]] == [(0, None)] * 3
    assert [world.run(run).pushed_at is not None for run in runs] == [True, False, False, False]
    world.settle(*runs)
    assert {world.run(run).status for run in runs} == {Status.DONE}


def test_a_database_that_goes_away_in_the_middle_is_no_verdict(
    world: FlowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.take().run_id

    def away(*_: object) -> None:
        raise SyncError("store_unavailable", "the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(MirrorStage, "_ready", away)
        with pytest.raises(SyncError, match="the database is away"):
            world.advance(run)
    assert (world.run(run).tries, world.run(run).error) == (0, None)


def test_a_defect_that_one_release_brings_out_is_its_own(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [release(world, number) for number in range(3)]
    real = MirrorStage._ready

    def ready(stage: MirrorStage, cache: Any, each: Any, *more: Any) -> Any:
        if each.run_id == runs[1]:
            raise RecursionError("maximum recursion depth exceeded")
        return real(stage, cache, each, *more)

    with monkeypatch.context() as patched:
        patched.setattr(MirrorStage, "_ready", ready)
        world.advance(runs[0])
    assert [world.run(run).error for run in runs[1:]] == ["internal", None]
    assert [world.run(run).pushed_at is not None for run in runs] == [True, False, True]


def test_a_run_that_lost_three_workers_goes_alone(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = world.take().run_id
    kill(world, bad, 3)
    others = [release(world, number) for number in range(2)]
    together: list[set[str]] = []
    real = MirrorStage.run

    def noted(stage: MirrorStage, request: MirrorRequest, *more: Any) -> Any:
        together.append({each.run_id for each in request.releases})
        return real(stage, request, *more)

    monkeypatch.setattr(MirrorStage, "run", noted)
    world.advance(others[0])
    assert together == [set(others)]
    more = release(world, 7)
    world.advance(bad)
    assert together[1:] == [{bad}]
    world.settle(bad, more, *others)


def test_a_dead_workers_run_comes_back_by_the_sweeper_alone(world: FlowWorld) -> None:
    """Which counts the death; who takes it along as a sibling would not."""
    bad = world.take().run_id
    with pytest.raises(CrashError):
        world.advance(bad, Fuse(at=6))
    world.clock.advance(LEASE + 0.1)
    other = release(world, 1)
    world.advance(other)
    assert world.run(bad).pushed_at is None
    assert world.run(other).pushed_at is not None
    world.sweep.once()
    assert lost(world, bad) == 1


def test_what_was_not_tried_takes_no_count_away(world: FlowWorld) -> None:
    run = world.take().run_id
    kill(world, run, 4)
    assert lost(world, run) == 4
    assert world.flow()._store.lease_mirror(MIRROR, "somebody", world.clock.now(), LEASE)  # type: ignore[attr-defined]
    world.advance(run)
    assert lost(world, run) == 4
    world.clock.advance(LEASE + 1)
    world.settle(run)
    assert lost(world, run) == 0
