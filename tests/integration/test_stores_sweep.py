"""The sweeper's side of the stores: which runs are due, and who gives them a job."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from app.adapters.ops_store import SqlSweepStore
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


def test_a_dead_workers_run_comes_before_all_that_only_wait(stored: Stored) -> None:
    waiting = [stored.release(version=f"v1.{n}.0").run_id for n in range(3)]
    stored.later()
    dead = stored.release(version="v1.9.0").run_id
    for run_id in waiting:  # resumed: without a job, and due for longer
        stored.record(stored.claim(run_id), Status.MIRROR, error="paused", due_at=stored.now)
    stored.claim(dead)
    stored.later(LEASE + 1)
    assert due(stored, limit=2) == [dead, waiting[0]]


@pytest.mark.parametrize(("batch", "looks"), [(4, 3), (5, 3), (100, 1)])
def test_a_look_that_was_full_is_followed_by_another(stored: Stored, batch: int, looks: int) -> None:
    stored.deliver(*[stored.plan(version=f"v1.{n}.0") for n in range(10)])
    stored.later(60)
    queue = FakeQueue()
    seen = Looks(stored)
    assert Sweep(seen, queue, StoredClock(stored), SweepOptions(batch=batch)).once() == 10
    assert (len(queue.jobs), seen.looks) == (10, looks)


def test_looks_end_when_their_time_is_over(stored: Stored) -> None:
    stored.deliver(*[stored.plan(version=f"v1.{n}.0") for n in range(10)])
    stored.later(60)
    seen = Looks(stored, seconds=0.6)
    sweep = Sweep(seen, FakeQueue(), StoredClock(stored), SweepOptions(batch=2))
    assert [sweep.once() for _ in range(3)] == [4, 4, 2]


class Looks(SqlSweepStore):
    """Counts looks, each of which takes so long."""

    def __init__(self, stored: Stored, seconds: float = 0.0) -> None:
        super().__init__(stored.engine)
        self._stored, self._seconds, self.looks = stored, seconds, 0

    def due(self, now: datetime, job_older_than: datetime, limit: int) -> list[DueRun]:
        self.looks += 1
        self._stored.later(self._seconds)
        return super().due(now, job_older_than, limit)


class RunningClock(StoredClock):
    """The stored world's time, going on as the real one does."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)


def test_very_many_lost_jobs_are_given_again_within_ten_seconds(stored: Stored) -> None:
    """Redis was flushed: after four seconds of grace there are six for looks, half a second apart."""
    for start in range(0, 1500, 100):
        stored.deliver(*[stored.plan(version=f"v1.{n}.0", lane=Lane.BACKFILL) for n in range(start, start + 100)])
    stored.later(60)
    queue, clock = FakeQueue(), RunningClock(stored)
    sweep = Sweep(stored.sweep, queue, clock, SweepOptions())
    given: list[int] = []
    while sum(given) < 1500:
        given.append(sweep.once())
        assert given[-1] > 0
    assert SweepOptions().grace_seconds + clock.seconds + 0.5 * len(given) < 10
    assert len({run for _, run in queue.jobs}) == len({job for job, _ in queue.jobs}) == 1500
    assert set(queue.lanes.values()) == {Lane.BACKFILL}
    assert sweep.once() == 0
    stored.later(5)
    assert sweep.once() == 0  # all of them are in the queue
