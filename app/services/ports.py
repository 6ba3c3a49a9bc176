"""What the services need from the outside, as small Protocols; adapters implement them, fakes stand in for them.

Every method raises :class:`app.domain.errors.SyncError` and nothing else for what can go wrong outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Literal, Protocol

from app.domain.modules import ModulePath, Version
from app.domain.refs import RefUpdate, TagAt
from app.domain.signature import Signature, TrustedKeys


class Clock(Protocol):
    """Time and chance, so that decisions can be tested."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""
        ...

    def chance(self) -> float:
        """A number in [0, 1)."""
        ...


class WaitingClock(Clock, Protocol):
    """A clock by which one can also wait."""

    def wait(self, seconds: float) -> None:
        """Come back after this time."""
        ...


Checkpoint = Callable[[], None]
"""Called before anything that changes the world: raises SyncError("overtaken") when the worker lost its lease."""


class SourceCopy(Protocol):
    """One repository's bare cache on this host, held under the host-wide lock."""

    def fetch(self, tags: Sequence[str], commits: Sequence[str]) -> Mapping[str, TagAt]:
        """Bring the named tags (short names), and where not empty these commits (full sha), from the source.

        Returns what each tag that exists at the source names now; a missing tag is missing from the answer. A tag that
        moved at the source is taken over (forced), after its old and new object were recorded; see moved_from().
        Commits that cannot be had are simply absent afterwards.
        """
        ...

    def moved_from(self, tag: str) -> Sequence[str]:
        """The commits that this tag (short name) had at the source before it moved, as far as this cache saw them."""
        ...

    def has_commit(self, sha: str) -> bool:
        """True when the cache holds this commit."""
        ...

    def read_file(self, commit: str, path: str) -> bytes | None:
        """The blob at `path` in `commit` (None: not there, or not a regular file)."""
        ...

    def read_blob(self, commit: str, path: str) -> bytes | None:
        """As read_file, but a symbolic link's text counts as its content: so `go` reads a go.mod (`git cat-file blob`)."""
        ...

    def attributes(self, commit: str, directory: str) -> Mapping[str, bytes]:
        """directory ("": the root) -> its .gitattributes, of all that count for a module in `directory`: above it and below."""
        ...

    def make_tag(self, name: str, commit: str) -> TagAt:
        """Make a deterministic annotated tag on `commit` (same name and commit: same object) and return it."""
        ...

    def tag_signature(self, tag: str, at: TagAt, trust: TrustedKeys) -> Signature:
        """Whether a known key signed this tag (short name, as fetched) for this very name and commit."""
        ...

    def make_commit(self, files: Iterable[tuple[str, BinaryIO]], message: str, when: datetime) -> str:
        """Make a parentless commit of exactly these regular files and return it: the same input makes the same commit.

        Names are slash-separated; each content is read before the next is taken. `when` is the author's and the
        committer's time. It is an object without a ref. Error: disk_full.
        """
        ...

    def reach(self, mirror: str, options: Sequence[str], ready: Callable[[], bool]) -> None:
        """Connect to the mirror during the next fetch, for one push with these options that is to follow: it will be faster.

        Not before `ready` says so, which is asked in a thread of its own: GitLab makes a project for who asks for one that
        is not there. Nothing of the mirror changes by it, and no error is told before the push.
        """
        ...

    def push(
        self, mirror: str, updates: Sequence[RefUpdate], options: Sequence[str], fence: Checkpoint
    ) -> frozenset[str]:
        """Push all updates atomically, each with its explicit lease, to the mirror's clone URL; the refs that it changed.

        A ref that is there already as it shall be is none of them.

        `fence` is asked right before git sends anything, each time that it does: a push may be begun anew in another way,
        or from a cache that was rebuilt.
        Errors: `mirror_moved` when a lease was refused (nothing changed), and the refusals of GitLab by their codes.
        """
        ...

    def path(self) -> str:
        """The bare repository's directory, for reading."""
        ...


class Git(Protocol):
    """The only door to git."""

    def source(self, clone_url: str, checkpoint: Checkpoint) -> AbstractContextManager[SourceCopy]:
        """Open the cache of a source repository under its lock (made when it is missing, rebuilt when broken).

        Error: `cache_busy` at once, or nearly, while somebody else on this host has it open: who waits holds a worker.
        """
        ...

    def remote_refs(
        self, url: str, refs: Sequence[str], checkpoint: Checkpoint, *, side: Literal["source", "mirror"] = "mirror"
    ) -> Mapping[str, TagAt]:
        """What is at the remote now: full ref name (`refs/heads/x`, `refs/tags/y`) -> object and peeled commit.

        `refs` are full names or patterns as `git ls-remote` takes them; [] asks for all. A ref that is not there is
        missing from the answer. For a branch object and commit are equal. `side` chooses whose errors are reported.
        """
        ...


@dataclass(frozen=True, slots=True)
class MirrorProject:
    """A GitLab project: its numeric id, full path, the URL to push to (no credentials in it), and its page."""

    id: int
    path: str
    clone_url: str
    web_url: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A GitLab pipeline: `status` is GitLab's word, unknown ones included."""

    id: int
    status: str
    sha: str
    web_url: str
    name: str | None = None


class GitLab(Protocol):
    """The only door to GitLab's API."""

    def ensure_project(self, path: str) -> MirrorProject:
        """Find the mirror project, or create it (subgroups too, top-level groups never) and set it up.

        Idempotent; after it returns, `ci-sync` is protected with force push allowed, version tags are protected against
        change, Auto DevOps is off and the CI file is set, all before anything was ever pushed.
        """
        ...

    def find_project(self, path: str) -> MirrorProject | None:
        """The project as it is now, by one request; None when there is none or it is hidden.

        Where nobody looked for an hour, protections that were removed are made again, too. Errors: project_missing (it
        moved), gitlab_refused (it is archived).
        """
        ...

    def remove_tag(self, project: int, tag: str) -> None:
        """Remove a tag (short name), protected or not; one that is not there is no error."""
        ...

    def create_pipeline(self, project: int, ref: str, variables: Mapping[str, str]) -> Pipeline:
        """Create a pipeline on `ref`. Never replayed blindly: on `gitlab_unreachable` it may exist all the same."""
        ...

    def find_pipeline(self, project: int, name: str) -> Pipeline | None:
        """The newest pipeline with this name (set by the CI file's workflow:name), None when there is none."""
        ...

    def pipeline(self, project: int, pipeline: int) -> Pipeline:
        """A pipeline as it is now."""
        ...

    def retry_pipeline(self, project: int, pipeline: int) -> Pipeline | None:
        """Let GitLab run a failed pipeline's failed jobs again, when all of them failed for reasons of the runner.

        None when not: a job whose script failed would fail again. Repeating this is harmless.
        """
        ...

    def failed_job(self, project: int, pipeline: int) -> tuple[str, str, str] | None:
        """(name, page, last log lines) of the first failed job, for the run's page; None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """A proxy's `.info`, parsed: the version it answers for, and the commit when the answer names it."""

    version: str
    time: str | None
    commit: str | None


class GoProxy(Protocol):
    """The private Go module proxy (GOPROXY protocol). `not_cached_yet` stands for 404 and 410."""

    def info(self, module: ModulePath, version: Version) -> ProxyInfo:
        """GET <module>/@v/<version>.info."""
        ...

    def mod(self, module: ModulePath, version: Version) -> bytes:
        """GET <module>/@v/<version>.mod."""
        ...

    def zip(
        self, module: ModulePath, version: Version, checkpoint: Checkpoint = lambda: None
    ) -> AbstractContextManager[BinaryIO]:
        """GET <module>/@v/<version>.zip into a temporary file, positioned at its start; `checkpoint` is asked meanwhile."""
        ...

    def list(self, module: ModulePath) -> Sequence[str] | None:
        """GET <module>/@v/list: the versions that it names, in its order; None for 404 and 410: it has no such module."""
        ...

    def latest(self, module: ModulePath) -> ProxyInfo | None:
        """GET <module>/@latest; None for 404 and 410: the protocol does not ask for it."""
        ...


class StaticFiles(GoProxy, Protocol):
    """A private proxy that is a directory of files, which modsync itself writes."""

    def publish(
        self, module: ModulePath, version: Version, info: Callable[[], bytes], mod: Callable[[], bytes],
        write_zip: Callable[[BinaryIO], None], checkpoint: Checkpoint, fence: Checkpoint,
    ) -> None:  # fmt: skip
        """Write a version, over an earlier one: each file whole or not at all; listed when all are there.

        `write_zip` is called first, then `mod` and `info` for their bytes. `fence` is asked when nobody else may write and
        nothing is in its place yet; `checkpoint` while others write. Errors: disk_full, cache_busy, and the fence's.
        """
        ...


class JobQueue(Protocol):
    """RQ, as far as we use it: a hint that there is work; the database is the truth."""

    def enqueue(self, job_id: str, run_id: str, lane: str = "live", *, first: bool = False) -> None:
        """Enqueue `advance_run(run_id)` under this id in the queue of that name (see app.domain.run.Lane).

        `first`: before all that wait, for work that was interrupted. Error: `queue_unavailable`, within half a second.
        """
        ...

    def enqueue_all(self, jobs: Sequence[tuple[str, str]], lane: str = "live") -> None:
        """Enqueue several (job id, run id) in one exchange: all or none. Error: `queue_unavailable`."""
        ...

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        """Those of the jobs that Redis still holds as queued or started. Error: `queue_unavailable`."""
        ...
