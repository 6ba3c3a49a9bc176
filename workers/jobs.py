"""The functions that RQ calls. An argument is an id; everything else is read from the database."""

from __future__ import annotations

from app import upkeep
from app.bootstrap import Container
from app.services.reconcile_job import ReconcileJob, SearchJob

_container: Container | None = None
_by_schedule: ReconcileJob | SearchJob | None = None


def use(container: Container) -> None:
    """Set what jobs work with; called once in the parent, before RQ forks (imports and settings are then at hand)."""
    global _container
    container.preload()
    _container = container


def prepare() -> None:
    """In a job's process, before its job comes: the claim of a run that is not, for all that a claim needs is then at hand."""
    _ready().flow.advance("")


def advance_run(run_id: str) -> None:
    """Drive the run as far as it goes now. Raises RunFailedError when it ended failed, so that RQ shows it."""
    container = _ready()
    try:
        container.flow.advance(run_id)
    finally:
        container.share()


def reconcile_repository(mirror: str) -> None:
    """Compare one repository by schedule. What could not be asked is recorded and asked again later."""
    container = _ready()
    global _by_schedule
    _by_schedule = job = upkeep.reconcile_job(container)
    try:
        job.run(mirror)
    finally:
        container.share()


def find_unknown_mirrors(_: str) -> None:
    """Note the mirrors in GitLab that the database does not know; the schedule compares them then."""
    container = _ready()
    global _by_schedule
    _by_schedule = job = upkeep.search_job(container)
    try:
        job.run()
    finally:
        container.share()


def _ready() -> Container:
    if _container is None:
        raise RuntimeError("workers.jobs.use() was not called: start workers by `modsync worker`")
    return _container


def give_up() -> None:
    """Right before this process ends in the middle of a step: let go of what is in hand, for another worker to go on."""
    if _by_schedule is not None:
        _by_schedule.give_up()
    if _container is not None and "flow" in vars(_container):
        _container.flow.give_up()


def stop() -> None:
    """Ask the running job to hand its run back after the step that it is in; safe in a signal handler."""
    if _container is not None:
        _container.stop.ask()
