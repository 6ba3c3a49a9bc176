"""The sweeper's process: looks twice a second for runs without a job, until it is told to stop. Several may run."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from app import upkeep
from app.bootstrap import Container
from app.domain.errors import SyncError
from workers import notifier, token_watch
from workers.pool import exit_late

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
# While Redis or the database is away: short, for everything waits for the look after its return.
LONGEST_PAUSE_SECONDS = 1.0
TIDY_SECONDS = 5.0


def run(container: Container) -> None:
    """Sweep until SIGTERM or SIGINT. Outages of Redis or the database are waited out."""
    stop = _stopping()
    log.info("sweeper_started")
    token_watch.start(container, stop)
    notifier.start(container, stop)
    sweeper = _Sweeper(container)
    pause = INTERVAL_SECONDS
    while not stop.wait(pause):
        pause = sweeper.look(pause)
    sweeper.leave()
    log.info("sweeper_stopped")


def _stopping() -> threading.Event:
    """Set by a signal; then this process ends, even when the database or Redis hang."""
    stop = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        stop.set()
        exit_late()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


class _Sweeper:
    def __init__(self, container: Container) -> None:
        self._sweep, self._tidy, self._duty = container.sweep, container.tidy, container.sweep_duty
        self._pausing, self._runs = upkeep.pausing(container), upkeep.run_pruning(container)
        self._pruning, self._reconcile = container.pruning, upkeep.schedule(container)
        self._slots, self._names = upkeep.slots(container), upkeep.names(container)
        self._tidied_at = float("-inf")
        self._set_back = upkeep.set_back(container)
        self._steps: tuple[Callable[[], object], ...] = (
            self._set_back.once, self._tidy.once, self._pruning.once, self._names.once, self._reconcile.once,
            self._pausing.wake_forgotten,
            self._runs.once, container.share,
        )  # fmt: skip

    def look(self, pause: float) -> float:
        """One look, where the duty is ours; returns the pause until the next one, growing while something is away."""
        try:
            if self._duty.mine():
                self._wake_backfills()  # first, so that whom it wakes gets a job at once
                self._sweep.once()
                self._tidy_now_and_then()
        except SyncError as error:
            log.warning("sweep_failed", extra={"code": error.code, "error": error.message})
            return min(LONGEST_PAUSE_SECONDS, pause * 2)
        except Exception:
            log.exception("sweep_defect")  # the one process that heals the others must not end by a defect
            return LONGEST_PAUSE_SECONDS
        return INTERVAL_SECONDS

    def _wake_backfills(self) -> None:
        """Whoever holds up the slots of backfills must not hold up the jobs of all others."""
        try:
            self._slots.once()
        except SyncError as error:
            log.warning("slots_failed", extra={"code": error.code, "error": error.message})

    def leave(self) -> None:
        """Let another sweeper begin at once."""
        try:
            self._duty.leave()
        except SyncError as error:
            log.warning("duty_not_left", extra={"code": error.code})

    def _tidy_now_and_then(self) -> None:
        if time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            for step in self._steps:
                if self._duty.mine():  # one may have taken long
                    _done_alone(step)


def _done_alone(step: Callable[[], object]) -> None:
    """What one step cannot do must not keep the others from their turn: some bring lost releases back."""
    name = getattr(step, "__qualname__", repr(step))
    try:
        step()
    except SyncError as error:
        log.warning("tidying_failed", extra={"step": name, "code": error.code, "error": error.message})
    except Exception:
        log.exception("tidying_defect", extra={"step": name})
