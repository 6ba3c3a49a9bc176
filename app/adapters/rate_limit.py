"""How many requests a source may send: one number per source in a file, shared by all web processes of the machine.

The generic cell rate algorithm: the number is the time at which the source's next request would be due if requests came
evenly. A request may come early by as much as `burst` requests take.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import SyncError

log = logging.getLogger(__name__)
_NUMBER = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` 0: no limit."""

    per_minute: int
    burst: int


class SharedRateLimit:
    """RateLimit over files in `directory`; a disk that fails lets requests through."""

    def __init__(self, directory: Path, rates: Mapping[str, Rate], clock: Callable[[], float] = time.time) -> None:
        self._directory, self._clock = directory, clock
        self._rates = {name: rate for name, rate in rates.items() if rate.per_minute}
        self._files: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, source: str, further: int = 0) -> None:
        """Count a request, or `further` releases of one that is counted. Error: source_rate_limited with `retry_after`.

        `retry_after`: in seconds. What is more than a whole burst is let in where all of the burst is left.
        """
        rate = self._rates.get(source)
        if rate is None:
            return
        try:
            wait = self._taken(source, rate, further)
        except OSError as error:
            log.warning("rate_limit_unknown", extra={"source": source, "error": error.strerror})
            return
        if wait > 0:
            raise SyncError("source_rate_limited", f"source {source} sends too many requests", retry_after=wait)

    def _taken(self, source: str, rate: Rate, further: int) -> float:
        """0 when the request was counted, else the seconds until one would be."""
        with self._lock:
            file = self._file(source)
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                due, wait = _next(self._read(file), self._clock(), rate, further)
                os.pwrite(file, _NUMBER.pack(due), 0)
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        return wait

    def _file(self, source: str) -> int:
        if source not in self._files:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._files[source] = os.open(self._directory / source, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._files[source]

    def _read(self, file: int) -> float:
        raw = os.pread(file, _NUMBER.size, 0)
        return _NUMBER.unpack(raw)[0] if len(raw) == _NUMBER.size else 0.0


def _next(due: float, now: float, rate: Rate, further: int) -> tuple[float, float]:
    """(the new number, 0 or the seconds to wait)."""
    step = 60.0 / rate.per_minute
    early = step * (rate.burst - 1)
    # Further ahead than a full burst and the grace below cannot be: the clock was set back.
    due = now if due > now + early + 2 * step else max(due, now)
    taken = step * min(further, rate.burst - 1) if further else step
    # The rounding error of two large numbers must not refuse the burst's last request.
    if due + taken - now > early + step * (1 + 1e-3):
        # The request that they came with is given back: else a source above its rate would be let in less and less.
        return (due - step if further else due), due + taken - now - early - step
    return due + taken, 0.0
