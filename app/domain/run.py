"""The run: the work to bring one release through, its stages, and its legal transitions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.errors import SERVED_OTHER
from app.domain.modules import ModulePath, Version


class Stage(StrEnum):
    """A run's steps in order."""

    MIRROR = "mirror"
    PIPELINE = "pipeline"
    VERIFY = "verify"


class Lane(StrEnum):
    """Whose work a run is, and so the queue of its jobs: a release as it happens, or one from long ago."""

    LIVE = "live"
    BACKFILL = "backfill"


class Status(StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    MIRROR = "mirror"
    PIPELINE = "pipeline"
    VERIFY = "verify"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"


ENDED = frozenset({Status.DONE, Status.FAILED, Status.REJECTED})
ACTIVE = frozenset(Status) - ENDED
_NEXT = {Stage.MIRROR: Stage.PIPELINE, Stage.PIPELINE: Stage.VERIFY, Stage.VERIFY: None}


def is_failure(status: Status, error: str | None) -> bool:
    """True where a release that is wanted did not come through: it failed, or was rejected for what the proxy serves."""
    return status is Status.FAILED or (status is Status.REJECTED and error in SERVED_OTHER)


# Their newest decision counts when they are told of anew; a moved version or another run's is asked for again.
_LOOKED_AT_AGAIN = (
    frozenset({"version_moved", "superseded", "no_rule", "clone_url_refused", "mirror_of_another"}) | SERVED_OTHER
)


def begins_anew(status: Status, error: str | None) -> bool:
    """True for a run that is tried again when its release is reported again."""
    return status is Status.FAILED or (status is Status.REJECTED and error in _LOOKED_AT_AGAIN)


WORKERS_LOST = "workers_lost"
"""The fact how many workers in a row died over a run: its lease ran out without a word of how the stage went."""
ALONE_FROM = 3
"""From so many lost workers on a run is worked on by itself, so that what kills them is not held against others.

A host that dies twice over a full batch must not make each of them go by itself.
"""


def earlier(one: Stage, other: Stage) -> Stage:
    """Whichever of two stages comes first."""
    order = list(Stage)
    return min(one, other, key=order.index)


def next_stage(stage: Stage) -> Stage | None:
    """The stage after `stage`; None after the last."""
    return _NEXT[stage]


def may_become(old: Status, new: Status) -> bool:
    """True when a run may go from `old` to `new` within one attempt; an ended run never changes but by replay."""
    if old in ENDED:
        return False
    if new in (Status.FAILED, Status.REJECTED):
        return True
    order = [Status.QUEUED, Status.MIRROR, Status.PIPELINE, Status.VERIFY, Status.DONE]
    return order.index(new) >= order.index(old)


def semantic_key(module: str, version: str | None, ref: str, commit: str) -> str:
    """What makes two requests the same release: module, version (the ref while there is none) and commit; hex."""
    parts = [module, version, "" if version else ref, commit]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a release comes from and goes to, decided at intake by the rules and stored with the run.

    `subdir` is the module's directory below the repository's root (without `/`), "" for the root.
    """

    clone_url: str
    mirror: str  # the GitLab project's full path: group/sub/name
    subdir: str = ""
    proxy: str = "default"
    tags: str = "require"  # or "make": a missing tag is made by us
    rule: str = ""
    content: str = "git"  # or "goproxy": clone_url is the module's address in a registry


@dataclass(frozen=True, slots=True)
class Run:
    """A run as stored. `fence` grows with each claim; `version` and `tag` are None until a branch is resolved."""

    id: str
    source: str
    module: str
    version: str | None
    ref: str
    commit: str
    target: Target
    status: Status
    stage: Stage
    attempt: int
    fence: int
    created_at: datetime
    updated_at: datetime
    delivery: str
    error: str | None = None
    error_message: str | None = None
    due_at: datetime | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None
    job: str | None = None
    tries: int = 0  # failures of the present stage in the present attempt
    stage_since: datetime | None = None  # when the present stage was first begun in this attempt
    pushed_at: datetime | None = None
    lane: str = Lane.LIVE
    event: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    pushing: dict[str, Any] | None = None  # what an earlier try was to push, and had no answer for

    @property
    def path(self) -> ModulePath:
        """The module. RuleBroken for a refused run whose repository no rule names a module for: no stage ever sees it."""
        return ModulePath.parse(self.module)

    @property
    def released(self) -> Version:
        """The version. RuleBroken while it is not known, which no stage ever sees."""
        return Version.parse(self.version or "")

    @property
    def known_h1(self) -> str | None:
        """The h1 of the run's own commit, as far as any attempt of it found that out."""
        return known_h1(self.facts, self.commit)

    @property
    def replaces(self) -> tuple[tuple[str, str | None], ...]:
        """(commit, its h1 where known) of what the version was before accepted moves, the last one first."""
        return replaced(self.facts)

    @property
    def name(self) -> str:
        """`module@version`, or `module@ref` while the version is not known."""
        return f"{self.module}@{self.version or self.ref}"


def known_h1(facts: Mapping[str, Any], commit: str) -> str | None:
    """See Run.known_h1."""
    conflict = facts.get("conflict", {})
    told = (conflict.get(f"{side}_h1") for side in ("old", "new") if conflict.get(f"{side}_commit") == commit)
    return facts.get("proof", {}).get("h1") or facts.get("known_h1") or next(told, None)


def replaced(facts: Mapping[str, Any]) -> tuple[tuple[str, str | None], ...]:
    """See Run.replaces."""
    moved = facts.get("moved")
    return ((moved["old_commit"], moved["old_h1"]), *map(tuple, moved.get("earlier", ()))) if moved else ()


def name_without_go_mod(run: Run) -> tuple[ModulePath, Version] | None:
    """What Go calls a root tag v2 and above of a repository without go.mod: `x@v2.0.0+incompatible`, not `x/v2@v2.0.0`.

    None where it has no such name, or where the platform itself named the module. Who tells a repository's tag names none
    (and reconcile guesses as intake does); only the commit can tell.
    """
    guessed = run.event.get("module") is None or run.lane == Lane.BACKFILL
    if not guessed or run.target.subdir or not run.path.major_suffix.startswith("/"):
        return None
    return ModulePath.parse(run.path.prefix), run.released.with_incompatible()


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to write a run: valid until another claim raises the fence."""

    run: Run
    owner: str
    fence: int
