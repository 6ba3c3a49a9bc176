"""The sweeper's side of the stores: which runs are due, and who gives them a job."""

from __future__ import annotations

from datetime import timedelta

from app.domain.run import Lane, Status
from app.services.stores import DueRun
from app.services.sweep import Sweep, SweepOptions
from tests.integration.flow_world import FakeQueue
from tests.integration.stored import LEASE, Stored, StoredClock


def due(stored: Stored, grace: float = 4.0, limit: int = 10) -> list[str]:
    return [each.id for each in stored.sweep.due(stored.now, stored.now - timedelta(seconds=grace), limit)]


def test_due_are_runs_that_nobody_works_on_and_no_recent_job_is_for(stored: Stored) -> None:
    run_id = stored.release().run_id
    assert due(stored) == []  # its job was just enqueued
    stored.later(5)
    assert due(stored) == [run_id]
    claim = stored.claim(run_id)
    assert due(stored) == []  # it is at work
    stored.later(LEASE + 0.001)
    assert due(stored) == [run_id]  # its worker died: at once, for the claim spent the job
    claim = stored.claim(run_id)
    waits_until = stored.now + timedelta(seconds=30)
    stored.record(claim, Status.MIRROR, error="tag_missing", due_at=waits_until)
    assert due(stored) == []
    stored.now = waits_until
    assert due(stored) == [run_id]
    stored.fail(run_id, error="tag_missing")
    stored.later(60)
    assert due(stored) == []


def test_due_runs_come_oldest_first_and_bounded(stored: Stored) -> None:
    ids = []
    for n in range(3):
        ids.append(stored.release(version=f"v1.{n}.0").run_id)
        stored.later()
    stored.later(60)
    assert due(stored) == ids
    assert due(stored, limit=2) == ids[:2]


def test_a_job_is_given_once(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.later(5)
    (run,) = stored.sweep.due(stored.now, stored.now, 10)
    assert run == DueRun(run_id, f"{run_id}-1-1", stored.row(run_id)["job_at"], delivery=stored.row(run_id)["delivery"])
    assert stored.sweep.give_jobs([run], stored.now).get(run.id) == f"{run_id}-1-2"
    assert stored.sweep.give_jobs([run], stored.now).get(run.id) is None
    row = stored.row(run_id)
    assert (row["job"], row["job_at"]) == (f"{run_id}-1-2", stored.now)


def test_a_run_that_was_claimed_meanwhile_gets_no_job(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.later(5)
    (run,) = stored.sweep.due(stored.now, stored.now, 10)
    stored.claim(run_id)
    assert stored.sweep.give_jobs([run], stored.now).get(run.id) is None
    assert stored.attempts(run_id)[0]["jobs"] == 1


def test_a_job_that_was_seen_waiting_is_left_alone_for_a_while(stored: Stored) -> None:
    first, second = stored.release(version="v1.0.0").run_id, stored.release(version="v1.1.0").run_id
    stored.later(5)
    stored.claim(second)
    stored.sweep.still_queued([first, second], stored.now)
    assert due(stored) == []
    assert stored.row(second)["job_at"] is None  # claimed meanwhile: its job is spent
    stored.later(5)
    assert due(stored) == [first]
    stored.sweep.still_queued([], stored.now)
    assert due(stored) == [first]


def test_very_many_lost_jobs_are_given_again_within_ten_seconds(stored: Stored) -> None:
    """Redis was flushed: three looks of the sweeper, half a second apart, after its four seconds of grace."""
    for start in range(0, 1500, 100):
        stored.deliver(*[stored.plan(version=f"v1.{n}.0", lane=Lane.BACKFILL) for n in range(start, start + 100)])
    stored.later(60)
    queue = FakeQueue()
    sweep = Sweep(stored.sweep, queue, StoredClock(stored), SweepOptions())
    assert [sweep.once() for _ in range(4)] == [500, 500, 500, 0]
    assert len({run for _, run in queue.jobs}) == len({job for job, _ in queue.jobs}) == 1500
    assert set(queue.lanes.values()) == {Lane.BACKFILL}
    stored.later(1)
    assert sweep.once() == 0
