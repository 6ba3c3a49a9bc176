"""Reconcile by schedule with a queue that only notes, and jobs that are run by hand."""

from collections.abc import Callable, Sequence
from datetime import datetime

from app.domain.errors import SyncError
from app.services.reconcile import Order
from app.services.reconcile_job import Comparing, ReconcileJob, Searching, SearchJob
from app.services.reconcile_schedule import SEARCH, ReconcileSchedule, ScheduleOptions
from app.services.reconcile_values import Report
from tests.integration.reconcile_world import ReconcileWorld


class Calls:
    """The jobs that the schedule enqueued; `queued` are in Redis still."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.queued: list[str] = []
        self.away = False
        self.searches = 0

    def call(self, function: str, argument: str, job_id: str, lane: str) -> None:
        if function == SEARCH:
            self.searches += 1
            self.queued.append(job_id)
            return
        assert (function, job_id.startswith("reconcile-")) == ("reconcile_repository", True)
        if self.away:
            raise SyncError("queue_unavailable", "Redis is away")
        self.made.append((argument, lane))
        self.queued.append(job_id)

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(self.queued) & frozenset(job_ids)


class Scheduled:
    """One repository whose first job was given; `after` is what the schedule gives so many seconds later."""

    def __init__(self, world: ReconcileWorld) -> None:
        world.settle(world.take().run_id)
        world.learn()
        self.world, self.calls = world, Calls()
        self.schedule = ReconcileSchedule(world.repositories, self.calls, world.clock, ScheduleOptions(24, 5))

    def after(self, seconds: float) -> int:
        self.world.clock.advance(seconds)
        return self.schedule.once()

    def job(self, service: Comparing, beat: float = 60) -> ReconcileJob:
        self.calls.queued.clear()  # a worker has it now
        return ReconcileJob(self.world.repositories, service, self.world.clock, beat)

    def search(self, service: Searching, beat: float = 60) -> SearchJob:
        self.calls.queued.clear()
        return SearchJob(self.world.repositories, service, self.world.clock, beat)


class Ends:
    """A comparison, or a search, that ends in this way, after `meanwhile`."""

    def __init__(self, error: BaseException, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._error, self._meanwhile = error, meanwhile

    def by_mirror(self, mirror: str, order: Order) -> Report:
        self._meanwhile()
        raise self._error

    def note(self, now: datetime) -> int:
        self._meanwhile()
        raise self._error
