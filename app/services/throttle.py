"""The brake on guessing: so many failures by one address in a time, and then it waits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol


class Brake(Protocol):
    """Counts failures by address; never fails itself."""

    def wait(self, address: str) -> float:
        """How many seconds this address has to wait; 0 when it may try now."""
        ...

    def failed(self, address: str) -> None:
        """Count a failure; the time runs from the first one."""
        ...


class Throttle:
    """At most `limit` failures by address in `seconds`; remembers at most `size` addresses, in this process only."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float], size: int = 10_000) -> None:
        self._limit, self._seconds, self._clock, self._size = limit, seconds, clock, size
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str) -> float:
        """See Brake."""
        with self._lock:
            count, since = self._failures.get(address, (0, 0.0))
            left = since + self._seconds - self._clock()
            return left if count >= self._limit and left > 0 else 0.0

    def failed(self, address: str) -> None:
        """See Brake."""
        with self._lock:
            now = self._clock()
            count, since = self._failures.pop(address, (0, now))
            self._failures[address] = (count + 1, since) if since + self._seconds > now else (1, now)
            while len(self._failures) > self._size:
                self._failures.popitem(last=False)
