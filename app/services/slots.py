"""Backfills whose pipelines wait for others of their kind: the sweeper lets the next ones go on."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from app.services.ports import Clock


class SlotStore(Protocol):
    """Errors: store_unavailable."""

    def wake(self, limit: int, now: datetime) -> int:
        """Make as many waiting runs due as slots are free, fair among mirrors (limit 0: all); how many they were.

        Those that have become live releases meanwhile go on, too.
        """
        ...


class Slots:
    """Looked at twice a second by the one sweeper that has the duty."""

    def __init__(self, store: SlotStore, clock: Clock, limit: int) -> None:
        self._store, self._clock, self._limit = store, clock, limit

    def once(self) -> int:
        """One look; how many runs go on. Error: store_unavailable."""
        return self._store.wake(self._limit, self._clock.now())
