"""A duty that several processes may hold and one does at a time; a holder that dies or hangs loses it within seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from app.services.ports import Clock

HOLD_SECONDS = 3.0


class DutyStore(Protocol):
    """Who has a duty. Errors: store_unavailable."""

    def take_duty(self, name: str, owner: str, now: datetime, until: datetime) -> bool:
        """Take or keep the duty until then; False while somebody else has it."""
        ...

    def leave_duty(self, name: str, owner: str) -> None:
        """Give it up, so that the next one need not wait."""
        ...


@dataclass(frozen=True, slots=True)
class DutyOptions:
    """`owner` is this process, unmistakably; `seconds`: how long the duty is held without a sign of life."""

    name: str
    owner: str
    seconds: float = HOLD_SECONDS


class Duty:
    """One process's side of a duty."""

    def __init__(self, store: DutyStore, clock: Clock, options: DutyOptions) -> None:
        self._store, self._clock, self._options = store, clock, options
        self._until: datetime | None = None

    def mine(self) -> bool:
        """True when the duty is ours now; asks the database only when a third of its time is over."""
        now, seconds = self._clock.now(), timedelta(seconds=self._options.seconds)
        # More than all of it is left only when the clock was set back.
        if self._until and seconds * 2 / 3 < self._until - now <= seconds:
            return True
        taken = self._store.take_duty(self._options.name, self._options.owner, now, now + seconds)
        self._until = now + seconds if taken else None
        return taken

    def leave(self) -> None:
        """Give it up where it is ours."""
        if self._until:
            self._until = None
            self._store.leave_duty(self._options.name, self._options.owner)
