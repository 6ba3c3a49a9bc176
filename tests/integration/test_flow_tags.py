"""Runs whose events name no commit, through the flow: one look at the source for all that wait for a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.run import Status
from tests.integration.flow_world import FlowWorld


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def test_a_run_without_a_commit_takes_the_tags(world: FlowWorld) -> None:
    run = world.take(commit="").run_id
    world.settle(run)
    assert (world.run(run).status, world.run(run).commit) == (Status.DONE, world.commit)


def test_a_run_without_a_commit_waits_for_the_tag(world: FlowWorld) -> None:
    run = world.take("v1.1.0", commit="").run_id
    world.advance(run)
    assert (world.run(run).error, world.run(run).commit) == ("tag_missing", "")
    world.source.tag("v1.1.0", world.commit)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_two_events_of_one_tag_are_one_release(world: FlowWorld) -> None:
    published, pushed = world.take(commit="").run_id, world.take().run_id
    world.settle(published, pushed)
    ended = {world.run(each).status: world.run(each).error for each in (published, pushed)}
    assert ended == {Status.DONE: None, Status.REJECTED: "duplicate_release"}


def test_many_runs_without_a_commit_share_one_look_one_fetch_and_one_push(world: FlowWorld) -> None:
    versions = [f"v1.0.{number}" for number in range(40)]
    for version in versions:
        world.source.tag(version, world.commit)
    runs = [world.take(version, commit="").run_id for version in versions]
    world.advance(runs[0])
    assert {world.run(each).commit for each in runs} == {world.commit}
    assert [world.git.calls.count(each) for each in ("fetch", "push")] == [1, 1]
    assert world.git.calls[0] == "remote_refs"
    world.settle(*runs)
    assert {world.run(each).status for each in runs} == {Status.DONE}
    assert {f"refs/tags/{each}" for each in versions} <= set(world.mirror.refs)
