"""What people see of runs: frozen values whose `as_json()` is the API's JSON.

Times become ISO 8601 text in UTC (`2026-11-22T20:40:54.120000Z`), enums their text, nested values their own JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar, cast

from app.domain.errors import CATALOG, Retry, SyncError
from app.domain.run import Stage, Status, Target


class View:
    """Base of the values below: a dataclass that is its own JSON, key by key."""

    __slots__ = ()

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON's own types."""
        return {each.name: as_json(getattr(self, each.name)) for each in fields(cast(Any, self))}


def as_json(value: Any) -> Any:
    """A view, a time, an enum, or a container of them as JSON's own types."""
    if isinstance(value, View):
        return value.as_json()
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(as_json(key)): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (tuple, list)) else value


def stamp(moment: datetime) -> str:
    """An aware time as text in UTC, microseconds always there: texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True, slots=True)
class ErrorView(View):
    """A recorded error; `retry` says what happens by itself: never, backoff or patient."""

    code: str
    message: str
    retry: str
    advice: str

    @classmethod
    def of_error(cls, error: SyncError) -> ErrorView:
        """From an error at hand."""
        return cls(error.code, error.message, str(error.kind.retry), error.advice)

    @classmethod
    def of(cls, code: str | None, message: str | None) -> ErrorView | None:
        """From what is stored; None without a code. A code of another release of modsync has no advice."""
        if code is None:
            return None
        kind = CATALOG.get(code)
        return cls(code, message or "", str(kind.retry if kind else Retry.NEVER), kind.advice if kind else "")


@dataclass(frozen=True, slots=True)
class RunSummary(View):
    """A run as lists show it; `version` is None while a branch is not resolved."""

    id: str
    module: str
    version: str | None
    ref: str
    commit: str
    source: str
    status: Status
    stage: Stage
    attempt: int
    mirror: str
    job: str | None
    error: ErrorView | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    @property
    def name(self) -> str:
        """`module@version`, or `module@ref` while the version is not known."""
        return f"{self.module}@{self.version or self.ref}"


@dataclass(frozen=True, slots=True)
class StepView(View):
    """One try of one stage; `seconds` is how long it took, `retry_at` when it is tried again."""

    stage: Stage
    outcome: str
    started_at: datetime
    ended_at: datetime
    seconds: float
    error: str | None
    message: str | None
    retry_at: datetime | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AttemptView(View):
    """The first try of a run (kind delivery), a redelivery or a replay, with the ids of all its RQ jobs."""

    number: int
    kind: str
    from_stage: Stage
    actor: str
    reason: str
    created_at: datetime
    ended_at: datetime | None
    outcome: Status | None
    error: str | None
    jobs: tuple[str, ...]
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class DeliveryView(View):
    """A webhook request that asked for the run; `duplicate`: the run was there already."""

    id: str
    source: str
    received_at: datetime
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Facts(View):
    """What the stages found out, {} where they have not yet; `go_sum` is the release's two lines, or ().

    `proof` is what the source's content hashes to, `verify` what the proxy served. `warnings`: `{"code", "message"}` of
    what modules and mirrors handle in their own way (submodules, Git LFS). `signature`: the tag's, where the source's
    policy looks at it (see app.domain.signature.Signature). `conflict`: of a version that would change `old_commit`, `old_h1`,
    `new_commit`, `new_h1` (None where it is not known).
    """

    project: Mapping[str, Any]
    push: Mapping[str, Any]
    proof: Mapping[str, Any]
    pipeline: Mapping[str, Any]
    verify: Mapping[str, Any]
    go_sum: tuple[str, ...]
    warnings: tuple[Mapping[str, str], ...] = ()
    signature: Mapping[str, Any] = field(default_factory=dict)
    conflict: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetView(View):
    """Where a release comes from and goes to; `rule` is the matching rule's pattern."""

    mirror: str
    clone_url: str
    subdir: str
    proxy: str
    tags: str
    rule: str
    content: str = "git"

    @classmethod
    def of(cls, target: Target) -> TargetView:
        """From a run's target."""
        return cls(**{each.name: getattr(target, each.name) for each in fields(cls)})


@dataclass(frozen=True, slots=True)
class RunDetail(RunSummary):
    """All of a run. `downloadable_after_seconds`: from the delivery to the first time it was done; None before that."""

    delivery: str
    target: TargetView
    facts: Facts
    due_at: datetime | None
    pushed_at: datetime | None
    replaced_by: str | None
    downloadable_after_seconds: float | None
    attempts: tuple[AttemptView, ...]
    deliveries: tuple[DeliveryView, ...]


Item = TypeVar("Item", bound=View)


@dataclass(frozen=True, slots=True)
class Page(View, Generic[Item]):
    """Some items and the cursor of the next page; `next` None: there are no more."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Counts(View):
    """A cheap look, each number counted up to 10,000. `runs`: those in flight, and those that ended within a day.

    `due_oldest_seconds`: how long the run that waits longest for a worker has been due (0: none waits);
    `leases_expired`: runs whose worker died; `deliveries`: those kept.
    """

    runs: Mapping[Status, int]
    due: int
    due_oldest_seconds: float
    leases_expired: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class MirrorView(View):
    """What is remembered of a mirror's GitLab project, and the repository that it is of; None: never seen."""

    path: str
    project_id: int | None
    clone_url: str | None
    web_url: str | None
    branch_at: str | None
    updated_at: datetime
    source_url: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseView(View):
    """Which run and commit hold a version; `pushed_at` None: the mirror does not have it yet.

    `run` is "" where the version was adopted, for no run brought it; `run_kept` False: there is no such run to be looked at.
    """

    module: str
    version: str
    run: str
    commit: str
    pushed_at: datetime | None
    run_kept: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows of a module (at a version): the newest runs, the versions that runs hold.

    `repo_urls`: the clone URL that each source named last; from payloads, so it is not for showing.
    """

    runs: tuple[RunSummary, ...] = ()
    releases: tuple[ReleaseView, ...] = ()
    repo_urls: Mapping[str, str] = field(default_factory=dict)
