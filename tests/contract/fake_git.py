"""A git in memory for tests of the services: passes the same contract as the real door (test_git_contract.py)."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Literal

from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from app.domain.signature import UNSIGNED, Signature, TrustedKeys
from app.services.ports import Checkpoint, SourceCopy


@dataclass
class FakeRepository:
    """A repository: `commits` (their files and parent), tag objects (what they peel to), and `refs`.

    `refuses`, when set, is raised by every push instead of taking it (a hook's refusal).
    """

    commits: dict[str, tuple[dict[str, bytes], str | None]] = field(default_factory=dict)
    tag_objects: dict[str, str | None] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    refuses: SyncError | None = None

    def commit(self, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """A commit with `files` added to its parent's, on `branch`; its sha."""
        ref = f"refs/heads/{branch}"
        parent = self.refs.get(ref)
        content = {**(self.commits[parent][0] if parent else {}), **files}
        sha = _sha("commit", branch, parent, sorted(content.items()), len(self.commits))
        self.commits[sha] = (content, parent)
        self.refs[ref] = sha
        return sha

    def tag(self, name: str, commit: str | None, *, annotated: bool = False) -> str:
        """Make or move a tag (commit None: onto a tree); the object that it names."""
        found = _sha("tag", name, commit, len(self.tag_objects)) if annotated or commit is None else commit
        if found != commit:
            self.tag_objects[found] = commit
        self.refs[f"refs/tags/{name}"] = found
        return found

    def at(self, ref: str) -> TagAt | None:
        """The ref as observed."""
        found = self.refs.get(ref)
        return TagAt(found, self.tag_objects.get(found, found)) if found else None


@dataclass
class FakeGit:
    """ports.Git over dictionaries: `repositories` by URL. One cache per URL, kept; opened by one thread at a time.

    Tests make the next calls of a method (`source`, `fetch`, `push`, `remote_refs`) fail with fail(); `before_push` runs
    after the plan was made and before the leases are compared: what somebody else does meanwhile. `calls` lists methods.
    """

    repositories: dict[str, FakeRepository] = field(default_factory=dict)
    caches: dict[str, FakeRepository] = field(default_factory=lambda: defaultdict(FakeRepository))
    signatures: dict[str, Signature] = field(default_factory=dict)
    moved: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    calls: list[str] = field(default_factory=list)
    pushed_options: list[tuple[str, ...]] = field(default_factory=list)
    before_push: deque[object] = field(default_factory=deque)
    _failures: dict[str, deque[SyncError]] = field(default_factory=lambda: defaultdict(deque))
    _locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock), repr=False)

    def fail(self, method: str, *errors: SyncError) -> None:
        """The next calls of `method` raise these, one each."""
        self._failures[method].extend(errors)

    @contextmanager
    def source(self, clone_url: str, checkpoint: Checkpoint) -> Iterator[SourceCopy]:
        """See ports.Git.source."""
        self.called("source")
        if not self._locks[clone_url].acquire(timeout=0.1):
            raise SyncError("cache_busy", f"another run on this host works in the cache of {clone_url}")
        try:
            yield FakeCopy(self, clone_url)
        finally:
            self._locks[clone_url].release()

    def remote_refs(
        self, url: str, refs: Sequence[str], checkpoint: Checkpoint, *, side: Literal["source", "mirror"] = "mirror"
    ) -> Mapping[str, TagAt]:
        """See ports.Git.remote_refs; patterns may end in `*`."""
        self.called("remote_refs")
        repository = self.repository(url, "source_missing" if side == "source" else "project_missing")
        names = [name for name in repository.refs if not refs or any(_matches(name, each) for each in refs)]
        return {name: at for name in names if (at := repository.at(name))}

    def repository(self, url: str, missing: str) -> FakeRepository:
        """The repository at `url`, or SyncError(`missing`)."""
        if url not in self.repositories:
            raise SyncError(missing, f"{url} does not exist")
        return self.repositories[url]

    def called(self, method: str) -> None:
        """Note the call, and fail when a test wants that."""
        self.calls.append(method)
        if self._failures[method]:
            raise self._failures[method].popleft()


class FakeCopy:
    """ports.SourceCopy over a FakeGit's cache."""

    def __init__(self, git: FakeGit, url: str) -> None:
        self._git = git
        self._url = url
        self._cache = git.caches[url]
        self._reached: Callable[[], bool] | None = None

    def fetch(self, tags: Sequence[str], commits: Sequence[str]) -> Mapping[str, TagAt]:
        """See ports.SourceCopy.fetch."""
        ready, self._reached = self._reached, None
        if ready:
            ready()
        self._git.called("fetch")
        source = self._git.repository(self._url, "source_missing")
        found = {tag: at for tag in tags if (at := source.at(f"refs/tags/{tag}"))}
        for tag, at in found.items():
            held = self._cache.at(f"refs/tags/{tag}")
            if held and held.object != at.object:
                self._git.moved[self._url, tag].append(held.commit or "")
            self._cache.refs[f"refs/tags/{tag}"] = at.object
        for at in found.values():
            self._cache.tag_objects |= {at.object: at.commit} if at.object != at.commit else {}
            self._bring(source, at.commit)
        for commit in commits:
            self._bring(source, commit)
        return found

    def moved_from(self, tag: str) -> Sequence[str]:
        """See ports.SourceCopy.moved_from."""
        return self._git.moved[self._url, tag]

    def has_commit(self, sha: str) -> bool:
        """See ports.SourceCopy.has_commit."""
        return sha in self._cache.commits

    def read_file(self, commit: str, path: str) -> bytes | None:
        """See ports.SourceCopy.read_file."""
        return self._cache.commits.get(commit, ({}, None))[0].get(path)

    def read_blob(self, commit: str, path: str) -> bytes | None:
        """See ports.SourceCopy.read_blob; there are no links here."""
        return self.read_file(commit, path)

    def attributes(self, commit: str, directory: str) -> dict[str, bytes]:
        """See ports.SourceCopy.attributes."""
        files = self._cache.commits[commit][0]
        places = {
            path.rpartition("/")[0]: data for path, data in files.items() if path.split("/")[-1] == ".gitattributes"
        }
        own = "" if not directory else f"{directory}/"
        modules = [
            path[:-6] for path in files if path.endswith("/go.mod") and path.startswith(own) and path[:-6] != own
        ]

        def counts(place: str) -> bool:
            above = f"{place}/" in ("/", own) or own.startswith(f"{place}/")
            return above or (f"{place}/".startswith(own) and not any(f"{place}/".startswith(each) for each in modules))

        return {place: data for place, data in places.items() if counts(place)}

    def make_tag(self, name: str, commit: str) -> TagAt:
        """See ports.SourceCopy.make_tag."""
        if commit not in self._cache.commits:
            raise SyncError("commit_missing", f"commit {commit} is not in the source")
        made = _sha("made", name, commit)
        self._cache.tag_objects[made] = commit
        return TagAt(made, commit)

    def tag_signature(self, tag: str, at: TagAt, trust: TrustedKeys) -> Signature:
        """See ports.SourceCopy.tag_signature."""
        return self._git.signatures.get(at.object, UNSIGNED)

    def make_commit(self, files: Iterable[tuple[str, BinaryIO]], message: str, when: datetime) -> str:
        """See ports.SourceCopy.make_commit."""
        read = {name: content.read() for name, content in files}
        made = _sha("made", sorted(read.items()), message, when)
        self._cache.commits[made] = (read, None)
        return made

    def reach(self, mirror: str, options: Sequence[str], ready: Callable[[], bool]) -> None:
        """See ports.SourceCopy.reach: the next fetch asks whether the mirror is ready; a connection changes nothing here."""
        self._reached = ready

    def push(
        self, mirror: str, updates: Sequence[RefUpdate], options: Sequence[str], fence: Checkpoint
    ) -> frozenset[str]:
        """See ports.SourceCopy.push."""
        if not updates:
            return frozenset()
        fence()
        self._git.called("push")
        there = self._git.repository(mirror, "project_missing")
        if self._git.before_push and callable(meanwhile := self._git.before_push.popleft()):
            meanwhile()
        self._refuse(there, updates)
        self._git.pushed_options.append(tuple(options))
        changed = frozenset(update.ref for update in updates if there.refs.get(update.ref) != update.new)
        for update in updates:
            there.refs[update.ref] = update.new
            if commit := self._cache.tag_objects.get(update.new):
                there.tag_objects[update.new] = commit
        return changed

    def path(self) -> str:
        """There is no directory."""
        return f"/nonexistent/{self._url.rpartition('/')[2]}"

    def _bring(self, source: FakeRepository, sha: str | None) -> None:
        while sha in source.commits and sha not in self._cache.commits:
            self._cache.commits[sha] = source.commits[sha]
            sha = source.commits[sha][1]

    def _refuse(self, there: FakeRepository, updates: Sequence[RefUpdate]) -> None:
        for update in updates:
            if update.new not in self._cache.commits and update.new not in self._cache.tag_objects:
                raise SyncError("cache_broken", f"the cache has no object {update.new}")
            if there.refs.get(update.ref) not in (update.new, update.expected):
                raise SyncError("mirror_moved", f"{update.ref} is at {there.refs.get(update.ref)}")
        if there.refuses:
            raise there.refuses
        taken = {**there.refs, **{update.ref: update.new for update in updates}}
        blocked = [ref for ref in taken for other in taken if ref.startswith(f"{other}/")]
        if blocked:
            raise SyncError("tag_blocked", f"another ref stands in the way of {blocked[0]}")


def _sha(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode()).hexdigest()


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
