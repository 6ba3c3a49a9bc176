"""What is counted and timed in workers and read in web servers: names, labels, buckets, and their form in a shared hash.

Only sums travel, as whole numbers: an addition is exact, and sums of processes are sums. Labels have few values, all of them
modsync's own words or names out of its configuration; never a module, a version, a host or a sender's text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MICRO = 1_000_000
_SUM = "us"
_UPTO = "le="
_INFINITE = "inf"


@dataclass(frozen=True, slots=True)
class Measure:
    """A counter, or with `buckets` (upper bounds in seconds, rising) a histogram of seconds. `name` is Prometheus'."""

    name: str
    text: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    def additions(self, values: tuple[str, ...], seconds: float | None = None) -> list[tuple[str, int]]:
        """What one event adds: (field of the shared hash, whole number) pairs; a histogram's sum is in microseconds."""
        key = "|".join((self.name, *(value.replace("|", "_") for value in values)))
        if seconds is None:
            return [(key, 1)]
        seconds = max(seconds, 0.0)  # a clock may be set back
        at = bisect_left(self.buckets, seconds)
        bound = f"{self.buckets[at]:g}" if at < len(self.buckets) else _INFINITE
        return [(f"{key}|{_UPTO}{bound}", 1), (f"{key}|{_SUM}", round(seconds * _MICRO))]


@dataclass(slots=True)
class Sums:
    """A measure's numbers for one set of labels: `count`, and of a histogram `seconds` and events by bucket, not summed up."""

    count: int = 0
    seconds: float = 0.0
    upto: dict[float, int] | None = None


_SHORT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

STAGES = Measure(
    "modsync_stage_seconds",
    "How long a try of a stage took; of a pipeline from its creation to its end.",
    ("stage", "outcome"),
    _LONG,
)
DOWNLOADABLE = Measure(
    "modsync_downloadable_seconds",
    "From the webhook's arrival to the proof that the proxy serves the release; each run once.",
    ("lane",),
    _LONG,
)
ENDED = Measure("modsync_runs_ended", "Runs that workers brought to an end, by how.", ("status", "lane"))
RETRIES = Measure("modsync_retries", "Errors that led to another try, by code.", ("code",))
FAILURES = Measure("modsync_failures", "Errors that ended a run, by code.", ("code",))
CALLS = Measure(
    "modsync_call_seconds",
    "Requests to GitLab's API and to proxies, and git's own with a remote, to the last byte.",
    ("door", "target", "kind", "outcome"),
    _SHORT,
)
MEASURES: Mapping[str, Measure] = {each.name: each for each in (STAGES, DOWNLOADABLE, ENDED, RETRIES, FAILURES, CALLS)}


def answered(status: int | None) -> str:
    """A call's outcome by its HTTP status (None: no usable answer): ok, missing, refused or unavailable."""
    if status is None or status == 429 or status >= 500:
        return "unavailable"
    if status < 300:
        return "ok"
    return "missing" if status in (404, 410) else "refused"


def sums(fields: Mapping[str, int]) -> Iterator[tuple[Measure, dict[tuple[str, ...], Sums]]]:
    """Each measure with its numbers by label values; fields that no measure of this version has are left out."""
    found: dict[str, dict[tuple[str, ...], Sums]] = {name: {} for name in MEASURES}
    for field, number in fields.items():
        name, *values = field.split("|")
        measure = MEASURES.get(name)
        if measure:
            _add(measure, found[name], values, number)
    yield from ((MEASURES[name], numbers) for name, numbers in found.items())


def _add(measure: Measure, numbers: dict[tuple[str, ...], Sums], values: list[str], number: int) -> None:
    last = values.pop() if measure.buckets and values else ""
    if len(values) != len(measure.labels):
        return
    into = numbers.setdefault(tuple(values), Sums())
    if not measure.buckets:
        into.count += number
    elif last == _SUM:
        into.seconds += number / _MICRO
    elif last.startswith(_UPTO):
        _count(measure, into, last.removeprefix(_UPTO), number)


def _count(measure: Measure, into: Sums, bound: str, number: int) -> None:
    """A bound that another version had counts where it fits: in the next larger one of ours."""
    at = bisect_left(measure.buckets, float(bound))
    upto = measure.buckets[at] if at < len(measure.buckets) else float(_INFINITE)
    into.upto = into.upto or {}
    into.upto[upto] = into.upto.get(upto, 0) + number
    into.count += number
