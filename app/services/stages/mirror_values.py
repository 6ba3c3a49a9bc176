"""What goes into the mirror stage and comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version, tag_name
from app.domain.signature import Signature, SigningPolicy, TrustedKeys
from app.domain.source_warnings import SourceWarning
from app.services.ports import MirrorProject, SourceCopy

PushFence = Callable[[Mapping[str, Mapping[str, Any]]], None]
"""Asked right before anything is sent to the mirror, with what: run -> `object`, `branch`, `removes`. {} forgets it."""


@dataclass(frozen=True, slots=True)
class Release:
    """What a run wants mirrored. `subdir`: the module's directory by the rules, without a `/vN` at its end.

    `replaces`: the commits that an operator allowed this one to take the version from (accept-move). `pushed`: the
    version went out at `commit` before. `known`: h1 values that were found out before, by commit. `pushing`: what
    an earlier try noted before a push that it had no answer for.
    """

    run_id: str
    module: ModulePath
    version: Version
    commit: str
    subdir: str
    make_tag: bool = False
    replaces: tuple[str, ...] = ()
    source: str = ""
    delivery: str = ""
    pushed: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    pushing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`module@version`."""
        return f"{self.module}@{self.version}"

    @property
    def tag(self) -> str:
        """The version's tag, short."""
        return tag_name(self.subdir, self.version)

    @property
    def directories(self) -> list[str]:
        """Where go.mod may be (modfetch/coderepo.go, findDir): `dir`, or for a `/vN` path `dir/vN`."""
        suffix = self.module.major_suffix
        nested = f"{self.subdir}{suffix}".strip("/")
        return [self.subdir, nested] if suffix.startswith("/") else [self.subdir]


Proof = Callable[[SourceCopy, Release, str], str]
"""(cache, release, directory) -> the h1 of the zip that `go` makes of the released commit.

SyncError `not_a_module` when `go` would refuse it.
"""


@dataclass(frozen=True, slots=True)
class MirrorRequest:
    """A repository's turn. `project` and `branch_at` are what is remembered (None: look).

    `keep_branch`: leave the branch where it is, for these releases are older than what it names.
    """

    clone_url: str
    mirror: str
    branch: str
    releases: tuple[Release, ...]
    project: MirrorProject | None = None
    branch_at: str | None = None
    keep_branch: bool = False


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A release that is in the mirror: its tag's object, where its go.mod is, that file, and the content's h1.

    `new`: modsync put the tag there, now or in an earlier try without an answer. `branch`: the `name` of the branch that
    went there with it, and the commits that it was at `before` and `after`.
    """

    tag: str
    object: str
    commit: str
    directory: str
    go_mod: bytes
    h1: str
    new: bool
    release: Release
    warnings: tuple[SourceWarning, ...] = ()
    signature: Signature | None = None
    branch: Mapping[str, Any] | None = None

    @property
    def go_mod_sha256(self) -> str:
        """The released go.mod's digest, to compare the proxy's `.mod` with."""
        return hashlib.sha256(self.go_mod).hexdigest()


@dataclass(frozen=True, slots=True)
class MirrorResult:
    """An outcome for each run's id; `project` and `branch_at` are worth remembering."""

    outcomes: Mapping[str, Mirrored | SyncError]
    project: MirrorProject | None
    branch_at: str | None


@dataclass(frozen=True, slots=True)
class Signing:
    """A source's policy on signed tags, and the keys that it knows."""

    policy: SigningPolicy
    trust: TrustedKeys
