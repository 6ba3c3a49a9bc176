"""What every bench shares: rounds that alternate between ours and the bare way, medians, and the line that is printed."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Timed = Callable[[], float]
"""Does the work once and returns how long it took, in seconds."""


@dataclass(frozen=True)
class Line:
    """One figure: `ours` and `bare` in `unit` (ms, s, MB or a plain ratio), `target` for their ratio."""

    name: str
    ours: float
    bare: float
    target: float
    unit: str = "ms"

    @property
    def ratio(self) -> float:
        """Lower is better."""
        return self.ours / self.bare

    @property
    def met(self) -> bool:
        """Whether the ratio is within the target."""
        return self.ratio <= self.target

    def __str__(self) -> str:
        ours, bare = (f"{value:.2f}{self.unit}" for value in (self.ours, self.bare))
        return f"bench {self.name} ours={ours} bare={bare} ratio={self.ratio:.2f} target={self.target:.2f}"


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def alternated(ours: Timed, bare: Timed, *, rounds: int, warm: int = 1) -> tuple[float, float]:
    """The medians in seconds. Who begins changes from round to round; the first `warm` rounds do not count."""
    pairs = [_round(ours, bare, ours_first=number % 2 == 0) for number in range(warm + rounds)][warm:]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def compared(name: str, ours: Timed, bare: Timed, target: float, *, rounds: int, warm: int = 1) -> Line:
    """The line of two ways to do the same, in milliseconds."""
    mine, least = alternated(ours, bare, rounds=rounds, warm=warm)
    return Line(name, mine * 1000, least * 1000, target)


def _round(ours: Timed, bare: Timed, *, ours_first: bool) -> tuple[float, float]:
    if ours_first:
        mine = ours()
        return mine, bare()
    least = bare()
    return ours(), least


def wait_until(condition: Callable[[], object], *, seconds: float = 600.0, every: float = 0.005) -> None:
    """Return once the condition is true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(every)


def end_cleanly() -> None:
    """From now on a signal that ends this program ends first what it has started: the bodies' `finally` run, undisturbed."""
    for number in _ENDS:
        signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_LINE = re.compile(r"bench (\S+) ours=([\d.]+)(\w+) bare=([\d.]+)\w+ ratio=\S+ target=([\d.]+)")


def parsed(text: str) -> Line | None:
    """The line that another program printed; None for other text."""
    found = _LINE.match(text)
    return Line(found[1], float(found[2]), float(found[4]), float(found[5]), found[3]) if found else None
