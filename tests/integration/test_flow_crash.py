"""A worker dies before or after each call it makes to git, HTTP, the database or the queue; the run ends the same."""

from pathlib import Path

import pytest

from app.domain.run import Status
from tests.integration.flow_world import LEASE, CrashError, FlowWorld, Fuse


def _calls(directory: Path) -> int:
    """How many outside calls a run makes when nothing goes wrong, with the worker that never waits."""
    world = FlowWorld(directory)
    fuse = Fuse()
    _through(world, world.take().run_id, fuse)
    return len(fuse.seen)


def _through(world: FlowWorld, run: str, fuse: Fuse) -> None:
    """All jobs of a run by workers with this fuse; after a crash, by others, when the lease is over."""
    for _ in range(60):
        if world.run(run).status in (Status.DONE, Status.FAILED, Status.REJECTED):
            return
        try:
            world.advance(run, fuse)
        except CrashError:
            world.clock.advance(LEASE + 1)
        world.world_goes_on()
        world.clock.advance(1)
    raise AssertionError(world.run(run))


def test_the_end_is_the_same_wherever_a_worker_dies(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    total = _calls(tmp_path / "count")
    assert total > 15
    for number in range(total):
        for after in (False, True):
            directory = tmp_path / f"{number}-{after}"
            directory.mkdir()
            _die_and_go_on(directory, number, after=after)


def _die_and_go_on(directory: Path, number: int, *, after: bool) -> None:
    world = FlowWorld(directory)
    run = world.take().run_id
    fuse = Fuse(at=number, after=after)
    _through(world, run, fuse)

    where = f"died {'after' if after else 'before'} {fuse.seen[number]} ({number})"
    done = world.run(run)
    assert done.status is Status.DONE, where
    assert world.mirror.refs == {"refs/heads/ci-sync": world.commit, "refs/tags/v1.0.0": world.commit}, where
    assert len(world.gitlab.pipelines) == 1, where
    assert done.facts["verify"]["h1"] == done.facts["proof"]["h1"], where
    world.engine.dispose()


@pytest.mark.parametrize("after", [False, True])
def test_the_sweeper_brings_a_run_back_whose_worker_died(tmp_path: Path, after: bool) -> None:
    world = FlowWorld(tmp_path)
    run = world.take().run_id
    with pytest.raises(CrashError):
        world.advance(run, Fuse(at=6, after=after))
    world.sweep.once()
    assert world.queue.jobs == []  # the lease still holds
    world.clock.advance(LEASE + 0.1)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_an_interrupted_run_goes_on_before_all_that_wait(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    run = world.take().run_id
    with pytest.raises(CrashError):
        world.advance(run, Fuse(at=6))
    world.queue.jobs[:] = [("another-1-1", "another")]
    world.clock.advance(LEASE + 0.1)
    world.sweep.once()
    assert [each for _, each in world.queue.jobs] == [run, "another"]


def test_a_run_that_only_waited_goes_on_in_its_turn(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    run = world.take_to_pipeline()
    world.queue.jobs[:] = [("another-1-1", "another")]
    world.clock.advance(LEASE + 0.1)
    world.sweep.once()
    assert [each for _, each in world.queue.jobs] == ["another", run]
