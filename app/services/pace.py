"""At most so many requests a second, whoever of this process asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Paced(Protocol):
    """Whoever asks others at a bounded rate."""

    def wait(self) -> None:
        """Return when the next request may be made."""
        ...


class Pace:
    """Spreads requests evenly; threads share it. `per_second` 0: no limit."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._step = 1 / per_second if per_second else 0.0
        self._clock, self._sleep = clock, sleep
        self._next, self._lock = float("-inf"), threading.Lock()

    def wait(self) -> None:
        """Return when the next request may be made."""
        with self._lock:
            now = self._clock()
            mine = max(now, self._next)
            self._next = mine + self._step
        if mine > now:
            self._sleep(mine - now)
