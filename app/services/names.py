"""The names of modules and mirrors, learnt from runs: lists and searches then need not read all runs for them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from app.services.ports import Clock

_RUNS, _BATCHES = 2000, 4  # in one look: a database that was filled before is caught up with in some minutes


class NameStore(Protocol):
    """Errors: store_unavailable."""

    def learn(self, now: datetime, limit: int) -> bool:
        """Note the modules and the mirrors of the next `limit` runs behind those looked at; True when there are more.

        Runs of the last minutes are looked at again: some of them may appear late.
        """
        ...


class Names:
    """Looked at every few seconds by the one sweeper that has the duty."""

    def __init__(self, store: NameStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def once(self) -> None:
        """One look, which is bounded. Error: store_unavailable."""
        for _ in range(_BATCHES):
            if not self._store.learn(self._clock.now(), _RUNS):
                return

    def all(self) -> None:
        """Up to now. Error: store_unavailable."""
        while self._store.learn(self._clock.now(), _RUNS):
            pass
