"""The sweeper's process: looks twice a second for runs without a job, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading

from app.bootstrap import Container
from app.domain.errors import SyncError

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0


def run(container: Container) -> None:
    """Sweep until SIGTERM or SIGINT. Outages of Redis or the database are waited out."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("sweeper_started")
    pause = INTERVAL_SECONDS
    while not stop.wait(pause):
        pause = _once(container, pause)
    log.info("sweeper_stopped")


def _once(container: Container, pause: float) -> float:
    """One look; returns the pause until the next one, growing while something is away."""
    try:
        container.sweep.once()
    except SyncError as error:
        log.warning("sweep_failed", extra={"code": error.code, "error": error.message})
        return min(LONGEST_PAUSE_SECONDS, pause * 2)
    except Exception:
        log.exception("sweep_defect")  # the one process that heals the others must not end by a defect
        return LONGEST_PAUSE_SECONDS
    return INTERVAL_SECONDS
