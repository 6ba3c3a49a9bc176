"""The three stages: each takes values and returns an outcome; none writes the store or calls another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import SyncError

BUSY_SECONDS = 0.5

# No failure of the run: whoever was in the way is gone soon, and neither tries nor patience are spent on it.
_SOON = {"interrupted": 0.0, "cache_busy": 2 * BUSY_SECONDS}

# Errors that are not about what was looked at: a stage that records errors as findings passes these on.
PASSED_ON = frozenset({"overtaken", *_SOON})


@dataclass(frozen=True, slots=True)
class Finished:
    """The stage is done. `facts` are merged into the run's, `detail` is kept with the step."""

    facts: Mapping[str, Any]
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for `seconds`; the run holds no worker meanwhile.

    `queued`: the code that says for whom it waits; that time is not held against its stage. `heals` False: nothing went
    well yet, so the failures before still count. `aside`: it made way for others; the time is no part of those failures.
    """

    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    queued: str = ""
    heals: bool = True
    aside: bool = False

    @classmethod
    def instead_of(cls, error: SyncError, *, costly: bool = False) -> Wait | None:
        """The wait that an error stands for; None: it is a failure. `costly`: trying again is, so less often."""
        seconds = _SOON.get(error.code)
        return (
            None
            if seconds is None
            else cls(seconds * (10 if costly else 1), note=error.message, heals=False, aside=True)
        )


@dataclass(frozen=True, slots=True)
class Note:
    """Record these facts before the stage goes on: what is about to be done must be known after a crash.

    `lasting` False: what was learnt, and could be learnt again.
    """

    facts: Mapping[str, Any]
    lasting: bool = True


Outcome = Finished | Wait | Note
