"""Keeps RQ's lists true: jobs of dead workers are neither running nor failed when their runs went on without them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from app.domain.ids import JobId, parse_job_id
from app.domain.run import ACTIVE, Status
from app.services.ports import Clock

log = logging.getLogger(__name__)

Place = Literal["taken", "failed"]
"""Where RQ has a job: taken from the queue by a worker, or in its list of failures."""


class JobRegistry(Protocol):
    """RQ's lists beside the queue itself. Errors: queue_unavailable."""

    def held(self) -> Mapping[str, Place]:
        """The jobs that RQ takes for running or failed; a bounded number, others at the next call."""
        ...

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove these jobs from Redis, wherever they are."""
        ...


@dataclass(frozen=True, slots=True)
class RunState:
    """What is needed of a run to judge its jobs. `job_at` None: a worker claimed it since its last job was enqueued."""

    status: Status
    attempt: int
    job: str | None
    job_at: datetime | None
    lease_until: datetime | None


class StateStore(Protocol):
    """Errors: store_unavailable."""

    def states(self, run_ids: Sequence[str]) -> Mapping[str, RunState]:
        """The runs that there are, by id."""
        ...


class Tidy:
    """Forgets a job when two looks in a row found it to be a ghost: one look may come between two writes of RQ."""

    def __init__(self, store: StateStore, registry: JobRegistry, clock: Clock) -> None:
        self._store, self._registry, self._clock = store, registry, clock
        self._suspects: frozenset[str] = frozenset()

    def once(self) -> int:
        """One look; returns how many jobs were forgotten. Errors: store_unavailable, queue_unavailable."""
        held = {job: (parsed, place) for job, place in self._registry.held().items() if (parsed := parse_job_id(job))}
        states = self._store.states(sorted({parsed.run for parsed, _ in held.values()}))
        now = self._clock.now()
        ghosts = {job for job, (parsed, place) in held.items() if is_ghost(parsed, place, states.get(parsed.run), now)}
        spent, self._suspects = sorted(ghosts & self._suspects), frozenset(ghosts)
        if spent:
            self._registry.forget(spent)
            log.info("jobs_forgotten", extra={"jobs": len(spent)})
        return len(spent)


def is_ghost(job: JobId, place: Place, run: RunState | None, now: datetime) -> bool:
    """True when nothing of the run speaks for the job any more."""
    if run is None:
        return True
    if place == "failed":
        return run.status not in (Status.FAILED, Status.REJECTED) or run.attempt != job.attempt
    if run.status not in ACTIVE or run.job != str(job):
        return True
    at_work = run.lease_until is not None and run.lease_until >= now
    return run.job_at is None and not at_work
