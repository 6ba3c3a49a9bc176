"""Real processes are killed or paused at a known moment: work goes on within ten seconds, with the same result."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from app.adapters.ops_store import SqlReplayStore
from tests.integration.recovery_world import BEFORE_PUSH, RECOVERY_SECONDS, Stage, paused, staged, until
from tests.sandbox.gitlab import faults
from tests.sandbox.looked_at import gone
from tests.sandbox.world import MIRRORS

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("recovery")) as made:
        yield made


def _git_of(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def test_a_killed_job_goes_on_elsewhere_and_its_git_is_gone(stage: Stage) -> None:
    with stage.slow_push(12) as (release, run):
        before, horse = stage.row(run), stage.horse(run)
        git = _git_of(horse)
        assert git
        horse.kill()

        until(lambda: all(map(gone, git)), 3, "git to end with its job")
        until(lambda: stage.row(run).fence > before.fence, RECOVERY_SECONDS, "another worker to take the run")
    stage.ends_well(release, run)
    assert stage.service.run(run)["attempt"] == 1
    until(
        lambda: not stage.jobs_taken() and not stage.queue.failed_job_registry.get_job_ids(),
        20,
        "RQ's lists to be true",
    )


def test_a_job_whose_parent_was_killed_hands_its_run_back(stage: Stage) -> None:
    with stage.slow_push(12) as (release, run):
        before, horse = stage.row(run), stage.horse(run)
        git = _git_of(horse)
        parent = horse.parent()
        assert parent is not None
        parent.kill()

        until(lambda: all(map(gone, [horse, *git])), 5, "job and git to end with the worker")
        until(lambda: stage.row(run).fence > before.fence, RECOVERY_SECONDS, "another worker to take the run")
    stage.ends_well(release, run)
    until(lambda: stage.registered_workers() == stage.working_processes(), 50, "RQ to know the workers that there are")


def test_workers_end_when_their_supervisor_was_killed(stage: Stage) -> None:
    with stage.slow_push(12) as (release, run):
        family = stage.family("worker")
        stage.first("worker").kill()

        until(lambda: all(map(gone, family)), RECOVERY_SECONDS, "workers, job and git to end")
        stage.start_again("worker")
    stage.ends_well(release, run)


def test_a_push_that_takes_longer_than_its_lease_keeps_it_and_ends_when_it_is_lost(stage: Stage) -> None:
    """The push hangs before it sent anything: what a git that is ended had sent already might still be taken."""
    with stage.slow_push(20, BEFORE_PUSH) as (release, run):
        before, git = stage.row(run), _git_of(stage.horse(run))
        assert git
        until(lambda: stage.row(run).lease_until > before.lease_until + timedelta(seconds=6), 12, "the lease's beats")
        assert stage.row(run).fence == before.fence
        assert not any(map(gone, git))

        SqlReplayStore(stage.engine).cancel(run, "test", datetime.now(UTC))
        until(lambda: all(map(gone, git)), 4, "git to end with its lease")
    assert stage.row(run).error == "cancelled"
    assert release.tag not in str(stage.world.gitlab.refs(f"{MIRRORS}/{release.repository}"))


def test_a_job_that_stands_still_is_overtaken_and_ended_by_its_successor(stage: Stage) -> None:
    with stage.slow_push(12) as (release, run):
        before, horse = stage.row(run), stage.horse(run)
        git = _git_of(horse)
        with paused(horse):
            until(lambda: stage.row(run).fence > before.fence, RECOVERY_SECONDS, "another worker to take the run")
            until(lambda: all(map(gone, [horse, *git])), RECOVERY_SECONDS, "the silent job to end with its git")
            stage.ends_well(release, run)
            ended = stage.row(run)
    assert stage.row(run) == ended


def test_jobs_that_stand_still_hold_up_no_worker(stage: Stage) -> None:
    with stage.slow_push(15) as (release, run), stage.slow_push(15) as (other_release, other):
        horses = [stage.horse(run), stage.horse(other)]
        with paused(*horses):
            until(lambda: all(map(gone, horses)), RECOVERY_SECONDS, "the workers to end their silent jobs")
            stage.ends_well(*stage.release())
    stage.ends_well(release, run)
    stage.ends_well(other_release, other)


def test_the_web_server_is_back_after_each_of_its_processes_was_killed(stage: Stage) -> None:
    for kill_first in (False, True):
        children = stage.first("web").children()
        (stage.first("web") if kill_first else children[0]).kill()
        if kill_first:
            stage.start_again("web")
        until(lambda: all(map(gone, children)), RECOVERY_SECONDS, "the old processes to end")  # noqa: B023
        until(stage.web_is_up, RECOVERY_SECONDS, "the web server")
        stage.ends_well(*stage.release())


def test_one_of_two_sweepers_works_and_the_other_takes_over(stage: Stage) -> None:
    until(stage.sweeper, RECOVERY_SECONDS, "the first sweeper")
    first = stage.first("sweeper")
    stage.service.start_role("sweeper")
    second = stage.first("sweeper")
    assert _is(stage.sweeper(), first)

    with paused(first):
        until(lambda: _is(stage.sweeper(), second), RECOVERY_SECONDS, "the second one, for the first hangs")
    second.kill()
    until(lambda: _is(stage.sweeper(), first), RECOVERY_SECONDS, "the first one, for the second is dead")
    stage.start_again("sweeper")
    first.terminate()
    # The third one has to start first: an interpreter under coverage on a busy machine takes its time.
    until(lambda: _is(stage.sweeper(), stage.first("sweeper")), 4 * RECOVERY_SECONDS, "the third one")
    until(lambda: gone(first), RECOVERY_SECONDS, "the first one's end")


def _is(owner: str | None, process: psutil.Process) -> bool:
    return owner is not None and owner.split(":")[1] == str(process.pid)


@pytest.mark.parametrize("role", ["web", "sweeper", "redis", "worker"])
def test_every_process_ends_soon_after_sigterm_and_leaves_no_child(stage: Stage, role: str) -> None:
    with stage.slow_push(20 if role == "worker" else 4) as (release, run):
        family = stage.family(role)
        stage.first(role).send_signal(signal.SIGTERM)
        until(lambda: all(map(gone, family)), RECOVERY_SECONDS, f"{role} to end")
        if role == "worker":
            handed_back = stage.row(run)
            assert handed_back.lease_owner is None
            assert handed_back.active
        stage.start_again(role)
    until(stage.redis_is_up, RECOVERY_SECONDS, "Redis")
    stage.service.wait_ready()
    stage.ends_well(release, run)


def test_a_request_that_hangs_holds_up_no_end_and_its_run_is_handed_back(stage: Stage) -> None:
    fault = stage.world.gitlab.faults.add("GET /api/v4/projects", faults.slow(25))
    release, run = stage.release()
    until(lambda: fault.used == 1, 30, "GitLab to be asked")
    family = stage.family("worker")
    stage.first("worker").send_signal(signal.SIGTERM)
    until(lambda: all(map(gone, family)), RECOVERY_SECONDS, "the workers to end")
    handed_back = stage.row(run)
    assert (handed_back.lease_owner, handed_back.active) == (None, True)
    stage.start_again("worker")
    until(lambda: stage.row(run).fence > handed_back.fence, 3 * RECOVERY_SECONDS, "the new worker to take the run")
    stage.ends_well(release, run)


@pytest.mark.parametrize("role", ["web", "sweeper", "worker"])
def test_sigterm_ends_a_process_while_redis_hangs(stage: Stage, role: str) -> None:
    family = stage.family(role)
    with paused(stage.first("redis")):
        stage.first(role).send_signal(signal.SIGTERM)
        until(lambda: all(map(gone, family)), RECOVERY_SECONDS, f"{role} to end")
    stage.start_again(role)
    stage.service.wait_ready()
    stage.ends_well(*stage.release())
