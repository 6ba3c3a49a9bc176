"""A value that many readers ask for and that costs something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Remembered(Generic[Kept]):
    """A value that is made anew when it is older than `seconds`; one maker at a time."""

    def __init__(self, make: Callable[[], Kept], seconds: float) -> None:
        self._make, self._seconds = make, seconds
        self._lock = threading.Lock()
        self._kept: tuple[float, Kept] | None = None

    def get(self) -> Kept:
        """The value."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > self._seconds:
                self._kept = time.monotonic(), self._make()
            return self._kept[1]
