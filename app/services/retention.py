"""Forgets old runs a little at a time; what was released is never forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from app.services.ports import Clock


class RetentionStore(Protocol):
    """Old runs. Errors: store_unavailable."""

    def prune_runs(self, ended_before: datetime, limit: int) -> int:
        """Remove at most `limit` runs that ended before then, with their attempts, steps and links; how many it were.

        Releases stay, and so do the repositories that the runs told of; a delivery that nothing refers to goes, too.
        """
        ...


class RunPruning:
    """A batch at each call, so that nobody waits for the database meanwhile. `days` 0: runs are kept for ever."""

    def __init__(self, store: RetentionStore, clock: Clock, days: int, batch: int = 100) -> None:
        self._store, self._clock, self._days, self._batch = store, clock, days, batch

    def once(self) -> int:
        """Prune one batch; how many runs went. Error: store_unavailable."""
        if not self._days:
            return 0
        return self._store.prune_runs(self._clock.now() - timedelta(days=self._days), self._batch)
