"""Values that many readers ask for and that cost something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


_LONGEST_SECONDS = 15.0
_FAILED_SECONDS = 2.0


class Remembered(Generic[Kept]):
    """A value that is made anew when it is older than `seconds`; one maker at a time, others get the old one meanwhile.

    But none that is older than twice that. What took `slow` seconds or longer to make is good for ten times as long, up to a
    quarter of a minute. A failure is everybody's for two seconds: nobody waits for the next one, too.
    """

    def __init__(
        self,
        make: Callable[[], Kept],
        seconds: float,
        *,
        slow: float = inf,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._make, self._seconds, self._slow, self._ticks = make, seconds, slow, ticks or time.monotonic
        self._lock = threading.Lock()
        self._kept: tuple[float, Kept] | None = None  # good until then, and the value
        self._failed: tuple[float, Exception] | None = None  # the same of an error

    def get(self) -> Kept:
        """The value. One that is not there, or too old, is waited for; errors are those of its making."""
        kept, now = self._kept, self._ticks()
        if kept and now <= kept[0]:
            return kept[1]
        if not self._lock.acquire(blocking=False):
            if kept and now <= kept[0] + self._seconds:
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
        if self._failed and began <= self._failed[0]:
            raise self._failed[1].with_traceback(None)
        try:
            value = self._make()
        except Exception as error:
            self._kept, self._failed = None, (self._ticks() + _FAILED_SECONDS, error)
            raise
        self._kept = self._good_until(began, self._ticks()), value
        return value

    def _good_until(self, began: float, now: float) -> float:
        took = now - began
        longer = min(10 * took, _LONGEST_SECONDS) if took >= self._slow else 0.0
        return max(began + self._seconds, now + longer)
