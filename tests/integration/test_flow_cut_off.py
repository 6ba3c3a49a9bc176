"""A pipeline whose creation got no answer: GitLab may make it later, and it stays the only one of its attempt."""

from datetime import datetime
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.ports import Pipeline
from tests.integration.flow_world import FlowWorld


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def second_by_second(world: FlowWorld, seconds: int) -> None:
    """Workers and sweeper only: nothing ends by itself."""
    for _ in range(seconds):
        world.work()
        world.sweep.once()
        world.clock.advance(1)


def cut_off(world: FlowWorld) -> str:
    """A run whose POST has just been cut off."""
    run = world.take().run_id
    world.gitlab.cut_next_creation(late=True)
    while not world.gitlab.late:
        world.sweep.once()
        world.work()
        world.show_refs()
        world.clock.advance(1)
    return run


@pytest.mark.parametrize("seconds", [0, 5, 10])
def test_a_slow_gitlab_that_makes_the_pipeline_after_the_cut_makes_one(world: FlowWorld, seconds: int) -> None:
    """The first look misses it, the second one finds it."""
    run = cut_off(world)
    second_by_second(world, seconds)
    assert world.run(run).facts["pipeline"].keys() <= {"intent", "fence", "missed"}
    world.gitlab.finish_creations()
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert len(world.gitlab.pipelines) == 1


def test_a_pipeline_that_was_missed_twice_ten_seconds_apart_is_made_again(
    world: FlowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.take().run_id
    world.gitlab.cut_next_creation(late=True)  # and GitLab forgets it
    looks = list[datetime]()
    find = world.gitlab.find_pipeline

    def look(project: int, name: str) -> Pipeline | None:
        looks.append(world.clock.now())
        return find(project, name)

    monkeypatch.setattr(world.gitlab, "find_pipeline", look)
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert len(looks) == 2
    assert (looks[1] - looks[0]).total_seconds() >= 10
    assert len(world.gitlab.pipelines) == 1


def test_a_creation_that_gitlab_refused_for_now_is_sent_again_without_a_look(world: FlowWorld) -> None:
    run = world.take().run_id
    world.gitlab.fail("create_pipeline", SyncError("rate_limited", "429"))
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert "find_pipeline" not in world.gitlab.calls


def test_creations_that_are_cut_off_again_and_again_end(world: FlowWorld) -> None:
    """The looks between them are no success that would let it go on for ever."""
    run = world.take().run_id
    for _ in range(99):
        world.gitlab.cut_next_creation(late=True)
    world.settle(run, rounds=200)
    assert (world.run(run).status, world.run(run).error) == (Status.FAILED, "gitlab_unreachable")
