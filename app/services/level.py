"""The service level 'released -> downloadable': how soon after its delivery a release was done. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# What people expect: the release can be downloaded before they have switched windows, or at least soon.
QUICK_SECONDS, GOAL_SECONDS = 60, 300


class Kind(StrEnum):
    """How soon a release was downloadable."""

    QUICK = "quick"  # within QUICK_SECONDS
    IN_TIME = "in_time"  # within GOAL_SECONDS
    LATE = "late"
    OPEN = "open"  # in flight, and not late yet
    FAILED = "failed"  # of rejected ones only those that the proxy serves wrongly: nobody is to download the others


# Bottom to top in the drawing.
ORDER = (Kind.QUICK, Kind.IN_TIME, Kind.LATE, Kind.OPEN, Kind.FAILED)


@dataclass(frozen=True, slots=True)
class LevelRow:
    """`count` releases of one kind, recorded in the bucket that began `bucket` widths after 1970."""

    bucket: int
    kind: Kind
    count: int


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: `y` and `height` in hundredths of the drawing's height, from above."""

    kind: Kind
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket: `x` and `width` in hundredths of the drawing's width."""

    begins: datetime
    x: float
    width: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """A period. `share` is the part of all that ended or is late which was in time, None when there is none yet."""

    since: datetime
    bucket_seconds: int
    bars: tuple[Bar, ...]
    counts: dict[Kind, int]
    highest: int

    @property
    def judged(self) -> int:
        """All but those in flight that can still be in time."""
        return self.total - self.counts[Kind.OPEN]

    @property
    def share(self) -> float | None:
        """0 to 1, of those that are judged; None when none is."""
        good = self.counts[Kind.QUICK] + self.counts[Kind.IN_TIME]
        return good / self.judged if self.judged else None

    @property
    def total(self) -> int:
        """All releases of the period."""
        return sum(self.counts.values())


def begin(now: datetime, bucket_seconds: int, buckets: int) -> datetime:
    """Where the first of `buckets` buckets begins, when `now` is in the last one."""
    last = int(now.timestamp()) // bucket_seconds
    return now.replace(microsecond=0) - timedelta(seconds=int(now.timestamp()) - (last - buckets + 1) * bucket_seconds)


def level(since: datetime, bucket_seconds: int, buckets: int, rows: Iterable[LevelRow]) -> Level:
    """The drawing of a period that begins at `since` (see begin)."""
    counted: Counter[tuple[int, Kind]] = Counter()
    first = int(since.timestamp()) // bucket_seconds
    for row in rows:
        counted[row.bucket - first, row.kind] += row.count
    sums = [sum(counted[at, kind] for kind in ORDER) for at in range(buckets)]
    highest = max([*sums, 1])
    bars = tuple(
        Bar(since + timedelta(seconds=at * bucket_seconds), *_place(at, buckets), tuple(_parts(counted, at, highest)))
        for at in range(buckets)
    )
    totals = {kind: sum(counted[at, kind] for at in range(buckets)) for kind in ORDER}
    return Level(since, bucket_seconds, bars, totals, highest)


def _place(at: int, buckets: int) -> tuple[float, float]:
    width = 100 / buckets
    return round(at * width + width * 0.1, 2), round(width * 0.8, 2)


def _parts(counted: Counter[tuple[int, Kind]], at: int, highest: int) -> Iterator[Part]:
    top = 100.0
    for kind in ORDER:
        count = counted[at, kind]
        if count:
            # One of a thousand must still be seen.
            height = max(100 * count / highest, 2.0)
            top -= height
            yield Part(kind, count, round(max(top, 0.0), 2), round(height, 2))
