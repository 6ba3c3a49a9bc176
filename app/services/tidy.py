"""Keeps RQ's lists true: jobs of dead workers are neither running nor failed when their runs went on without them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from app.domain.ids import CallId, JobId, parse_call_id, parse_job_id
from app.domain.run import ACTIVE, Status
from app.services.ports import Clock

log = logging.getLogger(__name__)

# A failed call's job is shown for an hour; RQ ends one that works after two.
_CALL_SEEN, _CALL_WORKS = timedelta(hours=1), timedelta(hours=2)

Place = Literal["taken", "failed"]
"""Where RQ has a job: taken from the queue by a worker, or in its list of failures."""


class JobRegistry(Protocol):
    """RQ's lists beside the queue itself. Errors: queue_unavailable."""

    def held(self) -> Mapping[str, Place]:
        """The jobs that RQ takes for running or failed; a bounded number, others at the next call."""
        ...

    def begun(self, job_ids: Sequence[str]) -> Mapping[str, datetime]:
        """When workers began these jobs; without those that RQ does not know, or that were not begun."""
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
        everything = self._registry.held()
        held = {job: (parsed, place) for job, place in everything.items() if (parsed := parse_job_id(job))}
        states = self._store.states(sorted({parsed.run for parsed, _ in held.values()}))
        now = self._clock.now()
        ghosts = {job for job, (parsed, place) in held.items() if is_ghost(parsed, place, states.get(parsed.run), now)}
        ghosts |= self._spent_calls(everything, now)
        spent, self._suspects = sorted(ghosts & self._suspects), frozenset(ghosts)
        if spent:
            self._registry.forget(spent)
            log.info("jobs_forgotten", extra={"jobs": len(spent)})
        return len(spent)

    def _spent_calls(self, held: Mapping[str, Place], now: datetime) -> set[str]:
        calls = ((job, place, parse_call_id(job)) for job, place in held.items())
        old = {job: (call, place) for job, place, call in calls if call and is_spent(call, place, now)}
        taken = sorted(job for job, (_, place) in old.items() if place == "taken")
        begun = self._registry.begun(taken) if taken else {}
        return {job for job, (call, place) in old.items() if is_spent(call, place, now, begun.get(job))}


def is_spent(call: CallId, place: Place, now: datetime, begun: datetime | None = None) -> bool:
    """True for a call's job that is older than any can be at work, or failed long enough ago to have been seen.

    `begun`: when it was, which counts where it is known: it may have waited for long. What it was to do is given anew
    without it (ReconcileSchedule).
    """
    age = now - (begun or datetime.fromtimestamp(call.given, UTC))
    return age > (_CALL_SEEN if place == "failed" else _CALL_WORKS)


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
