"""Reconcile by schedule: who is due, at which pace; and what a crash in the middle leaves."""

from contextlib import _GeneratorContextManager
from pathlib import Path

import pytest

from app.domain.modules import ModulePath
from app.domain.run import Status
from app.services.reconcile import Order
from app.services.reconcile_schedule import ReconcileSchedule, ScheduleOptions
from tests.integration.flow_world import MIRROR, MODULE
from tests.integration.fuses import CrashError, Fuse
from tests.integration.reconcile_world import ReconcileWorld


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    return ReconcileWorld(tmp_path)


class Calls:
    """The jobs that the schedule enqueued."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def call(self, function: str, argument: str, job_id: str, lane: str) -> None:
        assert (function, job_id.startswith("reconcile-")) == ("reconcile_repository", True)
        self.made.append((argument, lane))


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
