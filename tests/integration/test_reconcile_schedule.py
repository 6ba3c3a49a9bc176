"""Reconcile by schedule: who is due, at which pace; and what a crash in the middle leaves."""

from contextlib import _GeneratorContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, insert, select

from app.adapters.database import reading, writing
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.tables import repositories
from app.domain.errors import SyncError
from app.domain.modules import ModulePath
from app.domain.run import Status
from app.services.reconcile import Order
from app.services.reconcile_schedule import LOST, ReconcileSchedule, ScheduleOptions
from app.services.reconcile_values import Repository
from tests.integration.databases import wait_until
from tests.integration.flow_world import MIRROR, MODULE
from tests.integration.fuses import CrashError, Fuse
from tests.integration.reconcile_world import ReconcileWorld
from tests.integration.scheduled import Calls, Ends, Scheduled
from tests.integration.stored import Stored


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    return ReconcileWorld(tmp_path)


def test_the_schedule_gives_each_repository_a_job_when_it_is_due(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.learn()
    calls = Calls()
    schedule = ReconcileSchedule(world.repositories, calls, world.clock, ScheduleOptions(24, 5))
    assert [schedule.once() for _ in range(3)] == [1, 0, 0]
    assert calls.made == [(MIRROR, "backfill")]
    world.clock.advance(60)
    assert schedule.once() == 0  # its job is under way
    world.service().by_mirror(MIRROR, Order())
    world.clock.advance(3600 * 23)
    assert schedule.once() == 0
    world.clock.advance(3700)
    assert schedule.once() == 1


def test_the_schedule_keeps_to_the_request_rate(world: ReconcileWorld) -> None:
    for number in range(50):
        world.take(f"v0.{number}.0", mirror=f"mirrors/team/{number}")
    world.learn()
    calls = Calls()
    schedule = ReconcileSchedule(world.repositories, calls, world.clock, ScheduleOptions(24, 2))
    assert schedule.once() == 1
    world.clock.advance(10)
    assert schedule.once() == 5  # ten seconds are twenty requests, four for each repository


def test_a_job_that_was_lost_with_redis_is_given_again_within_a_minute(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    assert given.after(0) == 1
    assert given.after(50) == 0  # it waits: others are before it
    given.calls.queued.clear()
    assert given.after(1) == 1


def test_a_job_that_never_came_to_redis_is_given_again(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.calls.away = True
    with pytest.raises(SyncError, match="queue_unavailable"):
        given.after(0)
    given.calls.away = False
    assert given.after(40) == 1


def test_a_job_that_was_killed_is_given_again_within_a_minute(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    world.clock.advance(20)
    with pytest.raises(CrashError):
        given.job(Ends(CrashError("killed"))).run(MIRROR)
    assert given.after(30) == 0
    assert given.after(10) == 1


def test_a_job_that_is_killed_each_time_waits_as_after_an_error(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    for _ in range(4):
        with pytest.raises(CrashError):
            given.job(Ends(CrashError("killed"))).run(MIRROR)
        assert given.after(40) == 1
    with pytest.raises(CrashError):
        given.job(Ends(CrashError("killed"))).run(MIRROR)
    assert given.after(40) == 0
    assert stored_as(world, repositories.c.error) == "internal"
    assert given.after(1801) == 1
    given.job(world.service()).run(MIRROR)
    assert "jobs_lost" not in stored_as(world, repositories.c.result)


def stored_as(world: ReconcileWorld, column: Column[Any]) -> Any:
    with reading(world.engine) as connection:
        return connection.execute(select(column)).scalar_one()


def test_a_defect_is_an_error_and_holds_up_no_other(world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Scheduled(world)
    given.after(0)
    service = world.service()

    def defect(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(service, "_compared", defect)
    given.job(service).run(MIRROR)
    assert given.after(60) == 0
    assert stored_as(world, repositories.c.error) == "internal"
    assert given.after(1800) == 1


def test_a_job_that_is_at_work_is_left_alone(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)

    def works() -> None:
        for _ in range(5):
            world.clock.advance(30)
            now = world.clock.now()
            wait_until(lambda: world.repositories.silent_jobs(now, 9) == [])  # noqa: B023
            assert given.schedule.once() == 0

    with pytest.raises(CrashError):
        given.job(Ends(CrashError("killed"), works), beat=0.01).run(MIRROR)


def test_an_interrupted_job_ends_well_and_is_handed_back(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    given.job(Ends(SyncError("interrupted", "the worker was asked to stop"))).run(MIRROR)
    assert given.after(5) == 1


def test_a_job_that_hangs_is_handed_back_at_its_process_end(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    job = given.job(Ends(CrashError("killed"), lambda: job.give_up()))
    with pytest.raises(CrashError):
        job.run(MIRROR)
    assert given.after(5) == 1


def test_after_an_error_it_is_asked_again_later(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    world.git.fail("remote_refs", SyncError("source_unreachable", "no route"))
    given.job(world.service()).run(MIRROR)
    assert given.after(60) == 0
    assert given.after(1800) == 1


def test_one_that_cannot_be_compared_goes_behind_those_that_wait_longer(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    world.git.fail("remote_refs", SyncError("source_unreachable", "no route"))
    given.job(world.service()).run(MIRROR)
    now = world.clock.now() + timedelta(hours=9)
    values: dict[str, object] = {"mirror": "z/long-ago", "source": "platform", "clone_url": "https://git.example/z.git"}
    values |= {"result": {}, "reconciled_at": world.clock.now() - timedelta(days=1)}
    with writing(world.engine) as connection:
        connection.execute(insert(repositories).values(values))
    assert world.repositories.due(now, now, 2) == ["z/long-ago", MIRROR]


def test_a_job_that_ended_well_is_given_again_when_it_is_due(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    given.job(world.service(), beat=0.001).run(MIRROR)
    assert world.repositories.silent_jobs(world.clock.now() + LOST, 9) == []
    assert given.after(3600) == 0


def test_a_job_that_waits_behind_a_long_backfill_stays_the_only_one(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    assert given.after(0) == 1
    assert [given.after(1800) for _ in range(4)] == [0] * 4
    assert len(given.calls.made) == 1
    given.calls.queued.clear()
    assert given.after(1) == 1


def test_a_killed_job_is_seen_behind_very_many_that_wait(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.reconcile_schedule._PAGE", 2)
    for number in range(5):
        world.take(f"v0.{number}.0", mirror=f"mirrors/team/{number}")
    world.learn()
    calls = Calls()
    schedule = ReconcileSchedule(world.repositories, calls, world.clock, ScheduleOptions(24, 5))
    for _ in range(5):
        schedule.once()
        world.clock.advance(1)
    assert len(calls.made) == 5
    calls.queued.pop()
    world.clock.advance(60)
    assert schedule.once() == 1
    assert calls.made[-1] == calls.made[-2]


def test_silent_jobs_come_in_pages(stored: Stored) -> None:
    repositories = SqlRepositoryStore(stored.engine)
    for number in range(5):
        mirror = f"mirrors/team/{number}"
        repositories.note(Repository(mirror, "platform", "https://git.example/team/x.git"))
        # Two of each second.
        assert repositories.give_job(mirror, stored.now, stored.now + timedelta(seconds=number // 2))
    later = stored.later(60)
    found = repositories.silent_jobs(later, 3)
    assert [mirror[-1] for mirror, _ in found] == ["0", "1", "2"]
    assert [mirror[-1] for mirror, _ in repositories.silent_jobs(later, 3, found[-1])] == ["3", "4"]
    assert repositories.silent_jobs(later, 3, repositories.silent_jobs(later, 9)[-1]) == []


def test_without_a_schedule_a_lost_job_holds_up_no_later_question(world: ReconcileWorld) -> None:
    """Somebody asked for an unknown module (wanted.py), and Redis lost the job."""
    world.settle(world.take().run_id)
    world.learn()
    schedule = ReconcileSchedule(world.repositories, Calls(), world.clock, ScheduleOptions(0, 5))
    assert world.repositories.give_job(MIRROR, world.clock.now(), world.clock.now())
    world.clock.advance(30)
    schedule.once()
    assert stored_as(world, repositories.c.job_at)
    world.clock.advance(10)
    assert schedule.once() == 0
    assert stored_as(world, repositories.c.job_at) is None
    assert world.repositories.give_job(MIRROR, world.clock.now(), world.clock.now())


def test_a_clock_that_is_set_back_stops_no_schedule_and_floods_nobody(world: ReconcileWorld) -> None:
    for number in range(50):
        world.take(f"v0.{number}.0", mirror=f"mirrors/team/{number}")
    world.learn()
    schedule = ReconcileSchedule(world.repositories, Calls(), world.clock, ScheduleOptions(24, 2))
    assert schedule.once() == 1
    world.clock.advance(-3600)
    assert schedule.once() == 0
    world.clock.advance(10)
    assert schedule.once() == 5


def test_no_interval_is_no_schedule(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.learn()
    assert ReconcileSchedule(world.repositories, Calls(), world.clock, ScheduleOptions(0, 5)).once() == 0


class DiesAt(Fuse):
    """Blows at the first call of this name."""

    name = "cache.push"

    def around(self, name: str) -> _GeneratorContextManager[None, None, None]:
        self.at = len(self.seen) if name == self.name else None
        return super().around(name)


def test_a_crash_while_a_backfill_pushes_is_healed(world: ReconcileWorld) -> None:
    service = world.service()
    for number in range(3):
        world.tag(f"v0.{number}.0")
    report = service.one(service.repository_of(ModulePath.parse(MODULE)), Order())
    with pytest.raises(CrashError, match=r"cache\.push"):
        world.advance(report.runs[0], DiesAt())
    world.clock.advance(20)
    world.settle(*report.runs)
    assert {world.run(run).status for run in report.runs} == {Status.DONE}
