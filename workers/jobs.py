"""The functions that RQ calls. An argument is an id; everything else is read from the database."""

from __future__ import annotations

from app import upkeep
from app.bootstrap import Container
from app.services.reconcile import Order

_container: Container | None = None


def use(container: Container) -> None:
    """Set what jobs work with; called once in the parent, before RQ forks (imports and settings are then at hand)."""
    global _container
    _container = container


def advance_run(run_id: str) -> None:
    """Drive the run as far as it goes now. Raises RunFailedError when it ended failed, so that RQ shows it."""
    if _container is None:
        raise RuntimeError("workers.jobs.use() was not called: start workers by `modsync worker`")
    _container.flow.advance(run_id)


def reconcile_repository(mirror: str) -> None:
    """Compare one repository by schedule. What could not be asked is recorded and asked again later."""
    if _container is None:
        raise RuntimeError("workers.jobs.use() was not called: start workers by `modsync worker`")
    worker = _container.settings.worker
    upkeep.reconcile(_container, workers=worker.backfill or worker.live).by_mirror(mirror, Order())


def stop() -> None:
    """Ask the running job to hand its run back after the step that it is in; safe in a signal handler."""
    if _container is not None:
        _container.stop.ask()
