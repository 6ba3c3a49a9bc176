"""Values that many readers ask for and that cost something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Remembered(Generic[Kept]):
    """A value that is made anew when it is older than `seconds`; one maker at a time, others get the old one meanwhile.

    What took `slow` seconds or longer to make is good for ten times as long at least: it costs a tenth of the time at most.
    """

    def __init__(
        self,
        make: Callable[[], Kept],
        seconds: float,
        *,
        slow: float = inf,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._seconds, self._slow, self._ticks = make, seconds, slow, ticks
        self._lock = threading.Lock()
        self._kept: tuple[float, Kept] | None = None  # good until then, and the value

    def get(self) -> Kept:
        """The value. The first one is waited for; errors are those of its making."""
        kept = self._kept
        if kept and self._ticks() <= kept[0]:
            return kept[1]
        if not self._lock.acquire(blocking=False):
            if kept:
                return kept[1]
            self._lock.acquire()
        try:
            return self._made()
        finally:
            self._lock.release()

    def _made(self) -> Kept:
        """Made by us, or by whom we waited for."""
        began = self._ticks()
        if self._kept and began <= self._kept[0]:
            return self._kept[1]
        value = self._make()
        now = self._ticks()
        took = now - began
        self._kept = max(began + self._seconds, now + 10 * took if took >= self._slow else now), value
        return value
