"""What the services need from the database: small Protocols, and the values that go in and out.

The store decides nothing about stages or retries; it keeps each call one transaction and each write fenced.
Errors everywhere: `store_unavailable` (nothing was written).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.pause import Pause
from app.domain.run import Claim, Lane, Run, Stage, Status, Target


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An authentic webhook request, to be recorded. `dedupe` is what makes it the same as an earlier one.

    `verdict`: accepted, ignored or refused; `reason` is the stable word for why, `note` the sentence. `skew_ms`: the
    sender's clock minus ours, where the scheme signs a time. `by_hand`: a person takes a recorded one once more, so its
    sender and the secret were not seen again.
    """

    id: str
    source: str
    dedupe: str
    scheme: str
    secret_id: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    verdict: str
    note: str = ""
    reason: str = ""
    skew_ms: int | None = None
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that a delivery asks for. `refusal` is the (code, message) of rules that do not allow it.

    `commit` "": the event named none, and the worker takes what the version's tag peels to at the source.
    `actor`: who asks for it when that is not the source itself. `needs`: the stage that a run which failed begins anew at,
    where it had come further; None: where it failed.
    """

    id: str
    source: str
    module: str
    version: str | None
    ref: str
    commit: str
    semantic: str
    event: Mapping[str, Any]
    target: Target
    refusal: tuple[str, str] | None = None
    actor: str = ""
    lane: str = Lane.LIVE
    needs: Stage | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a planned run: the run (maybe an earlier one), and the job to enqueue when there is one."""

    run_id: str
    status: Status
    duplicate: bool
    job: str | None = None
    error: str | None = None
    lane: str = Lane.LIVE


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A delivery as it is kept. `pruned`: its headers and body are not kept any more."""

    id: str
    source: str
    dedupe: str
    scheme: str
    secret_id: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    verdict: str
    reason: str
    note: str
    skew_ms: int | None
    pruned: bool


class IntakeStore(Protocol):
    """Deliveries and the runs they ask for."""

    def record(self, delivery: NewDelivery, planned: Sequence[PlannedRun]) -> tuple[str, bool, list[Receipt]]:
        """Record all of it in one transaction; returns (delivery id, it was there already, a receipt per run).

        A delivery that was there already names the runs that it made then, whatever became of their versions and
        commits since; those that failed are begun anew.
        """
        ...

    def add(self, claim: Claim, planned: Sequence[PlannedRun], now: datetime) -> list[Receipt]:
        """Record more runs of the claimed run's delivery: a branch's commit can carry several version tags.

        Error: overtaken (nothing was recorded).
        """
        ...


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One try of one stage, as it is kept."""

    stage: Stage
    outcome: str  # ok, waiting, retry, failed, rejected
    started_at: datetime
    ended_at: datetime
    error: str | None = None
    message: str | None = None
    retry_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """How a run goes on. `due_at` None keeps the worker on it; `pushed` marks its version as released for good.

    `hand_over` releases the lease and asks for a job for the next stage. `lasting` False: seen by all at once, but a power
    failure may take it back; then its stage is looked at again.
    """

    status: Status
    stage: Stage
    facts: Mapping[str, Any]
    tries: int
    stage_since: datetime | None
    due_at: datetime | None = None
    error: str | None = None
    error_message: str | None = None
    pushed: bool = False
    hand_over: bool = False
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class MirrorLease:
    """The right to push to a mirror, and what is remembered of it (None: never seen).

    `source_url`: the repository that it is of (domain/mirror_source.py); `becomes`: the one that the next push under this
    lease makes it the mirror of, None where that changes nothing.
    """

    path: str
    owner: str
    fence: int
    project_id: int | None
    clone_url: str | None
    web_url: str | None
    branch_at: str | None
    source_url: str | None = None
    becomes: str | None = None


class FlowStore(Protocol):
    """Claims, and the recording of outcomes. Every write checks the fence: `overtaken` when it is not ours."""

    def claim(self, run_id: str, owner: str, now: datetime, lease_seconds: float) -> Claim | None:
        """Take a run that is due and not leased; None when there is nothing to do.

        A run that has a job is due also where that was read on another host's clock, which is ahead by two seconds at most.
        """
        ...

    def claim_siblings(
        self, claim: Claim, now: datetime, lease_seconds: float, limit: int, soon: datetime | None = None
    ) -> list[Claim]:
        """Take the other runs of the same lane that wait for the mirror stage of the same mirror, oldest first.

        Also those that only found the mirror taken, and are due again before `soon`.
        """
        ...

    def siblings_held(self, claim: Claim, now: datetime) -> bool:
        """True while another worker holds a run that could be a sibling: it finds the mirror taken, and gives it back."""
        ...

    def take_slot(self, claim: Claim, facts: Mapping[str, Any], limit: int, now: datetime) -> bool:
        """Record `facts`, which note a backfill's pipeline, if fewer than `limit` are in flight; False when not."""
        ...

    def pauses(self) -> Sequence[Pause]:
        """What is not worked on now."""
        ...

    def live_waits(self, mirror: str, before: datetime) -> bool:
        """True when a live run of this mirror is to begin its mirror stage before then."""
        ...

    def give_up(self, claims: Sequence[Claim], mirror: MirrorLease | None) -> None:
        """Let go of all this as it is, so that somebody else goes on at once; what is not ours any more is left alone."""
        ...

    def renew(
        self, claims: Sequence[Claim], mirror: MirrorLease | None, now: datetime, lease_seconds: float,
        pushing: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> bool:  # fmt: skip
        """Lengthen all leases; False when at least one is lost (nothing is lengthened then).

        `pushing`: by run, what is about to be sent to the mirror, kept until the outcome is recorded; what it `removes` is
        in the audit log by then, and the mirror is recorded to be of what its lease says.
        """
        ...

    def record(self, claim: Claim, step: StepRecord | None, change: Change, now: datetime) -> str | None:
        """Write an outcome in one transaction; returns the id of the job to enqueue when `change.hand_over`.

        A wait for a pipeline whose end was told meanwhile (WakeStore) is handed over, too.
        """
        ...

    def take_name(self, claim: Claim, module: ModulePath, version: Version, now: datetime) -> SyncError | None:
        """Give a run whose module nobody named the name that its commit has for Go; what it held before is free again.

        An error as take_version gives it. Error: overtaken.
        """
        ...

    def take_version(
        self, claim: Claim, version: Version, commit: str, now: datetime, h1: str | None = None
    ) -> SyncError | None:
        """Give a run the version or the commit (`h1`: its content's, if known) that it was recorded without, as at intake.

        Not raised but given back when it may not have it: `duplicate_release` when another run brings exactly this release (one
        that failed is started again), `version_moved` when the version is another commit's.
        """
        ...


class MirrorStore(Protocol):
    """The database lease of a mirror, across hosts."""

    def lease_mirror(self, path: str, owner: str, now: datetime, lease_seconds: float) -> MirrorLease | None:
        """Take the mirror's lease; None while somebody else holds it."""
        ...

    def release_mirror(
        self, lease: MirrorLease, now: datetime, *, project: tuple[int, str, str] | None, branch_at: str | None
    ) -> None:
        """Give the lease back; remember the project (id, clone URL, page), where the branch was left, what the mirror becomes."""
        ...

    def source_of(self, path: str) -> str | None:
        """The repository that the mirror is of, as MirrorLease.source_url, without its lease; None: not known."""
        ...


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run that should be at work and is not: `job` was enqueued at `job_at` (None: no job since the last worker).

    `interrupted`: its worker died over it. `delivery`: what brought it.
    """

    id: str
    job: str | None
    job_at: datetime | None
    lane: str = Lane.LIVE
    interrupted: bool = False
    delivery: str = ""


class SweepStore(Protocol):
    """What the sweeper looks at."""

    def due(self, now: datetime, job_older_than: datetime, limit: int) -> list[DueRun]:
        """Active runs that are due, not leased, and have no recent job; at most `limit` of each lane.

        Those whose worker died come first, then those without a job, then the oldest.
        """
        ...

    def give_jobs(self, due: Sequence[DueRun], now: datetime) -> Mapping[str, str]:
        """By run, new job ids (compare-and-set on the present job); a run with which somebody else was faster has none."""
        ...

    def still_queued(self, run_ids: Sequence[str], now: datetime) -> None:
        """Remember that these runs' jobs were seen waiting in Redis."""
        ...


@dataclass(frozen=True, slots=True)
class ReplayOrder:
    """Who asked for a new attempt, why, from which stage (None: the one that failed), in which lane ("": the run's).

    `repo_url`: where its repository is now, in place of what its event named; "" leaves that. `attempt`: the one that was
    looked at; a run that has had another since is left alone (None: whichever it is).
    """

    actor: str
    reason: str
    from_stage: Stage | None = None
    force: bool = False
    lane: str = ""
    repo_url: str = ""
    attempt: int | None = None


class ReplayStore(Protocol):
    """Replays and cancellation."""

    def replay(
        self, run_id: str, order: ReplayOrder, target: Target | None, now: datetime, *, module: ModulePath | None = None
    ) -> Receipt:
        """Begin a new attempt with fresh retries; `target` replaces the stored one, `module` the stand-in for a module.

        Two orders at the same moment make one attempt: the second gets `still_running`.
        Errors: not_found, still_running, already_done (without force), not_replayable.
        """
        ...

    def get(self, run_id: str) -> Run | None:
        """The run, None when there is none."""
        ...

    def many(self, run_ids: Collection[str]) -> dict[str, Run]:
        """These runs by their ids; those that are not there are missing."""
        ...
