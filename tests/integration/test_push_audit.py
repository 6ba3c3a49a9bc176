"""Each tag that modsync puts into a mirror is one entry of the audit log, whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.adapters.access_store import SqlAuditStore
from app.domain.audit import Entry
from app.domain.errors import SyncError
from app.domain.run import Stage, Status
from app.services.stores import ReplayOrder
from tests.contract.fake_git import FakeCopy
from tests.integration.flow_world import MIRROR, FlowWorld

LOST = SyncError("git_timeout", "the push had no answer")


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def entries(world: FlowWorld, action: str) -> list[Entry]:
    return [each for each in SqlAuditStore(world.engine).entries() if each.action == action]


def brought(world: FlowWorld, run: str) -> list[Entry]:
    """The pushes, once the run is done."""
    world.settle(run)
    assert world.run(run).status is Status.DONE
    return entries(world, "push")


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> Callable[[SyncError], None]:
    """The next push ends with this error, after it went through."""

    def once(error: SyncError) -> None:
        real, left = FakeCopy.push, [error]

        def push(copy: FakeCopy, *given: Any) -> frozenset[str]:
            changed = real(copy, *given)
            if left:
                raise left.pop()
            return changed

        monkeypatch.setattr(FakeCopy, "push", push)

    return once


def test_a_push_is_one_entry_with_the_branchs_way(world: FlowWorld) -> None:
    (entry,) = brought(world, first := world.take().run_id)
    assert (entry.actor, entry.object) == (f"run:{first}", f"mirror:{MIRROR}")
    assert entry.before == {"branch": {"ci-sync": None}}
    assert entry.after == {
        "tag": "v1.0.0", "object": world.commit, "commit": world.commit, "run": first, "branch": {"ci-sync": world.commit},
    }  # fmt: skip
    commit = world.source.commit({"next.go": b""})
    world.source.tag("v1.1.0", commit)
    second = brought(world, world.take("v1.1.0", commit).run_id)[1]
    assert second.before == {"branch": {"ci-sync": world.commit}}
    assert second.after["branch"] == {"ci-sync": commit}


@pytest.mark.parametrize("remembered", [False, True])
def test_a_push_without_an_answer_is_one_entry(
    world: FlowWorld, pushed: Callable[[SyncError], None], remembered: bool
) -> None:
    """Whether the next try looks at the mirror first, or pushes once more what it remembers."""
    if remembered:
        brought(world, world.take().run_id)
    commit = world.source.commit({"next.go": b""})
    world.source.tag("v1.1.0", commit)
    pushed(LOST)
    run = world.take("v1.1.0", commit).run_id
    last = brought(world, run)[-1]
    assert [each.after["tag"] for each in entries(world, "push")] == ["v1.0.0", "v1.1.0"][1 - remembered :]
    before = world.commit if remembered else None
    assert (last.before, last.after["branch"]) == ({"branch": {"ci-sync": before}}, {"ci-sync": commit})
    assert world.run(run).facts["push"]["new"] is True


def test_a_push_that_could_not_be_read_back_is_one_entry(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = world.git.remote_refs, []

    def remote_refs(*given: Any, **more: Any) -> Any:
        asked.append(given)
        if len(asked) == 2:  # the first one looked before the push
            raise SyncError("gitlab_unavailable", "away")
        return real(*given, **more)

    monkeypatch.setattr(world.git, "remote_refs", remote_refs)
    assert len(brought(world, world.take().run_id)) == 1
    assert len(asked) > 2


def test_a_run_that_ends_without_an_answer_is_one_entry_and_its_replay_none(
    world: FlowWorld, pushed: Callable[[SyncError], None]
) -> None:
    run = world.take().run_id
    pushed(LOST)
    world.advance(run)
    assert entries(world, "push") == []
    world.git.fail("source", *[SyncError("git_timeout", "away")] * 99)
    world.settle(run, rounds=120)
    (entry,) = entries(world, "push")
    assert (world.run(run).status, entry.after["tag"], entry.after["answer"]) == (Status.FAILED, "v1.0.0", "none")
    world.git._failures.clear()
    world.replays.replay(run, ReplayOrder("cli:me", ""), None, world.clock.now())
    assert len(brought(world, run)) == 1


def test_a_run_that_is_cancelled_without_an_answer_is_one_entry(
    world: FlowWorld, pushed: Callable[[SyncError], None]
) -> None:
    run = world.take().run_id
    pushed(LOST)
    world.advance(run)
    world.replays.cancel(run, "cli:me", world.clock.now())
    assert [each.after["tag"] for each in entries(world, "push")] == ["v1.0.0"]
    world.replays.replay(run, ReplayOrder("cli:me", ""), None, world.clock.now())
    assert len(brought(world, run)) == 1


@pytest.mark.parametrize("remembered", [False, True])
def test_a_tag_that_was_there_is_no_push(world: FlowWorld, remembered: bool) -> None:
    if remembered:
        brought(world, world.take().run_id)
    commit = world.source.commit({"next.go": b""})
    world.source.tag("v1.1.0", commit)
    world.mirror.commits |= world.source.commits
    world.mirror.refs["refs/tags/v1.1.0"] = commit
    run = world.take("v1.1.0", commit).run_id
    found = brought(world, run)
    assert [each.after["tag"] for each in found if "tag" in each.after] == ["v1.0.0"][1 - remembered :]
    assert world.run(run).facts["push"]["new"] is False
    # ci-sync went there, and that is told.
    assert found[-1].after["branch"] == {"ci-sync": commit}


def test_a_replay_from_the_mirror_stage_is_no_second_push(world: FlowWorld) -> None:
    run = world.take().run_id
    assert len(brought(world, run)) == 1
    order = ReplayOrder("cli:me", "", from_stage=Stage.MIRROR, force=True)
    world.replays.replay(run, order, None, world.clock.now())
    assert len(brought(world, run)) == 1


def test_a_refused_push_is_forgotten(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else puts the tag there afterwards: that is no push of ours."""

    def refuse(*_: Any) -> frozenset[str]:
        _[4]()
        raise SyncError("tag_protected", "no")

    with monkeypatch.context() as patch:
        patch.setattr(FakeCopy, "push", refuse)
        run = world.take().run_id
        world.settle(run)
    assert world.run(run).status is Status.FAILED
    world.mirror.commits |= world.source.commits
    world.mirror.refs |= {"refs/tags/v1.0.0": world.commit, "refs/heads/ci-sync": world.commit}
    world.replays.replay(run, ReplayOrder("cli:me", ""), None, world.clock.now())
    assert brought(world, run) == []
