"""Claims, outcomes, leases and sweeps on both databases, one caller at a time; the races are in test_stores_races.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.run import Claim, Stage, Status
from app.services.stores import ReplayOrder, StepRecord
from tests.integration.stored import LEASE, MODULE, ORDER, PUSHED, TARGET, A, B, Stored, change_of

Take = Callable[[Stored, Claim, str], str | None]


def overtaken(stored: Stored, claim: Claim) -> bool:
    """True when the claim's holder is told so and nothing at all was written."""
    run_id = claim.run.id
    before = stored.row(run_id), stored.steps(run_id), stored.attempts(run_id), stored.held()
    step = StepRecord(Stage.MIRROR, "ok", stored.now, stored.now)
    change = change_of(claim.run, Status.PIPELINE, stage=Stage.PIPELINE, pushed=True, hand_over=True)
    with pytest.raises(SyncError) as caught:
        stored.flow.record(claim, step, change, stored.now)
    assert (stored.row(run_id), stored.steps(run_id), stored.attempts(run_id), stored.held()) == before
    return caught.value.code == "overtaken"


# --- claims -------------------------------------------------------------------------------------------------------


def test_a_claim_begins_the_stage_and_spends_the_job(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.claim(run_id)
    row = stored.row(run_id)
    assert (claim.fence, row["fence"], row["lease_owner"]) == (1, 1, "worker-1")
    assert (row["status"], row["job_at"]) == ("mirror", None)
    assert row["lease_until"] == stored.now + timedelta(seconds=LEASE)


def test_a_claimed_an_ended_and_an_unknown_run_cannot_be_claimed(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.claim(run_id)
    assert stored.flow.claim(run_id, "worker-2", stored.now, LEASE) is None
    stored.record(claim, Status.FAILED, error="internal")
    assert stored.flow.claim(run_id, "worker-2", stored.later(60), LEASE) is None
    assert stored.flow.claim("r" + "0" * 19, "worker-2", stored.now, LEASE) is None


def test_a_run_that_waits_cannot_be_claimed_before_its_time(stored: Stored) -> None:
    run_id = stored.release().run_id
    due_at = stored.now + timedelta(seconds=30)
    stored.record(stored.claim(run_id), Status.MIRROR, error="tag_missing", due_at=due_at, tries=1)
    assert stored.flow.claim(run_id, "worker-2", due_at - timedelta(microseconds=1), LEASE) is None
    claim = stored.flow.claim(run_id, "worker-2", due_at, LEASE)
    assert claim is not None
    assert (claim.run.tries, claim.run.error) == (1, "tag_missing")


def test_a_job_of_a_host_whose_clock_is_ahead_is_not_lost(stored: Stored) -> None:
    """As from intake, and as from a sweeper that saw the end of a pause after an error."""
    run_id = stored.release().run_id
    first = stored.flow.claim(run_id, "worker-1", stored.now - timedelta(seconds=2), LEASE)
    assert first is not None
    due_at = stored.now + timedelta(seconds=30)
    stored.record(first, Status.MIRROR, error="tag_missing", due_at=due_at, tries=1)
    assert stored.flow.claim(run_id, "worker-2", due_at - timedelta(milliseconds=1), LEASE) is None  # an old job
    stored.sweep.give_jobs(stored.sweep.due(due_at, due_at, 10), due_at)
    assert stored.flow.claim(run_id, "worker-2", due_at - timedelta(seconds=2.001), LEASE) is None
    assert stored.flow.claim(run_id, "worker-2", due_at - timedelta(seconds=2), LEASE) is not None


def test_a_sibling_of_a_host_whose_clock_is_ahead_comes_along(stored: Stored) -> None:
    claim = stored.claim(stored.release(version="v1.0.0").run_id)
    ahead = stored.release(version="v1.1.0").run_id
    siblings = stored.flow.claim_siblings(claim, stored.now - timedelta(seconds=1), LEASE, 10)
    assert [each.run.id for each in siblings] == [ahead]


def test_an_expired_lease_is_taken_over_and_the_old_holder_is_told(stored: Stored) -> None:
    run_id = stored.release().run_id
    first = stored.claim(run_id)
    assert stored.flow.claim(run_id, "worker-2", stored.later(LEASE), LEASE) is None
    stored.later(0.001)
    # The same name: a worker that came back after a pause is not who it was.
    second = stored.claim(run_id, first.owner)
    assert second.fence == first.fence + 1
    assert overtaken(stored, first)
    assert not stored.flow.renew([first], None, stored.now, LEASE)
    stored.record(second, Status.PIPELINE, stage=Stage.PIPELINE, pushed=True)
    assert [step["stage"] for step in stored.steps(run_id)] == ["mirror"]


def test_renewing_is_all_or_nothing(stored: Stored) -> None:
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(2)]
    first, second = [stored.claim(run_id) for run_id in ids]
    mirror = stored.flow.lease_mirror(TARGET.mirror, "worker-1", stored.now, LEASE)
    assert stored.flow.renew([first, second], mirror, stored.later(), LEASE)
    until = stored.now + timedelta(seconds=LEASE)
    assert [stored.row(run_id)["lease_until"] for run_id in ids] == [until, until]
    stored.ops.cancel(ids[1], "cli:alice", stored.now)
    assert not stored.flow.renew([first, second], mirror, stored.later(), LEASE)
    assert stored.row(ids[0])["lease_until"] == until


def test_what_is_given_up_is_free_at_once_and_what_was_lost_is_left_alone(stored: Stored) -> None:
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(2)]
    first, second = [stored.claim(run_id) for run_id in ids]
    mirror = stored.flow.lease_mirror(TARGET.mirror, "worker-1", stored.now, LEASE)
    stored.ops.cancel(ids[1], "cli:alice", stored.now)
    cancelled = stored.row(ids[1])
    stored.flow.give_up([first, second], mirror)
    assert stored.row(ids[1]) == cancelled
    assert [each.id for each in stored.sweep.due(stored.now, stored.now, 10)] == [ids[0]]
    assert stored.claim(ids[0], "worker-2").fence == first.fence + 1
    assert stored.flow.lease_mirror(TARGET.mirror, "worker-2", stored.now, LEASE) is not None
    assert overtaken(stored, first)


def test_siblings_are_the_other_runs_that_wait_for_the_mirror(stored: Stored) -> None:
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(5)]
    stored.release(version=None)  # a branch: its versions are not known yet
    stored.release(version="v1.9.0", target=replace(TARGET, mirror="go-mirrors/other"))
    stored.push(stored.claim(ids[1]))
    stored.claim(ids[4], "worker-2")
    claim = stored.claim(ids[0])
    siblings = stored.flow.claim_siblings(claim, stored.now, LEASE, 10)
    assert [each.run.id for each in siblings] == [ids[2], ids[3]]
    assert {each.owner for each in siblings} == {"worker-1"}
    assert stored.flow.claim_siblings(claim, stored.now, LEASE, 10) == []


def test_no_sibling_is_what_lost_workers(stored: Stored) -> None:
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(4)]
    for run_id, times in ((ids[1], 2), (ids[2], 3)):
        for _ in range(times):
            stored.claim(run_id, "dead")
            stored.later(LEASE + 1)
            stored.sweep.give_jobs(stored.sweep.due(stored.now, stored.now, 10), stored.now)
    stored.claim(ids[3], "dead")
    claim = stored.claim(ids[0])
    stored.later(LEASE + 1)
    assert [each.run.id for each in stored.flow.claim_siblings(claim, stored.now, LEASE, 10)] == [ids[1]]


def test_siblings_that_only_found_the_mirror_taken_come_along_before_they_are_due(stored: Stored) -> None:
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(4)]
    busy, failed = stored.claim(ids[1], "worker-2"), stored.claim(ids[2], "worker-2")
    claim, soon = stored.claim(ids[0]), stored.now + timedelta(seconds=60)
    assert stored.flow.siblings_held(claim, stored.now)
    stored.record(busy, Status.MIRROR, due_at=soon)
    stored.record(failed, Status.MIRROR, due_at=soon, error="tag_missing")
    assert not stored.flow.siblings_held(claim, stored.now)
    siblings = stored.flow.claim_siblings(claim, stored.now, LEASE, 10, soon)
    assert [each.run.id for each in siblings] == [ids[1], ids[3]]
    assert not stored.flow.siblings_held(claim, stored.now)  # they are our own


def test_whom_nobody_waits_for(stored: Stored) -> None:
    """Runs of another mirror, of a later stage, and those of a dead worker."""
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(3)]
    elsewhere = stored.release(version="v1.9.0", target=replace(TARGET, mirror="go-mirrors/other")).run_id
    stored.claim(elsewhere, "worker-2")
    stored.push(stored.claim(ids[1], "worker-2"))
    claim = stored.claim(ids[0])
    assert not stored.flow.siblings_held(claim, stored.now)
    stored.claim(ids[2], "worker-2")
    assert stored.flow.siblings_held(claim, stored.now)
    assert not stored.flow.siblings_held(claim, stored.later(LEASE + 1))


def test_a_bound_is_kept_for_siblings(stored: Stored) -> None:
    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(4)]
    siblings = stored.flow.claim_siblings(stored.claim(ids[3]), stored.now, LEASE, 2)
    assert [each.run.id for each in siblings] == ids[:2]


# --- outcomes -----------------------------------------------------------------------------------------------------


def test_an_outcome_is_recorded_with_its_step(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.claim(run_id)
    begun = stored.now
    assert stored.record(claim, Status.PIPELINE, stage=Stage.PIPELINE, facts=PUSHED, pushed=True) is None
    run, row = stored.run(run_id), stored.row(run_id)
    assert (run.status, run.stage, run.facts, run.pushed_at) == (Status.PIPELINE, Stage.PIPELINE, PUSHED, stored.now)
    assert (row["lease_owner"], row["updated_at"]) == ("worker-1", stored.now)
    assert stored.held()["pushed_at"] == stored.now
    (step,) = stored.steps(run_id)
    assert (step["attempt"], step["stage"], step["outcome"]) == (1, "mirror", "ok")
    assert (step["started_at"], step["ended_at"]) == (begun, stored.now)


def test_a_run_that_is_handed_over_gets_the_attempts_next_job(stored: Stored) -> None:
    run_id = stored.release().run_id
    job = stored.record(stored.claim(run_id), Status.PIPELINE, stage=Stage.PIPELINE, pushed=True, hand_over=True)
    row = stored.row(run_id)
    assert (job, row["job"]) == (f"{run_id}-1-2",) * 2
    assert (row["job_at"], row["due_at"], row["lease_owner"]) == (stored.now, stored.now, None)


def test_the_end_of_a_run_ends_its_attempt(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.record(stored.claim(run_id), Status.REJECTED, error="version_moved")
    row = stored.row(run_id)
    assert (row["status"], row["error"], row["error_message"]) == (
        "rejected",
        "version_moved",
        "version_moved happened",
    )
    assert (row["active"], row["due_at"], row["lease_owner"], row["ended_at"]) == (False, None, None, stored.now)
    (attempt,) = stored.attempts(run_id)
    assert (attempt["outcome"], attempt["error"], attempt["ended_at"]) == ("rejected", "version_moved", stored.now)


def test_a_later_push_does_not_change_when_the_version_came_out(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, pushed=True)
    first = stored.held()["pushed_at"]
    stored.ops.replay(run_id, from_stage(Stage.MIRROR), TARGET, stored.later())
    stored.push(stored.claim(run_id))
    assert stored.held()["pushed_at"] == first


def from_stage(stage: Stage) -> ReplayOrder:
    return replace(ORDER, from_stage=stage)


def test_jobs_are_numbered_within_their_attempt(stored: Stored) -> None:
    run_id = stored.release().run_id
    jobs = [stored.row(run_id)["job"]]
    for number in range(2):
        stored.later(60)
        (due,) = stored.sweep.due(stored.now, stored.now, 10)
        assert due.job == jobs[-1], number
        jobs.append(stored.sweep.give_jobs([due], stored.now).get(due.id))
    stored.fail(run_id, error="tag_missing")
    jobs.append(stored.ops.replay(run_id, from_stage(Stage.MIRROR), None, stored.now).job)
    assert jobs == [f"{run_id}-{place}" for place in ("1-1", "1-2", "1-3", "2-1")]


# --- a branch's version -------------------------------------------------------------------------------------------


def taken(stored: Stored, claim: Claim, version: str) -> str | None:
    refusal = stored.flow.take_version(claim, Version.parse(version), claim.run.commit, stored.now)
    return refusal.code if refusal else None


def test_a_branchs_run_takes_its_version(stored: Stored) -> None:
    run_id = stored.release(A, None).run_id
    assert taken(stored, stored.claim(run_id), "v1.0.0") is None
    assert (stored.run(run_id).version, stored.held()["run_id"]) == ("v1.0.0", run_id)
    # From now on the tag's own webhook is the same release.
    assert stored.release(A, "v1.0.0").run_id == run_id


def test_a_branchs_run_does_not_take_what_others_have(stored: Stored) -> None:
    branch = stored.claim(stored.release(A, None).run_id)
    stored.release(A, "v1.0.0")
    stored.release(B, "v1.1.0")
    assert taken(stored, branch, "v1.0.0") == "duplicate_release"
    assert taken(stored, branch, "v1.1.0") == "version_moved"
    assert stored.run(branch.run.id).version is None


def test_an_overtaken_worker_takes_no_version(stored: Stored) -> None:
    run_id = stored.release(A, None).run_id
    claim = stored.claim(run_id)
    stored.ops.cancel(run_id, "cli:alice", stored.now)
    with pytest.raises(SyncError, match="overtaken"):
        taken(stored, claim, "v1.0.0")
    assert stored.release(B, "v1.0.0").status is Status.QUEUED


def renamed(stored: Stored, claim: Claim, version: str) -> str | None:
    refusal = stored.flow.take_name(claim, ModulePath.parse(MODULE), Version.parse(version), stored.now)
    return refusal.code if refusal else None


@pytest.mark.parametrize("take", [taken, renamed])
def test_a_release_that_failed_begins_anew_when_another_run_finds_it(stored: Stored, take: Take) -> None:
    other = stored.release(A, "v1.0.0").run_id
    stored.fail(other, error="tag_missing")
    claim = stored.claim(stored.release(A, None, ref="refs/tags/v1.0.0").run_id)
    assert take(stored, claim, "v1.0.0") == "duplicate_release"
    assert (stored.run(other).status, stored.run(other).attempt) == (Status.QUEUED, 2)


@pytest.mark.parametrize("error", ["mirror_of_another", "superseded"])
def test_a_rejected_one_that_intake_would_look_at_again_too(stored: Stored, error: str) -> None:
    """As when its delivery came again, it goes where the newest report says."""
    other = stored.release(A, "v1.0.0").run_id
    stored.record(stored.claim(other), Status.REJECTED, error=error)
    claim = stored.claim(stored.release(A, None, ref="refs/tags/v1.0.0").run_id)
    assert taken(stored, claim, "v1.0.0") == "duplicate_release"
    again = stored.run(other)
    assert (again.status, again.attempt, again.target) == (Status.QUEUED, 2, claim.run.target)


@pytest.mark.parametrize("take", [taken, renamed])
def test_an_overtaken_worker_begins_no_other_run_anew(stored: Stored, take: Take) -> None:
    other = stored.release(A, "v1.0.0").run_id
    stored.fail(other, error="tag_missing")
    claim = stored.claim(stored.release(A, None, ref="refs/tags/v1.0.0").run_id)
    stored.ops.cancel(claim.run.id, "cli:alice", stored.now)
    before = stored.row(other), stored.attempts(other)
    with pytest.raises(SyncError, match="overtaken"):
        take(stored, claim, "v1.0.0")
    assert (stored.row(other), stored.attempts(other)) == before


# --- the mirror's lease -------------------------------------------------------------------------------------------


def test_a_mirror_is_leased_to_one_at_a_time_and_remembered(stored: Stored) -> None:
    path = TARGET.mirror
    first = stored.flow.lease_mirror(path, "worker-1", stored.now, LEASE)
    assert first is not None
    assert (first.project_id, first.branch_at, first.fence) == (None, None, 1)
    assert stored.flow.lease_mirror(path, "worker-2", stored.now, LEASE) is None
    project = (7, "https://gitlab.corp.example/go-mirrors/platform/log.git", "https://gitlab.corp.example/x")
    stored.flow.release_mirror(first, stored.now, project=project, branch_at=A)
    second = stored.flow.lease_mirror(path, "worker-2", stored.now, LEASE)
    assert second is not None
    assert (second.project_id, second.clone_url, second.web_url, second.branch_at, second.fence) == (*project, A, 2)
    stored.flow.release_mirror(second, stored.now, project=None, branch_at=None)
    third = stored.flow.lease_mirror(path, "worker-1", stored.now, LEASE)
    assert third is not None
    assert (third.project_id, third.branch_at) == (7, None)


def test_an_overtaken_holder_of_a_mirror_writes_nothing(stored: Stored) -> None:
    first = stored.flow.lease_mirror(TARGET.mirror, "worker-1", stored.now, LEASE)
    second = stored.flow.lease_mirror(TARGET.mirror, "worker-1", stored.later(LEASE + 1), LEASE)
    assert first is not None
    assert second is not None
    stored.flow.release_mirror(first, stored.now, project=(9, "x", "y"), branch_at=B)
    assert stored.flow.lease_mirror(TARGET.mirror, "worker-2", stored.now, LEASE) is None
    assert not stored.flow.renew([], first, stored.now, LEASE)
    assert stored.flow.renew([], second, stored.now, LEASE)
