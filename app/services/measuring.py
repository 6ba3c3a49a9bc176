"""Counts and times in memory, so that measuring costs no exchange; sums are shared when a job is over."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.measures import CALLS, DOWNLOADABLE, ENDED, FAILURES, RETRIES, STAGES, Measure
from app.domain.run import ENDED as ENDS
from app.domain.run import Run, Status, is_failure
from app.services.stores import Change, StepRecord

log = logging.getLogger(__name__)


class SharedSums(Protocol):
    """The sums of all processes."""

    def add(self, fields: Mapping[str, int]) -> None:
        """Add to them, all of it or nothing. Error: queue_unavailable; not known then whether they were added."""
        ...


class Tally:
    """What this process counted and has not shared yet; safe for threads. A forked process begins with nothing."""

    def __init__(self) -> None:
        self._fields: dict[str, int] = {}
        self._process = os.getpid()
        self._lock = threading.Lock()

    def count(self, measure: Measure, *values: str) -> None:
        """One more; `values` are the labels', in the measure's order."""
        self._add(measure.additions(values))

    def time(self, measure: Measure, seconds: float, *values: str) -> None:
        """One more that took so long."""
        self._add(measure.additions(values, seconds))

    def call(self, began: float, door: str, target: str, kind: str, outcome: str) -> None:
        """A call through a door that began at `began` (time.perf_counter) and is over now."""
        self.time(CALLS, time.perf_counter() - began, door, target, kind, outcome)

    def take(self) -> dict[str, int]:
        """All of it, as fields of the shared sums; then there is nothing any more."""
        with self._lock:
            self._begin_anew()
            taken, self._fields = self._fields, {}
        return taken

    def _add(self, additions: list[tuple[str, int]]) -> None:
        with self._lock:
            self._begin_anew()
            for field, number in additions:
                self._fields[field] = self._fields.get(field, 0) + number

    def _begin_anew(self) -> None:
        """What the parent counted is the parent's to share: from a copy of it in each child it would count many times."""
        if self._process != os.getpid():
            self._fields, self._process = {}, os.getpid()


def share(tally: Tally, sums: SharedSums) -> None:
    """Share what was counted. Never raises and never tries again: a number is lost rather than counted twice."""
    fields = tally.take()
    if not fields:
        return
    try:
        sums.add(fields)
    except SyncError as error:
        log.debug("numbers_lost", extra={"fields": len(fields), "code": error.code})
    except Exception:
        log.exception("numbers_defect")  # a job's outcome must not depend on it


# In a run's facts once it was done: a forced replay later must not count as a release that took so long.
FIRST_DONE = "first_done"


def outcome(tally: Tally, run: Run, step: StepRecord | None, change: Change, now: datetime) -> None:
    """Count what was recorded: `run` as it was before, the step, and how the run goes on."""
    if step:
        tally.time(STAGES, (step.ended_at - step.started_at).total_seconds(), step.stage.value, step.outcome)
    ended = change.status in ENDS
    if change.error and step:
        tally.count(FAILURES if ended else RETRIES, change.error)
    if ended:
        # What the proxy serves wrongly was to be downloaded: the service level counts it as it counts what failed.
        status = Status.FAILED if is_failure(change.status, change.error) else change.status
        tally.count(ENDED, status.value, str(run.lane))
    if change.status is Status.DONE and FIRST_DONE not in run.facts:
        tally.time(DOWNLOADABLE, (now - run.created_at).total_seconds(), str(run.lane))
