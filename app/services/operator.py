"""What an operator asks and does, the same on the server and, over the API, from another machine.

Errors of every method: `store_unavailable`; over the API also `unauthorized`, `forbidden_role`, `server_unreachable`,
`server_wrong`, and whatever the server says. Filters are texts, as app.services.run_filter and .deliveries read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.audit import Entry
from app.domain.errors import ErrorKind, SyncError
from app.domain.pause import PauseKind
from app.domain.run import Stage, Status
from app.services.board import FailureCount, MirrorRow, ModuleRow, Now
from app.services.bulk import ReplayPlan
from app.services.delivery_views import DeliveryDetail, DeliverySummary, SecretUse
from app.services.drift import MirrorCheck
from app.services.explain import Explanation
from app.services.mirror_source import SourceMoved
from app.services.reconciled import RepositoryRow
from app.services.rehearsal import Rehearsal, Sample
from app.services.views import ErrorView, Page, RunDetail, RunSummary, View

Filters = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Begun(View):
    """A run's new attempt, and its job."""

    run: str
    status: Status
    job: str | None


@dataclass(frozen=True, slots=True)
class Cancelled(View):
    """A run that was ended; `name`: module@version."""

    run: str
    name: str
    status: Status = Status.FAILED


@dataclass(frozen=True, slots=True)
class Replayed(View):
    """What became of one run of many: a job, or why there is none."""

    run: str
    job: str | None
    error: ErrorView | None


@dataclass(frozen=True, slots=True)
class RedeliveredRun(View):
    """A run that a delivery asks for; `job`: it was begun, or begun anew."""

    id: str
    status: Status
    job: str | None


@dataclass(frozen=True, slots=True)
class Redelivered(View):
    """What became of a delivery; `ignored`: the stable reason where its event is no release, `message` the sentence."""

    delivery: str
    runs: tuple[RedeliveredRun, ...]
    ignored: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class PauseView(View):
    """What is not worked on, since when, by whom and why; see app.domain.pause.Pause."""

    kind: PauseKind
    value: str
    actor: str
    reason: str
    created_at: datetime

    @property
    def name(self) -> str:
        """`module go.corp.example/x`, or `all`."""
        return f"{self.kind} {self.value}".strip()


@dataclass(frozen=True, slots=True)
class Pauses(View):
    """All pauses, oldest first, and how many runs wait for them."""

    pauses: tuple[PauseView, ...]
    runs: int


@dataclass(frozen=True, slots=True)
class SecretRow(View):
    """A source's secret: scheme and webhook URL ("" for a retired one), how often and when it last matched."""

    scheme: str
    url: str
    source: str
    secret: str
    count: int
    last_used_at: datetime | None
    skew_seconds: float | None

    @classmethod
    def of(cls, scheme: str, url: str, use: SecretUse) -> SecretRow:
        """From what is known of its use."""
        return cls(scheme, url, use.source, use.secret, use.count, use.last_used_at, use.skew_seconds)


class Asking(Protocol):
    """What an operator can see."""

    def clock(self) -> datetime:
        """The server's time."""
        ...

    def now(self, limit: int) -> Now:
        """How things stand, at most `limit` runs of each kind."""
        ...

    def runs(self, wanted: Filters, cursor: str | None, limit: int) -> Page[RunSummary]:
        """A page of runs, newest first. Error: bad_request (with its field)."""
        ...

    def run(self, identifier: str) -> RunDetail:
        """All of a run, by its id or any of its jobs' ids. Error: not_found."""
        ...

    def explain(self, module: str, version: str | None) -> Explanation:
        """Which rule, mirror, tag and proxy apply. Error: bad_request."""
        ...

    def modules(self, text: str, after: str | None, limit: int) -> Page[ModuleRow]:
        """Modules whose path contains `text`, by path."""
        ...

    def mirrors(self, text: str, after: str | None, limit: int) -> Page[MirrorRow]:
        """Mirrors whose path contains `text`, by path."""
        ...

    def reconciled(self, mirror: str, after: str | None, limit: int, *, people: bool) -> Page[RepositoryRow]:
        """What reconcile last found, by mirror; `people`: only what needs a person. With `mirror` its own row alone.

        Error: not_found for a mirror that reconcile does not know.
        """
        ...

    def failures(self, since: str) -> tuple[FailureCount, ...]:
        """The codes that runs failed with since then, most frequent first. Error: bad_request (field since)."""
        ...

    def deliveries(self, wanted: Filters, cursor: str | None, limit: int) -> Page[DeliverySummary]:
        """A page of deliveries, newest first. Error: bad_request (with its field)."""
        ...

    def delivery(self, identifier: str) -> DeliveryDetail:
        """All of a delivery. Error: not_found."""
        ...

    def sources(self) -> tuple[SecretRow, ...]:
        """Every secret of every source, and retired ones that deliveries matched."""
        ...

    def pauses(self) -> Pauses:
        """What is paused."""
        ...

    def audit(self, after: int) -> Iterator[Entry]:
        """The audit log's entries with a number above `after`, in order."""
        ...


class Doing(Protocol):
    """What an operator can do; who does it is known to whoever made this, and is recorded."""

    def replay(self, identifier: str, stage: Stage | None, reason: str, force: bool) -> Begun:
        """A new attempt. Errors: see Replay.replay."""
        ...

    def plan_replays(self, code: str, since: str, after: str | None, limit: int) -> ReplayPlan:
        """What a replay of those that failed with `code` since then, and until now, would do, a page at a time.

        `after`, a plan's `next`, keeps that plan's `since` and `until`. Error: bad_request.
        """
        ...

    def replay_many(self, runs: Sequence[str], reason: str) -> tuple[Replayed, ...]:
        """Replay exactly these, at most bulk.BATCH; one that cannot be stops none of the others."""
        ...

    def cancel(self, identifier: str, reason: str = "") -> Cancelled:
        """End a run that is in flight. Errors: not_found, already_ended."""
        ...

    def accept_move(self, module: str, version: str, commit: str, reason: str) -> Begun:
        """Let a released version move. Errors: see AcceptMove.accept."""
        ...

    def redeliver(self, identifier: str, reason: str = "") -> Redelivered:
        """Take a delivery once more. Errors: not_found, and those of Intake.redeliver."""
        ...

    def pause(self, kind: PauseKind, value: str, reason: str) -> bool:
        """Stop working on these; False: they were paused already. Error: bad_request."""
        ...

    def resume(self, kind: PauseKind, value: str, reason: str = "") -> int:
        """End a pause; how many runs go on. Errors: bad_request, not_found."""
        ...

    def check_mirror(self, path: str) -> MirrorCheck:
        """Ask GitLab about a mirror; what kept us from it stands in the result. Errors over the API: not_found, busy."""
        ...

    def mend_mirror(self, path: str, reason: str) -> MirrorCheck:
        """Set up anew what was changed. Errors as check_mirror's, and bad_request over the API."""
        ...

    def move_source(self, mirror: str, to: str, reason: str) -> SourceMoved:
        """Make a mirror another repository's. Errors: see MoveSource.move."""
        ...

    def test_source(self, source: str, sample: Sample, reason: str = "") -> Rehearsal:
        """A test delivery; what is "" in the sample, the source's rules say. Errors: see Rehearsals.rehearse."""
        ...


class Operator(Asking, Doing, Protocol):
    """All of it."""


class AnswerError(SyncError):
    """An error as the server said it, with the server's own advice; a newer one's code need not be in our CATALOG."""

    def __init__(self, kind: ErrorKind, message: str, *, retry_after: float | None = None) -> None:
        Exception.__init__(self, message)
        self.kind, self.message, self.retry_after = kind, message, retry_after
        self.field, self.facts = None, {}
