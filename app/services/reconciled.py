"""What reconcile last found, for people: one repository, and all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.domain.reconcile import REPORTED
from app.services.views import ErrorView, Page, View


@dataclass(frozen=True, slots=True)
class RepositoryRow(View):
    """A repository and its newest comparison. `compared_at` None: never; `findings` are at most 50, `counts` count all.

    `error`: what kept the newest look from an answer; the rest is then empty.
    """

    mirror: str
    source: str
    clone_url: str
    compared_at: datetime | None
    error: ErrorView | None = None
    tags: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    adopted: int = 0
    findings: tuple[Mapping[str, Any], ...] = ()

    @property
    def for_a_person(self) -> int:
        """How many findings reconcile does not put right."""
        return sum(count for name, count in self.counts.items() if name in REPORTED)

    @property
    def needs_a_person(self) -> bool:
        """True when somebody should look."""
        return self.error is not None or bool(self.for_a_person)


@dataclass(frozen=True, slots=True)
class LastReconcile(View):
    """The newest comparison of each repository, added up. `repositories` are those known, `compared` those ever compared.

    `unanswered`: repositories that could not be asked; `people`: some of those that need a person, newest first.
    """

    repositories: int
    compared: int
    newest: datetime | None
    counts: Mapping[str, int]
    runs: int
    unanswered: int
    people: tuple[RepositoryRow, ...]


class ReconciledReads(Protocol):
    """Repositories as reconcile left them. Error everywhere: store_unavailable."""

    def repositories(self, after: str | None, limit: int, *, people: bool) -> Page[RepositoryRow]:
        """By mirror; `people`: only those that need a person."""
        ...

    def repository(self, mirror: str) -> RepositoryRow | None:
        """One; None when it is not known."""
        ...

    def last(self, shown: int) -> LastReconcile:
        """All of them, with `shown` of those that need a person."""
        ...


def add_up(known: int, rows: Sequence[RepositoryRow], shown: int) -> LastReconcile:
    """`rows`: those that were asked, newest first."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.counts)
    needing = tuple(row for row in rows if row.needs_a_person)
    return LastReconcile(
        known, sum(row.compared_at is not None for row in rows), _newest(rows), dict(counts),
        sum(len(row.runs) for row in rows), sum(row.error is not None for row in rows), needing[:shown],
    )  # fmt: skip


def _newest(rows: Iterable[RepositoryRow]) -> datetime | None:
    return max((row.compared_at for row in rows if row.compared_at), default=None)
