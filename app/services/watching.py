"""What happened to a run between two looks at it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from app.domain.run import Stage, Status
from app.services.views import AttemptView, RunDetail, StepView, View


@dataclass(frozen=True, slots=True)
class Happening(View):
    """An attempt began, a stage was tried, or the run's status changed.

    `what` is `attempt`, `step` or `status`; `outcome` is the step's, or the status; `seconds` how long the step took.
    """

    at: datetime
    run: str
    name: str
    what: str
    attempt: int
    stage: Stage
    outcome: str
    seconds: float | None = None
    error: str | None = None
    message: str | None = None


def happenings(before: RunDetail | None, after: RunDetail) -> tuple[Happening, ...]:
    """What is new in `after`, in its order; with nothing before, all of it. The status comes last, when it changed."""
    attempts, steps = ({}, set()) if before is None else _seen(before)
    found = [each for attempt in after.attempts for each in _of_attempt(after, attempt, attempts, steps)]
    known = (before.status, before.attempt) if before else None
    if known != (after.status, after.attempt):
        found.append(_status(after))
    return tuple(found)


def ended_well(run: RunDetail) -> bool | None:
    """True for done, False for failed and rejected, None while it is in flight."""
    return None if run.ended_at is None else run.status is Status.DONE


def _seen(run: RunDetail) -> tuple[dict[int, AttemptView], set[tuple[int, int]]]:
    places = {(attempt.number, at) for attempt in run.attempts for at in range(len(attempt.steps))}
    return {attempt.number: attempt for attempt in run.attempts}, places


def _of_attempt(
    run: RunDetail, attempt: AttemptView, attempts: dict[int, AttemptView], steps: set[tuple[int, int]]
) -> Iterator[Happening]:
    if attempt.number not in attempts:
        why = f"{attempt.kind} by {attempt.actor}" + (f": {attempt.reason}" if attempt.reason else "")
        place = (attempt.number, attempt.from_stage)
        yield Happening(attempt.created_at, run.id, run.name, "attempt", *place, attempt.kind, message=why)
    for at, step in enumerate(attempt.steps):
        if (attempt.number, at) not in steps:
            yield _step(run, attempt.number, step)


def _step(run: RunDetail, attempt: int, step: StepView) -> Happening:
    what = (step.outcome, step.seconds, step.error, step.message)
    return Happening(step.ended_at, run.id, run.name, "step", attempt, step.stage, *what)


def _status(run: RunDetail) -> Happening:
    error = run.error.code if run.error else None
    message = run.error.message if run.error else None
    return Happening(
        run.updated_at, run.id, run.name, "status", run.attempt, run.stage, run.status.value, None, error, message
    )  # fmt: skip
