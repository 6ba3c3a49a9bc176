"""Builds what keeps things true and bounded beside the main job: reconcile, its schedule. Part of the composition root."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.adapters.cache_budget import Budget, Cache, disk, evict_of, found
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.names_store import SqlNames
from app.adapters.ops_store import SqlReplayStore
from app.adapters.pause_store import SqlPauseStore
from app.adapters.pipeline_slots import SqlSlotStore
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.retention_store import SqlRetentionStore
from app.adapters.set_back_store import SqlSetBackStore
from app.bootstrap import Container
from app.bootstrap_doors import host
from app.bootstrap_sources import gigabytes
from app.domain.errors import SyncError
from app.pause_reach import pause_reach
from app.services.names import Names
from app.services.observe import Observer
from app.services.pace import Pace
from app.services.pausing import Pausing
from app.services.reconcile import Reconcile
from app.services.reconcile_job import ReconcileJob, SearchJob
from app.services.reconcile_runs import RunMaker
from app.services.reconcile_schedule import ReconcileSchedule, ScheduleOptions
from app.services.replay import Replay
from app.services.retention import RunPruning
from app.services.set_back import SetBack
from app.services.slots import Slots
from app.services.standing import HostReport
from app.services.unknown_mirrors import UnknownMirrors

if TYPE_CHECKING:
    from app.adapters.shared_pace import SharedPace

log = logging.getLogger(__name__)


def pace(container: Container) -> SharedPace:
    """The configured rate, shared by all processes with this Redis."""
    from app.adapters.job_queue import redis_for_enqueue  # with rq, which reading commands need not wait for
    from app.adapters.shared_pace import SharedPace

    rate = container.settings.reconcile.requests_per_second
    return SharedPace(redis_for_enqueue(container.redis_url), rate, Pace(rate))


def reconcile(container: Container) -> Reconcile:
    """The reconcile service; the configured rate is shared by all processes with this Redis."""
    gitlab = container.settings.gitlab.url.rstrip("/")
    observer = Observer(
        container.git, container.registries, container.proxies, pace(container), lambda mirror: f"{gitlab}/{mirror}.git",
        lambda: _go_on(container),
    )  # fmt: skip
    replay = Replay(SqlReplayStore(container.engine), container.queue, container.clock, container.planner.today)
    store = SqlIntakeStore(container.engine)
    maker = RunMaker(container.planner, store, replay, container.queue, container.clock, container.new_id)
    return Reconcile(
        SqlRepositoryStore(container.engine), observer, container.planner, maker, container.clock,
        pause_store(container).pauses,
    )  # fmt: skip


def unknown_mirrors(container: Container) -> UnknownMirrors:
    """Finds mirrors in GitLab that the database does not know."""
    store, service = SqlRepositoryStore(container.engine), reconcile(container)
    return UnknownMirrors(
        container.gitlab, container.rules, store, service, pace(container), lambda: _go_on(container)
    )  # fmt: skip


def reconcile_job(container: Container) -> ReconcileJob:
    """A comparison by schedule."""
    service = reconcile(container)
    return ReconcileJob(SqlRepositoryStore(container.engine), service, container.clock)


def search_job(container: Container) -> SearchJob:
    """The search for unknown mirrors, by schedule."""
    return SearchJob(SqlRepositoryStore(container.engine), unknown_mirrors(container), container.clock)


def pause_store(container: Container) -> SqlPauseStore:
    """Pauses in the database."""
    return SqlPauseStore(container.engine)


def pausing(container: Container) -> Pausing:
    """Pause and resume."""
    return Pausing(pause_store(container), container.clock, pause_reach(container.settings))


def slots(container: Container) -> Slots:
    """Lets the next backfills start their pipelines."""
    return Slots(SqlSlotStore(container.engine), container.clock, container.settings.gitlab.backfill_pipelines)


def schedule(container: Container) -> ReconcileSchedule:
    """What the sweeper asks now and then."""
    settings = container.settings.reconcile
    options = ScheduleOptions(settings.interval_hours, settings.requests_per_second)
    pauses = pause_store(container).pauses
    return ReconcileSchedule(SqlRepositoryStore(container.engine), container.queue, container.clock, options, pauses)


def names(container: Container) -> Names:
    """Learns the names of modules and mirrors."""
    return Names(SqlNames(container.engine), container.clock)


def set_back(container: Container) -> SetBack:
    """Ends waits for times that were written before a clock was set back."""
    return SetBack(SqlSetBackStore(container.engine), container.clock, container.settings.worker.lease_seconds)


def run_pruning(container: Container) -> RunPruning:
    """Forgets old runs."""
    return RunPruning(SqlRetentionStore(container.engine), container.clock, container.settings.limits.run_days)


class CacheKeeper:
    """Keeps a host's caches within their budget, and tells how its disk stands."""

    def __init__(self, container: Container) -> None:
        limits = container.settings.limits
        self._container = container
        self._budget = Budget(gigabytes(limits.cache_gigabytes), gigabytes(limits.min_free_gigabytes))

    def once(self) -> None:
        """One look. Errors are logged: it can wait."""
        try:
            self._look_at_caches()
        except OSError as error:
            log.warning("caches_not_looked_at", extra={"error": error.strerror})

    def _look_at_caches(self) -> None:
        directory = self._container.cache_dir
        caches = sorted(found(directory), key=lambda cache: cache.used_at)
        freed = evict_of(caches, directory, self._budget)
        self._report(caches, freed)

    def _report(self, caches: Sequence[Cache], freed: int) -> None:
        """For the metrics, which are read elsewhere; the next report comes soon."""
        free, size = disk(self._container.cache_dir)
        taken = sum(cache.size for cache in caches) - freed
        report = HostReport(free, size, self._budget.free, self._budget.most, taken, len(caches))
        try:
            self._container.sums.report(host(), report)
        except SyncError as error:
            log.debug("host_not_reported", extra={"code": error.code})


def _go_on(container: Container) -> None:
    if container.stop.asked:
        raise SyncError("interrupted", "the worker was asked to stop")
