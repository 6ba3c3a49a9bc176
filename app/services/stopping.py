"""A process is asked to end: first no new work, then, when the step in hand takes long, that step is given back."""

from __future__ import annotations

import time


class Stop:
    """Asked from a signal handler, looked at by the flow and the lease. `patience`: seconds for the step in hand."""

    def __init__(self, patience: float = 2.0) -> None:
        self._patience = patience
        self._asked_at: float | None = None

    def ask(self) -> None:
        """Ask to stop; the first time counts."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    @property
    def asked(self) -> bool:
        """True once asked: begin nothing new."""
        return self._asked_at is not None

    @property
    def overdue(self) -> bool:
        """True when the step in hand had its time: break it off."""
        return self._asked_at is not None and time.monotonic() - self._asked_at >= self._patience
