"""Intake and replays on both databases: which delivery makes which run (issue 2, points 2 and 5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from app.adapters.tables import deliveries, delivery_runs
from app.domain.errors import SyncError
from app.domain.modules import Version
from app.domain.run import Stage, Status
from app.services.stores import PlannedRun, ReplayOrder
from tests.integration.stored import MODULE, ORDER, TARGET, A, B, C, Stored


def code_of(caught: pytest.ExceptionInfo[SyncError]) -> str:
    return caught.value.code


def test_a_new_release_is_a_queued_run_with_a_job(stored: Stored) -> None:
    plan = stored.plan()
    receipt = stored.deliver(plan)[0]
    assert (receipt.run_id, receipt.status, receipt.duplicate) == (plan.id, Status.QUEUED, False)
    assert receipt.job == f"{plan.id}-1-1"
    run = stored.run(plan.id)
    assert (run.module, run.version, run.commit, run.target) == (MODULE, "v1.0.0", A, TARGET)
    assert (run.stage, run.attempt, run.due_at, run.job) == (Stage.MIRROR, 1, stored.now, receipt.job)
    assert run.created_at == stored.now
    assert [(row["kind"], row["actor"]) for row in stored.attempts(plan.id)] == [("delivery", "source:platform")]


def test_the_same_delivery_again_is_the_same_run(stored: Stored) -> None:
    first = stored.delivery("key:digest")
    plan = stored.plan()
    assert stored.intake.record(first, [plan])[:2] == (first.id, False)
    stored.later()
    again = stored.intake.record(stored.delivery("key:digest"), [stored.plan()])
    assert again[:2] == (first.id, True)
    assert [(each.run_id, each.duplicate, each.job) for each in again[2]] == [(plan.id, True, None)]
    with stored.engine.connect() as connection:
        row = connection.execute(select(deliveries)).mappings().one()
        links = connection.execute(select(delivery_runs)).mappings().all()
    assert (row["seen"], row["received_at"], row["last_seen_at"]) == (2, first.received_at, stored.now)
    assert [(link["run_id"], link["duplicate"]) for link in links] == [(plan.id, False)]


def test_the_same_release_by_another_delivery_is_the_same_run(stored: Stored) -> None:
    first = stored.release()
    again = stored.release()
    assert (again.run_id, again.duplicate, again.job, again.status) == (first.run_id, True, None, Status.QUEUED)
    with stored.engine.connect() as connection:
        links = connection.execute(select(delivery_runs.c.duplicate)).scalars().all()
    assert sorted(links) == [False, True]


def test_a_release_that_is_done_stays_done_when_it_comes_again(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.finish(run_id)
    again = stored.release()
    assert (again.run_id, again.status, again.job) == (run_id, Status.DONE, None)
    assert len(stored.attempts(run_id)) == 1


def test_a_failed_release_that_comes_again_gets_a_new_attempt_where_it_failed(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, pushed=True)
    again = stored.release()
    assert (again.run_id, again.status, again.duplicate, again.job) == (run_id, Status.QUEUED, True, f"{run_id}-2-1")
    run = stored.run(run_id)
    assert (run.stage, run.attempt, run.error, run.tries) == (Stage.PIPELINE, 2, None, 0)
    first, second = stored.attempts(run_id)
    assert (first["outcome"], first["error"]) == ("failed", "pipeline_failed")
    assert (second["kind"], second["from_stage"], second["outcome"]) == ("redelivery", "pipeline", None)


def test_a_run_that_failed_before_its_push_follows_the_rules_of_the_new_delivery(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, error="source_missing")
    moved = replace(TARGET, clone_url="https://git.corp.example/moved/log.git", mirror="go-mirrors/moved/log")
    stored.release(target=moved)
    assert stored.run(run_id).target == moved
    assert stored.row(run_id)["mirror"] == moved.mirror


@pytest.mark.parametrize("state", ["queued", "claimed", "pushed", "failed after the push", "done"])
def test_another_commit_of_a_version_that_is_out_or_under_way_is_refused(stored: Stored, state: str) -> None:
    first = stored.release(A).run_id
    match state:
        case "claimed":
            stored.claim(first)
        case "pushed":
            stored.push(stored.claim(first))
        case "failed after the push":
            stored.fail(first, pushed=True)
        case "done":
            stored.finish(first)
    before = stored.row(first)
    moved = stored.release(B)
    assert (moved.status, moved.error, moved.job, moved.duplicate) == (Status.REJECTED, "version_moved", None, False)
    assert stored.row(first) == before
    assert (stored.held()["run_id"], stored.held()["commit"]) == (first, A)
    assert A in str(stored.row(moved.run_id)["error_message"])
    assert [row["outcome"] for row in stored.attempts(moved.run_id)] == ["rejected"]


def test_another_commit_takes_the_place_of_a_failure_that_was_never_pushed(stored: Stored) -> None:
    first = stored.release(A).run_id
    stored.fail(first, error="commit_mismatch")
    second = stored.release(B)
    assert (second.status, second.job) == (Status.QUEUED, f"{second.run_id}-1-1")
    old = stored.row(first)
    assert (old["status"], old["error"], old["replaced_by"]) == ("rejected", "superseded", second.run_id)
    assert (stored.held()["run_id"], stored.held()["commit"]) == (second.run_id, B)
    # What the first one failed with stays readable.
    assert [(row["outcome"], row["error"]) for row in stored.attempts(first)] == [("failed", "commit_mismatch")]


def test_the_first_commit_again_waits_for_the_fate_of_the_second(stored: Stored) -> None:
    first = stored.release(A).run_id
    stored.fail(first, error="commit_mismatch")
    second = stored.release(B).run_id
    refused = stored.release(A)
    assert (refused.run_id, refused.status, refused.error) == (first, Status.REJECTED, "superseded")
    stored.fail(second, error="commit_mismatch")
    again = stored.release(A)
    assert (again.run_id, again.status, again.job) == (first, Status.QUEUED, f"{first}-2-1")
    assert (stored.row(second)["error"], stored.row(first)["replaced_by"]) == ("superseded", None)
    assert stored.held()["run_id"] == first


def test_a_refused_commit_comes_through_after_the_other_one_failed_unpushed(stored: Stored) -> None:
    first = stored.release(A).run_id
    refused = stored.release(B)
    assert refused.status is Status.REJECTED
    stored.fail(first, error="tag_missing")
    again = stored.release(B)
    assert (again.run_id, again.status, again.duplicate) == (refused.run_id, Status.QUEUED, True)
    assert stored.row(first)["error"] == "superseded"


def test_a_release_without_a_rule_is_kept_and_begins_when_there_is_one(stored: Stored) -> None:
    refusal = ("no_rule", "no rule matches")
    refused = stored.deliver(stored.plan(refusal=refusal))[0]
    assert (refused.status, refused.error, refused.job) == (Status.REJECTED, "no_rule", None)
    assert stored.deliver(stored.plan(refusal=refusal))[0].status is Status.REJECTED
    # It holds no version: another commit is free to come.
    assert stored.release(B).status is Status.QUEUED
    assert stored.release(A).error == "no_rule"
    other = stored.deliver(stored.plan(A, "v1.1.0", refusal=refusal))[0]
    assert stored.release(A, "v1.1.0").job == f"{other.run_id}-2-1"


def test_one_delivery_can_tell_several_releases(stored: Stored) -> None:
    plans = [stored.plan(version="v2.0.0"), stored.plan(module=f"{MODULE}/sdk"), stored.plan()]
    receipts = stored.deliver(*plans)
    assert [each.run_id for each in receipts] == [plan.id for plan in plans]
    assert len({each.job for each in receipts}) == 3


def test_two_commits_of_one_branch_in_a_delivery_that_comes_again_are_each_their_own_run(stored: Stored) -> None:
    ids = [each.run_id for each in stored.intake.record(stored.delivery("both"), two_commits(stored))[2]]
    for run_id in ids:
        stored.fail(run_id, error="tag_missing")
    again = stored.intake.record(stored.delivery("both"), two_commits(stored))[2]
    assert [(each.run_id, each.job) for each in again] == [(run_id, f"{run_id}-2-1") for run_id in ids]


def two_commits(stored: Stored) -> list[PlannedRun]:
    return [stored.plan(commit, None) for commit in (A, B)]


def test_a_branchs_run_that_has_a_version_by_now_is_still_its_deliverys(stored: Stored) -> None:
    (first,) = stored.intake.record(stored.delivery("one"), [stored.plan(A, None)])[2]
    stored.flow.take_version(stored.claim(first.run_id), Version.parse("v1.4.0"), A, stored.later())
    (again,) = stored.intake.record(stored.delivery("one"), [stored.plan(A, None)])[2]
    assert (again.run_id, again.duplicate) == (first.run_id, True)


def test_a_branchs_further_versions_belong_to_its_delivery(stored: Stored) -> None:
    claim = stored.claim(stored.release(version=None).run_id)
    added = stored.intake.add(claim, [stored.plan(version="v1.1.0")], stored.later())
    assert [each.job for each in added] == [f"{added[0].run_id}-1-1"]
    assert stored.run(added[0].run_id).delivery == claim.run.delivery
    assert stored.intake.add(claim, [stored.plan(version="v1.1.0")], stored.now)[0].duplicate


def test_an_overtaken_worker_adds_no_versions(stored: Stored) -> None:
    claim = stored.claim(stored.release(version=None).run_id)
    stored.ops.cancel(claim.run.id, "cli:alice", stored.now)
    plan = stored.plan(version="v1.1.0")
    with pytest.raises(SyncError, match="overtaken"):
        stored.intake.add(claim, [plan], stored.later())
    assert stored.ops.get(plan.id) is None
    assert stored.release(B, "v1.1.0").status is Status.QUEUED


# --- replays ------------------------------------------------------------------------------------------------------


def test_a_replay_is_a_new_attempt_with_fresh_retries(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.push(stored.claim(run_id))
    stored.record(claim, Status.FAILED, error="pipeline_failed", tries=5, stage_since=stored.now)
    receipt = stored.ops.replay(run_id, ORDER, None, stored.later())
    assert (receipt.run_id, receipt.status, receipt.job) == (run_id, Status.QUEUED, f"{run_id}-2-1")
    run, row = stored.run(run_id), stored.row(run_id)
    assert (run.stage, run.tries, run.stage_since, run.error) == (Stage.PIPELINE, 0, None, None)
    assert (run.due_at, row["ended_at"], row["active"]) == (stored.now, None, True)
    assert set(run.facts) == {"project", "push", "proof"}
    attempt = stored.attempts(run_id)[1]
    assert (attempt["kind"], attempt["actor"], attempt["reason"]) == ("replay", "cli:alice", "the runner was down")


def test_a_replay_from_an_earlier_stage_forgets_what_was_found_since(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.fail(run_id, pushed=True)
    moved = replace(TARGET, mirror="go-mirrors/new/log")
    stored.ops.replay(run_id, replace(ORDER, from_stage=Stage.MIRROR), moved, stored.later())
    run = stored.run(run_id)
    assert (run.stage, run.facts, run.target, stored.row(run_id)["mirror"]) == (Stage.MIRROR, {}, moved, moved.mirror)


def refused(stored: Stored, run_id: str, order: ReplayOrder = ORDER) -> str:
    before = stored.row(run_id)
    with pytest.raises(SyncError) as caught:
        stored.ops.replay(run_id, order, None, stored.later())
    assert stored.row(run_id) == before
    return code_of(caught)


def test_a_run_that_is_done_is_replayed_by_force_only(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.finish(run_id)
    assert refused(stored, run_id) == "already_done"
    assert stored.ops.replay(run_id, replace(ORDER, force=True), None, stored.now).job == f"{run_id}-2-1"
    assert stored.run(run_id).stage is Stage.VERIFY


def test_what_a_replay_cannot_help_is_refused(stored: Stored) -> None:
    first = stored.release(A).run_id
    moved = stored.release(B).run_id
    assert refused(stored, first) == "still_running"
    assert refused(stored, moved, replace(ORDER, force=True)) == "not_replayable"
    stored.fail(first, error="tag_missing")
    assert refused(stored, first, replace(ORDER, from_stage=Stage.VERIFY)) == "bad_request"
    stored.release(C)
    assert refused(stored, first) == "not_replayable"
    with pytest.raises(SyncError) as caught:
        stored.ops.replay("r" + "0" * 19, ORDER, None, stored.now)
    assert code_of(caught) == "not_found"


def test_a_cancelled_run_ends_and_its_worker_notices(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.claim(run_id)
    stored.ops.cancel(run_id, "cli:alice", stored.later())
    row = stored.row(run_id)
    assert (row["status"], row["error"], row["active"], row["ended_at"]) == ("failed", "cancelled", False, stored.now)
    assert [(each["outcome"], each["error"]) for each in stored.attempts(run_id)] == [("failed", "cancelled")]
    with pytest.raises(SyncError) as caught:
        stored.record(claim, Status.DONE)
    assert code_of(caught) == "overtaken"
    for identifier, code in ((run_id, "already_ended"), ("r" + "0" * 19, "not_found")):
        with pytest.raises(SyncError) as caught:
            stored.ops.cancel(identifier, "cli:alice", stored.now)
        assert code_of(caught) == code
    assert stored.ops.replay(run_id, ORDER, None, stored.now).job == f"{run_id}-2-1"
