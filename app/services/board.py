"""What the pages show beside runs: how things stand, modules, mirrors, failures. Frozen values, no logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.services.disks import HostDisk
from app.services.level import Kind, Level, LevelRow
from app.services.reconciled import LastReconcile
from app.services.views import Counts, Page, RunSummary, View

# So far a number beside a module is counted.
MOST = 100


@dataclass(frozen=True, slots=True)
class Seen(View):
    """What the newest steps say of another system (`gitlab`, or `proxy` and its name); `error` None: it answered well at `at`."""

    system: str
    name: str
    at: datetime
    error: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Mark(View):
    """The health of one thing. `state`: ok, bad or unknown; `at`: when that was seen, None: right now."""

    name: str
    state: str
    text: str
    advice: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LevelView(View):
    """The service level of a period: see level.Level. `buckets`: releases by kind in each `bucket_seconds` from `since`."""

    title: str
    since: datetime
    bucket_seconds: int
    share: float | None
    total: int
    counts: Mapping[Kind, int]
    buckets: tuple[Mapping[Kind, int], ...]

    @property
    def judged(self) -> int:
        """What `share` is a part of: all but those under way that can still be in time."""
        return self.total - self.counts.get(Kind.OPEN, 0)

    @classmethod
    def of(cls, title: str, level: Level) -> LevelView:
        """The numbers of a drawing."""
        buckets = tuple({part.kind: part.count for part in bar.parts} for bar in level.bars)
        return cls(title, level.since, level.bucket_seconds, level.share, level.total, level.counts, buckets)


@dataclass(frozen=True, slots=True)
class Now(View):
    """How things stand. `running`: a worker holds it, or its pipeline goes on; `waiting`: for a worker.

    `blocked`: in flight, failed at least once, tried again by itself; `failed`: since yesterday. `marks`: the health of
    what modsync needs; `disks`: of all hosts, fullest first; `levels`: how soon releases were downloadable; `reconcile`:
    what it last found (see app.standing).
    """

    counts: Counts
    running: tuple[RunSummary, ...]
    waiting: tuple[RunSummary, ...]
    blocked: tuple[RunSummary, ...]
    failed: tuple[RunSummary, ...]
    seen: tuple[Seen, ...]
    marks: tuple[Mark, ...] = ()
    disks: tuple[HostDisk, ...] = ()
    levels: tuple[LevelView, ...] = ()
    reconcile: LastReconcile | None = None


@dataclass(frozen=True, slots=True)
class ModuleRow(View):
    """A module: its newest run, how many runs it had, how many of its versions are in its mirror; MOST: so many at least."""

    module: str
    runs: int
    versions: int
    newest: RunSummary


@dataclass(frozen=True, slots=True)
class MirrorRow(View):
    """A mirror as it is remembered, who works on it now, and its newest run; None: not known, nobody, none.

    `source_url`: the repository that it is the mirror of.
    """

    path: str
    project_id: int | None
    web_url: str | None
    branch_at: str | None
    updated_at: datetime
    busy: str | None
    newest: RunSummary | None
    source_url: str | None = None


@dataclass(frozen=True, slots=True)
class FailureCount(View):
    """How many runs are failed with a code."""

    code: str
    runs: int


@dataclass(frozen=True, slots=True)
class FailedAlike:
    """The runs that ended failed with `code`, from `since` on and before `until`."""

    code: str
    since: datetime
    until: datetime


class BoardStore(Protocol):
    """Reads, each one consistent view. Error everywhere: `store_unavailable`."""

    def now(self, limit: int) -> Now:
        """How things stand; at most `limit` runs of each kind, newest first (the waiting and blocked: oldest)."""
        ...

    def level(self, since: datetime, bucket_seconds: int, until: datetime | None = None) -> list[LevelRow]:
        """Releases recorded since then, before `until`, by bucket and by how soon they were downloadable; see level.Kind."""
        ...

    def modules(self, text: str, after: str | None, limit: int) -> Page[ModuleRow]:
        """By path; those that contain `text`."""
        ...

    def mirrors(self, text: str, after: str | None, limit: int) -> Page[MirrorRow]:
        """By path; those that contain `text`."""
        ...

    def mirror(self, path: str) -> MirrorRow | None:
        """The one with exactly this path; None when modsync never saw it."""
        ...

    def failures(self, since: datetime) -> list[FailureCount]:
        """The codes of the runs that ended failed since then, most frequent first."""
        ...

    def failed(self, alike: FailedAlike, limit: int, after: tuple[datetime, str] | None = None) -> list[RunSummary]:
        """These runs, the first to end first; behind `after`: an end and an id."""
        ...

    def count_failed(self, alike: FailedAlike) -> int:
        """How many these are."""
        ...
