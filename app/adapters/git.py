"""The only door to git: source caches, and what is at a remote. git itself runs through GitPython (git_process.py)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from app.adapters import git_cache
from app.adapters.git_env import Credential, Credentials, GitOptions, Secret, check_url
from app.adapters.git_errors import Side, from_os
from app.adapters.git_fetch import fetch_commits, fetch_tags
from app.adapters.git_objects import ObjectReader
from app.adapters.git_process import Watch
from app.adapters.git_push import push
from app.adapters.git_repository import Repository, check_ref, check_sha, is_ref
from app.adapters.redact import redact
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from app.services.ports import Checkpoint, SourceCopy

__all__ = ["Credential", "GitDoor", "GitOptions", "Secret"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class GitDoor:
    """Implements app.services.ports.Git. `credentials` chooses by URL; None: ask without one."""

    def __init__(self, options: GitOptions, credentials: Credentials) -> None:
        self._options = options
        self._credentials = credentials

    @contextmanager
    def source(self, clone_url: str, checkpoint: Checkpoint) -> Iterator[SourceCopy]:
        """Open the cache of `clone_url` under its host-wide lock; the checkpoint is asked while waiting, too."""
        check_url(clone_url, self._options.protocols, "clone_url_refused")
        watch = self._watch(checkpoint)
        path = git_cache.directory(self._options.cache_dir.absolute(), clone_url)
        with git_cache.locked(path, watch):
            fresh = git_cache.prepare(path, self._options, watch)
            copy = _Copy(Repository(path, self._options, self._credentials, watch), path, clone_url, fresh=fresh)
            try:
                yield copy
            finally:
                copy.close()

    def remote_refs(
        self, url: str, refs: Sequence[str], checkpoint: Checkpoint, *, side: Side = "mirror"
    ) -> Mapping[str, TagAt]:
        """What is at `url` now; `side` says whose errors to report. A tag of a tree or blob cannot be told from here."""
        try:
            self._options.cache_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os(error, "the cache directory") from error
        repo = Repository(None, self._options, self._credentials, self._watch(checkpoint))
        return repo.remote_refs(side, url, refs)

    def _watch(self, checkpoint: Checkpoint) -> Watch:
        return Watch(self._options.timeout_seconds, checkpoint, self._options.beat_seconds)


class _Copy:
    """An open cache. Damage is noticed by what git says; then the cache is built anew, once, with all it had here."""

    def __init__(self, repo: Repository, path: Path, url: str, *, fresh: bool) -> None:
        self._repo = repo
        self._path = path
        self._url = url
        self._fresh = fresh
        self._rebuilt = False
        self._tags: dict[str, None] = {}
        self._commits: dict[str, None] = {}
        self._made: dict[str, str] = {}
        self._objects = ObjectReader(path, repo.environment(), repo.options.timeout_seconds)

    def fetch(self, tags: Sequence[str], commits: Sequence[str]) -> Mapping[str, TagAt]:
        """See SourceCopy.fetch."""
        found = self._healed(lambda: self._fetch(tags, commits))
        self._tags |= dict.fromkeys(tags)
        self._commits |= dict.fromkeys(commits)
        return found

    def has_commit(self, sha: str) -> bool:
        """See SourceCopy.has_commit."""
        return self._healed(lambda: self._has_commit(check_sha(sha)))

    def read_file(self, commit: str, path: str) -> bytes | None:
        """See SourceCopy.read_file. Raises SyncError `not_a_module` for a file above 16 MiB."""
        check_sha(commit)
        if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
            return None
        return self._healed(lambda: self._objects.regular_file(commit, path))

    def make_tag(self, name: str, commit: str) -> TagAt:
        """See SourceCopy.make_tag. The tag's date is the commit's; it is an object without a ref here."""
        check_ref(f"refs/tags/{name}")
        made = self._healed(lambda: self._make_tag(name, check_sha(commit)))
        self._made[name] = commit
        return made

    def push(self, mirror: str, updates: Sequence[RefUpdate], options: Sequence[str]) -> None:
        """See SourceCopy.push."""
        self._healed(lambda: push(self._repo, mirror, updates, options))

    def path(self) -> str:
        """See SourceCopy.path."""
        return str(self._path)

    def close(self) -> None:
        """End the reader's git."""
        self._objects.close()

    def _fetch(self, tags: Sequence[str], commits: Sequence[str]) -> dict[str, TagAt]:
        held = {tag: at for tag in tags if (at := self._held(tag))}
        there = fetch_tags(self._repo, self._url, tags)
        found = {tag: self._peeled(f"refs/tags/{tag}") for tag in there}
        for tag in sorted(tag for tag, at in found.items() if held.get(tag, at.object) != at.object):
            told = {"repository": redact(self._url), "tag": tag, "old": held[tag], "new": found[tag].object}
            _log.warning("source_tag_moved", extra=told)
        fetch_commits(self._repo, self._url, commits, self._has_commit)
        for command in git_cache.maintenance(self._path):
            self._repo.local(*command)
        return found

    def _held(self, tag: str) -> str | None:
        """The object that the cache's tag names now, before it may be overwritten."""
        found = self._objects.info(f"refs/tags/{tag}") if is_ref(f"refs/tags/{tag}") else None
        return found.name if found else None

    def _peeled(self, ref: str) -> TagAt:
        found = self._objects.peel(ref)
        if found is None and self._fresh:  # git leaves out, without a word, what would make the cache shallow
            raise SyncError("source_corrupt", f"the source did not give {ref}: is it a shallow repository?")
        if found is None:
            raise SyncError("cache_broken", f"{ref} was fetched but is not there")
        return found

    def _has_commit(self, sha: str) -> bool:
        return self._objects.is_commit(sha)

    def _make_tag(self, name: str, commit: str) -> TagAt:
        content = self._objects.contents(commit) or b""
        when = _committed(content)
        if when is None:
            raise SyncError("commit_missing", f"commit {commit} is not in the source")
        tagger = f"{self._repo.options.tagger_name} <{self._repo.options.tagger_email}> {when}"
        text = f"object {commit}\ntype commit\ntag {name}\ntagger {tagger}\n\n{name}\n"
        made = self._repo.local("hash-object", "-t", "tag", "-w", "--stdin", stdin=text.encode())
        return TagAt(made.out.decode().strip(), commit)

    def _healed(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except SyncError as error:
            if not self._worth_rebuilding(error):
                raise
            _log.warning("cache_rebuilt", extra={"cache": self._path.name, "reason": error.message})
        self._rebuild()
        return action()

    def _worth_rebuilding(self, error: SyncError) -> bool:
        """Damage here; or what looks like damage at the source, which a damaged cache can fake."""
        return not self._rebuilt and (
            error.code == "cache_broken" or (error.code == "source_corrupt" and not self._fresh)
        )

    def _rebuild(self) -> None:
        self._rebuilt = self._fresh = True
        self._objects.close()
        try:
            git_cache.rebuild(self._path, self._repo.options, self._repo.watch)
        except OSError as error:
            raise from_os(error, f"cache {self._path.name}") from error
        self._fetch(list(self._tags), list(self._commits))
        for name, commit in self._made.items():
            self._make_tag(name, commit)


def _committed(commit: bytes) -> str | None:
    """The committer's `<seconds> <zone>` of a raw commit; None when it is none."""
    lines = commit.partition(b"\n\n")[0].splitlines()
    line = next((line for line in lines if line.startswith(b"committer ")), None)
    return " ".join(line.decode("utf-8", "replace").rsplit(" ", 2)[1:]) if line else None
