"""A run's attempts as bars on a line of time: what the run's page draws. Pure.

Places and widths are hundredths of an attempt's own span: attempts can be days apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.run import ACTIVE, Stage, Status
from app.services.views import AttemptView, RunDetail, StepView
from app.services.words import duration

# So that a step of a millisecond in an attempt of an hour is still seen.
_THINNEST = 0.6
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Lane:
    """A row: a step, or what goes on now (`step` None). The wait before it begins at `wait_x`."""

    stage: Stage
    outcome: str
    begins: datetime
    ends: datetime | None
    seconds: float
    x: float
    width: float
    wait_x: float
    wait_width: float
    step: StepView | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """An attempt: its bars, and how long after its begin each tick is."""

    attempt: AttemptView
    seconds: float
    lanes: tuple[Lane, ...]
    ticks: tuple[str, ...]


def spans(run: RunDetail, now: datetime) -> tuple[Span, ...]:
    """All attempts, the newest first."""
    return tuple(_span(run, attempt, now) for attempt in reversed(run.attempts))


def _span(run: RunDetail, attempt: AttemptView, now: datetime) -> Span:
    going = attempt.number == run.attempt and run.status in ACTIVE
    begins, ends = attempt.created_at, _end(attempt, now if going else None)
    whole = max((ends - begins).total_seconds(), 0.001)
    lanes = tuple(_lanes(run if going else None, attempt, whole, now))
    ticks = tuple(duration(whole * n / _TICKS) if n else "0 s" for n in range(_TICKS + 1))
    return Span(attempt, whole, lanes, ticks)


def _end(attempt: AttemptView, now: datetime | None) -> datetime:
    known = [step.ended_at for step in attempt.steps]
    known += [moment for moment in (attempt.ended_at, now) if moment]
    return max(known, default=attempt.created_at)


def _lanes(run: RunDetail | None, attempt: AttemptView, whole: float, now: datetime) -> Iterator[Lane]:
    last = attempt.created_at
    for step in attempt.steps:
        begins = last if _polled(step) else step.started_at
        yield _lane(attempt, last, begins, step.ended_at, whole, step.stage, step.outcome, step)
        last = max(last, step.ended_at)
    if run:
        resting = run.status is Status.QUEUED or (run.due_at is not None and run.due_at > now)
        yield _lane(attempt, last, last, now, whole, run.stage, "waiting" if resting else "running", None)


def _polled(step: StepView) -> bool:
    """A pipeline that went wrong: the step is the last look at it, but it ran since the stage before ended."""
    return step.stage is Stage.PIPELINE and (step.error or "").startswith("pipeline_")


def _lane(
    attempt: AttemptView, last: datetime, begins: datetime, ends: datetime, whole: float, stage: Stage, outcome: str,
    step: StepView | None,
) -> Lane:  # fmt: skip
    x, width = _place(begins - attempt.created_at, ends - begins, whole)
    wait_x, wait = _place(last - attempt.created_at, max(begins - last, timedelta(0)), whole)
    seconds = max((ends - begins).total_seconds(), 0.0)
    wait = wait if begins > last else 0.0
    return Lane(stage, outcome, begins, ends if step else None, seconds, x, width, wait_x, wait, step)


def _place(offset: timedelta, length: timedelta, whole: float) -> tuple[float, float]:
    x = min(max(100 * offset.total_seconds() / whole, 0.0), 100 - _THINNEST)
    width = min(max(100 * length.total_seconds() / whole, _THINNEST), 100 - x)
    return round(x, 3), round(width, 3)
