"""What the pages show beside runs: how things stand, modules, mirrors, failures. Frozen values, no logic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.services.level import LevelRow
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
class Now(View):
    """How things stand. `running`: a worker holds it, or its pipeline goes on; `waiting`: for a worker.

    `blocked`: in flight, failed at least once, tried again by itself; `failed`: since yesterday.
    """

    counts: Counts
    running: tuple[RunSummary, ...]
    waiting: tuple[RunSummary, ...]
    blocked: tuple[RunSummary, ...]
    failed: tuple[RunSummary, ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class ModuleRow(View):
    """A module: its newest run, how many runs it had, how many of its versions are in its mirror; MOST: so many at least."""

    module: str
    runs: int
    versions: int
    newest: RunSummary


@dataclass(frozen=True, slots=True)
class MirrorRow(View):
    """A mirror as it is remembered, who works on it now, and its newest run; None: not known, nobody, none."""

    path: str
    project_id: int | None
    web_url: str | None
    branch_at: str | None
    updated_at: datetime
    busy: str | None
    newest: RunSummary | None


@dataclass(frozen=True, slots=True)
class FailureCount(View):
    """How many runs are failed with a code."""

    code: str
    runs: int


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

    def failed(self, code: str, since: datetime, limit: int) -> list[RunSummary]:
        """Runs that ended failed with `code` since then, oldest first."""
        ...
