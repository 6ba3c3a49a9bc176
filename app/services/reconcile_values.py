"""What reconcile works with: repositories, what it found, and its side of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.domain.modules import ModulePath
from app.domain.reconcile import REPORTED, Finding, Item, Known, Release

_KEPT = 50  # findings that are kept with a repository
MOST_LOST = 5  # jobs of one kind in a row; then it waits as after an error


@dataclass(frozen=True, slots=True)
class Repository:
    """A source repository and its mirror. `mirror_url` None: the mirror's project was never seen."""

    mirror: str
    source: str
    clone_url: str
    mirror_url: str | None = None
    reconciled_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One repository's comparison. `tags`: version tags at the source; `runs` were begun; `error`: (code, message)."""

    mirror: str
    clone_url: str
    tags: int = 0
    items: tuple[Item, ...] = ()
    runs: tuple[str, ...] = ()
    adopted: int = 0
    error: tuple[str, str] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many of each finding."""
        return dict(Counter(str(item.finding) for item in self.items))

    @property
    def needs_a_person(self) -> bool:
        """True when something was found that reconcile does not put right."""
        return self.error is not None or any(item.finding in REPORTED for item in self.items)

    def of(self, finding: Finding) -> list[Item]:
        """The versions with this finding."""
        return [item for item in self.items if item.finding is finding]

    def as_json(self, most: int | None = None) -> dict[str, Any]:
        """JSON's own types; at most `most` findings."""
        shown = [
            {
                name: str(getattr(item, name) or "")
                for name in ("finding", "module", "version", "tag", "commit", "detail")
            }
            for item in self.items[:most]
        ]
        return {
            "mirror": self.mirror, "clone_url": self.clone_url, "tags": self.tags, "counts": self.counts,
            "runs": list(self.runs), "adopted": self.adopted, "findings": shown,
            "error": {"code": self.error[0], "message": self.error[1]} if self.error else None,
        }  # fmt: skip

    def kept(self) -> dict[str, Any]:
        """What stays in the database."""
        return self.as_json(_KEPT)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a repository's modules are known to lie: directory -> module path without its major suffix.

    `modules`: those that were released, with it.
    """

    prefixes: Mapping[str, str] = field(default_factory=dict)
    modules: frozenset[ModulePath] = frozenset()


class RepositoryStore(Protocol):
    """Repositories and releases, for reconcile. Errors: store_unavailable."""

    def find(self, mirror: str) -> Repository | None:
        """The repository as its newest run names it, or as it was noted; None when it is not known.

        Always the one that the mirror is of (domain/mirror_source.py), where that is recorded.
        """
        ...

    def note(self, repository: Repository) -> None:
        """Add it to the list, or correct it there."""
        ...

    def due(self, before: datetime, job_before: datetime, limit: int) -> list[str]:
        """Mirrors last compared before then that have no job; never compared ones first.

        A job that ended with an error before `job_before` counts no more.
        """
        ...

    def give_job(self, mirror: str, job_before: datetime, now: datetime) -> bool:
        """Mark that a job was enqueued; False when somebody else was faster. An earlier error counts no more."""
        ...

    def searched_at(self) -> datetime | None:
        """When unknown mirrors were last looked for; None: never."""
        ...

    def searched(self, now: datetime) -> None:
        """Note that they were."""
        ...

    def search_job(self) -> tuple[datetime, str] | None:
        """(the last sign, its error or "") of the job that looks for them; None: there is none."""
        ...

    def search_at_work(self, now: datetime, error: str = "") -> None:
        """A sign of that job's life, or the error that ended it."""
        ...

    def free_search(self) -> None:
        """Let another such job be given at once."""
        ...

    def at_work(self, mirror: str, now: datetime, *, begins: bool = False) -> None:
        """A sign of life of the repository's job; one whose comparison has ended needs none."""
        ...

    def silent_jobs(
        self, before: datetime, limit: int, after: tuple[str, datetime] | None = None
    ) -> list[tuple[str, datetime]]:
        """(mirror, the last sign of its job) of jobs that neither ended nor gave one since then, oldest first.

        With `after`, which is one of them, those that come after it.
        """
        ...

    def free_job(self, mirror: str) -> None:
        """Let another job be given at once."""
        ...

    def lost_job(self, mirror: str, last: datetime, now: datetime) -> None:
        """As free_job, while `last` is the last sign of the present job; it ended without a word.

        From five in a row that is an error (`internal`), as one that the comparison ends with.
        """
        ...

    def mirrors(self, before: datetime) -> list[str]:
        """All mirrors that were not compared since then, least recently compared first."""
        ...

    def places(self, mirror: str) -> Places:
        """Where the mirror's modules lie, as its runs say."""
        ...

    def failed(self, mirror: str) -> frozenset[ModulePath]:
        """The modules of runs to this mirror that failed before their push."""
        ...

    def majors(self, module: ModulePath) -> frozenset[ModulePath]:
        """This module's paths with a major suffix that have releases on record, whether or not their runs are kept."""
        ...

    def known(self, modules: Sequence[ModulePath]) -> Mapping[Release, Known]:
        """The releases of these modules, also those whose runs have no commit (yet): in flight, or ended before they had one."""
        ...

    def adopt(self, items: Sequence[Item], now: datetime) -> int:
        """Record these versions as released at their commits; how many were not known yet."""
        ...

    def finish(self, report: Report, now: datetime) -> None:
        """Keep the result; with an error the repository stays due."""
        ...
