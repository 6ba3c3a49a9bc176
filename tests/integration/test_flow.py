"""The flow over a real database: stages, retries, batches, branches, moved versions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.adapters.database import writing
from app.adapters.tables import runs
from app.domain.errors import SyncError
from app.domain.run import Stage, Status
from app.services.flow import RunFailedError
from app.services.stopping import Stop
from app.services.stores import ReplayOrder
from tests.integration.flow_world import GO_MOD, MIRROR, FlowWorld
from tests.integration.fuses import Fuse


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def test_a_release_goes_through(world: FlowWorld) -> None:
    run = world.take().run_id
    world.settle(run)

    done = world.run(run)
    assert (done.status, done.attempt, done.error) == (Status.DONE, 1, None)
    assert world.mirror.refs == {"refs/heads/ci-sync": world.commit, "refs/tags/v1.0.0": world.commit}
    assert world.git.pushed_options == [("ci.skip",)]
    assert done.facts["verify"]["h1"] == done.facts["proof"]["h1"]
    (pipeline,) = world.gitlab.pipelines.values()
    assert pipeline.ref == "ci-sync"
    assert pipeline.variables["MODSYNC_COMMIT"] == world.commit


def test_waiting_releases_of_a_repository_share_a_fetch_and_a_push(world: FlowWorld) -> None:
    runs = [world.take().run_id]
    for number in range(1, 6):
        commit = world.source.commit({f"{number}.go": b""})
        world.source.tag(f"v1.0.{number}", commit)
        runs.append(world.take(f"v1.0.{number}", commit).run_id)
    world.settle(*runs)

    assert {world.run(run).status for run in runs} == {Status.DONE}
    assert world.git.calls.count("fetch") == world.git.calls.count("push") == 1
    assert len(world.gitlab.pipelines) == 6
    assert world.mirror.refs["refs/heads/ci-sync"] == world.mirror.refs["refs/tags/v1.0.5"]


def test_one_bad_release_of_a_batch_does_not_stop_the_others(world: FlowWorld) -> None:
    good, bad = world.take().run_id, world.take("v1.0.1", "f" * 40).run_id
    world.source.tag("v1.0.1", world.commit)
    world.settle(good, bad)

    assert world.run(good).status is Status.DONE
    assert (world.run(bad).status, world.run(bad).error) == (Status.FAILED, "commit_mismatch")
    assert "refs/tags/v1.0.1" not in world.mirror.refs


def test_a_missing_tag_is_waited_for(world: FlowWorld) -> None:
    run = world.take("v1.1.0").run_id
    world.advance(run)
    waiting = world.run(run)
    assert (waiting.status, waiting.error) == (Status.MIRROR, "tag_missing")
    assert waiting.due_at is not None
    assert waiting.due_at > world.clock.now()
    assert waiting.lease_owner is None  # a waiting run holds no worker

    world.source.tag("v1.1.0", world.commit)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_missing_tag_is_made_where_the_rule_says_so(world: FlowWorld) -> None:
    run = world.take("v1.1.0", tags="make").run_id
    world.settle(run)
    assert world.run(run).status is Status.DONE
    at = world.mirror.at("refs/tags/v1.1.0")
    assert at is not None
    assert at.commit == world.commit


def test_retries_end_and_a_failed_run_fails_its_job(world: FlowWorld) -> None:
    run = world.take("v1.1.0").run_id
    for _ in range(60):
        world.clock.advance(1)
        world.flow().advance(run)
    assert world.run(run).status is Status.MIRROR
    world.clock.advance(10)
    with pytest.raises(RunFailedError, match=f"{run} failed: tag_missing"):
        world.flow().advance(run)
    assert world.run(run).tries > 5


@pytest.mark.parametrize("stage", list(Stage))
def test_a_replay_starts_at_the_stage_that_is_asked_for(world: FlowWorld, stage: Stage) -> None:
    run = world.take().run_id
    world.settle(run)
    fetched, made = world.git.calls.count("fetch"), len(world.gitlab.pipelines)

    world.replays.replay(run, ReplayOrder("cli:me", "why", stage, force=True), None, world.clock.now())
    world.settle(run)

    assert (world.run(run).status, world.run(run).attempt) == (Status.DONE, 2)
    assert world.git.calls.count("fetch") - fetched == (stage is Stage.MIRROR)
    assert len(world.gitlab.pipelines) - made == (stage is not Stage.VERIFY)


def test_a_tag_that_is_in_the_mirror_at_the_same_commit_is_success(world: FlowWorld) -> None:
    world.mirror.commits = dict(world.source.commits)
    world.mirror.refs["refs/tags/v1.0.0"] = world.commit
    run = world.take().run_id
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert world.run(run).facts["push"]["new"] is False


def test_a_tag_that_is_in_the_mirror_at_another_commit_is_rejected(world: FlowWorld) -> None:
    other = world.mirror.commit({"other": b""})
    world.mirror.tag("v1.0.0", other)
    run = world.take().run_id
    world.settle(run)
    assert (world.run(run).status, world.run(run).error) == (Status.REJECTED, "version_moved")
    assert world.mirror.refs["refs/tags/v1.0.0"] == other


def test_somebody_else_pushes_meanwhile(world: FlowWorld) -> None:
    first = world.take().run_id
    world.settle(first)
    world.mirror.commits = dict(world.source.commits)
    commit = world.source.commit({"2.go": b""})
    world.source.tag("v1.1.0", commit)
    foreign = world.mirror.commit({"foreign": b""}, branch="ci-sync")
    assert world.mirror.refs["refs/heads/ci-sync"] == foreign

    second = world.take("v1.1.0", commit).run_id
    world.settle(second)

    assert world.run(second).status is Status.DONE  # the remembered sha was refused, observed, planned again
    assert world.mirror.refs["refs/heads/ci-sync"] == commit


def test_a_pipeline_that_fails_names_its_job(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "failed", "the last lines")
    world.settle(run)
    failed = world.run(run)
    assert (failed.status, failed.error) == (Status.FAILED, "pipeline_failed")
    assert "the last lines" in (failed.error_message or "")


@pytest.mark.parametrize(
    ("status", "code"),
    [("canceled", "pipeline_canceled"), ("skipped", "pipeline_skipped"), ("manual", "pipeline_blocked")],
)
def test_pipelines_that_end_otherwise(world: FlowWorld, status: str, code: str) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, status)
    world.settle(run)
    assert (world.run(run).status, world.run(run).error) == (Status.FAILED, code)


def test_an_outage_after_a_long_pipeline_is_retried(world: FlowWorld) -> None:
    """Retries are counted from the first failure, not from when the stage began."""
    run = world.take_to_pipeline()
    for _ in range(80):
        world.clock.advance(30)
        world.advance(run)
    world.clock.advance(30)
    world.gitlab.fail("pipeline", SyncError("gitlab_unavailable", "502"))
    world.advance(run)
    assert (world.run(run).status, world.run(run).error, world.run(run).tries) == (
        Status.PIPELINE, "gitlab_unavailable", 1,
    )  # fmt: skip
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_pipeline_state_that_nobody_knows_is_active(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "brand_new_state")
    world.clock.advance(2)
    world.advance(run)
    assert world.run(run).status is Status.PIPELINE
    world.gitlab.finish(1, "success")
    world.cache("v1.0.0")
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_creation_whose_answer_was_cut_off_is_looked_for_by_name(world: FlowWorld) -> None:
    run = world.take().run_id
    world.gitlab.cut_next_creation()
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert len(world.gitlab.pipelines) == 1


def test_what_the_proxy_serves_is_compared(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.world_goes_on()
    ((name, held),) = world.proxy.held.items()
    world.proxy.hold(name[0], held.info, held.mod, b"something else")
    world.settle(run)
    assert (world.run(run).status, world.run(run).error) == (Status.REJECTED, "served_other_content")


def test_a_defect_of_ours_ends_the_run_with_a_verdict(world: FlowWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.take().run_id
    monkeypatch.setattr(world.gitlab, "ensure_project", lambda path: 1 / 0)
    world.settle(run, rounds=100)
    assert (world.run(run).status, world.run(run).error) == (Status.FAILED, "internal")


def test_an_overtaken_worker_records_nothing(world: FlowWorld) -> None:
    run = world.take().run_id

    class Steal(Fuse):
        def around(self, name: str):  # type: ignore[no-untyped-def]
            if name == "cache.fetch":
                world.clock.advance(11)  # the first worker was paused for longer than its lease
                assert world.flow(Fuse())._store.claim(run, "thief", world.clock.now(), 10) is not None
            return super().around(name)

    world.flow(Steal()).advance(run)

    assert world.run(run).lease_owner == "thief"
    assert world.mirror.refs == {}
    assert not world.run(run).facts


class TakenOver(Fuse):
    """At the first call of that name the run is another worker's, and the clock has not moved."""

    def __init__(self, world: FlowWorld, run: str, name: str) -> None:
        super().__init__()
        self._world, self._run, self._name = world, run, name

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        if name == self._name and name not in self.seen:
            with writing(self._world.engine) as connection:
                theirs = {"fence": runs.c.fence + 1, "lease_owner": "thief"}
                connection.execute(update(runs).where(runs.c.id == self._run).values(theirs))
        with super().around(name):
            yield


def test_the_fence_is_asked_before_a_push(world: FlowWorld) -> None:
    """Nothing here tells the worker that it was overtaken, but the database."""
    run = world.take().run_id
    fuse = TakenOver(world, run, "store.renew")
    world.advance(run, fuse)

    assert "store.renew" in fuse.seen
    assert world.run(run).lease_owner == "thief"
    assert world.mirror.refs == {}


def test_of_a_batch_whose_worker_is_overtaken_no_release_fails(world: FlowWorld) -> None:
    """One of them is cancelled while they are pushed together: the others are taken up again."""
    first, commit = world.take().run_id, world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    second = world.take("v1.0.1", commit).run_id
    world.advance(first, TakenOver(world, first, "cache.push"))
    other = world.run(second)
    assert (other.status, other.error) == (Status.MIRROR, None)
    world.clock.advance(60)
    world.settle(second)
    assert world.run(second).status is Status.DONE


def test_a_replay_of_what_is_mirrored_leaves_the_branch_at_the_newest(world: FlowWorld) -> None:
    world.settle(first := world.take().run_id)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    world.settle(world.take("v1.0.1", commit).run_id)
    world.replays.replay(first, ReplayOrder("cli:me", "", Stage.MIRROR, force=True), None, world.clock.now())
    world.settle(first)
    assert (world.run(first).status, world.mirror.refs["refs/heads/ci-sync"]) == (Status.DONE, commit)


def test_a_worker_that_is_asked_to_stop_hands_its_run_over(world: FlowWorld) -> None:
    run = world.take().run_id
    world.stop.ask()
    world.advance(run)
    handed = world.run(run)
    assert (handed.status, handed.lease_owner) == (Status.MIRROR, None)
    assert world.queue.jobs == [(f"{run}-1-2", run)]


def test_a_step_that_ends_after_its_time_is_handed_over_all_the_same(
    world: FlowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to GitLab asks for no lease meanwhile: it ends late, but it ends, and nobody has to wait for the lease."""
    world.stop = Stop(patience=0)
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "success")
    look = world.gitlab.pipeline

    def late(*args: Any) -> Any:
        world.stop.ask()
        return look(*args)

    monkeypatch.setattr(world.gitlab, "pipeline", late)
    world.clock.advance(2)
    world.queue.jobs.clear()
    world.advance(run)
    handed = world.run(run)
    assert (handed.status, handed.lease_owner) == (Status.VERIFY, None)
    assert [each for _, each in world.queue.jobs] == [run]


def test_a_mirror_that_is_taken_is_waited_for_without_a_worker(world: FlowWorld) -> None:
    run = world.take().run_id
    store = world.flow()._store
    assert store.lease_mirror(MIRROR, "somebody", world.clock.now(), 10) is not None  # type: ignore[attr-defined]
    world.advance(run)
    assert (world.run(run).lease_owner, world.run(run).tries) == (None, 0)
    world.clock.advance(11)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_mirror_that_was_deleted_is_made_and_set_up_anew(world: FlowWorld) -> None:
    world.settle(world.take().run_id)
    del world.gitlab.projects[MIRROR]
    world.gitlab.projects["someone/else"] = replace(world.gitlab.ensure_project(MIRROR), id=7)
    made = world.gitlab.projects.pop(MIRROR)
    world.source.tag("v1.1.0", world.source.commit({"go.mod": GO_MOD, "more.go": b""}))
    world.gitlab.calls.clear()
    run = world.take("v1.1.0", world.source.refs["refs/tags/v1.1.0"]).run_id
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert world.gitlab.calls.index("find_project") < world.gitlab.calls.index("ensure_project")
    assert world.run(run).facts["project"]["id"] == world.gitlab.projects[MIRROR].id != made.id


def test_a_branch_takes_its_version_and_a_second_branch_finds_it_taken(world: FlowWorld) -> None:
    run = world.take(None, ref="main").run_id
    world.settle(run)
    assert (world.run(run).status, world.run(run).version) == (Status.DONE, "v1.0.0")

    again = world.take(None, ref="release").run_id
    world.settle(again)
    assert (world.run(again).status, world.run(again).error) == (Status.REJECTED, "duplicate_release")


def test_a_branch_brings_no_prerelease_that_the_policy_leaves_out(world: FlowWorld) -> None:
    world.source.tag("v1.1.0-rc.1", world.commit)
    world.prereleases = False
    run = world.take(None, ref="main").run_id
    world.settle(run)
    assert (world.run(run).status, world.run(run).version) == (Status.DONE, "v1.0.0")
    assert "refs/tags/v1.1.0-rc.1" not in world.mirror.refs
    only = world.source.commit({"go.mod": GO_MOD, "more.go": b""})
    world.source.tag("v1.2.0-rc.1", only)
    left_out = world.take(None, only, "main").run_id
    world.settle(left_out)
    assert world.run(left_out).error == "no_version"


def test_errors_of_the_source_are_retried_and_survived(world: FlowWorld) -> None:
    run = world.take().run_id
    world.git.fail("fetch", SyncError("source_unreachable", "no route"), SyncError("git_timeout", "slow"))
    world.settle(run)
    assert world.run(run).status is Status.DONE
