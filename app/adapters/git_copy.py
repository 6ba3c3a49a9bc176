"""An open cache of a source: what is fetched into it, read from it, made in it, and pushed from it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from app.adapters import git_cache
from app.adapters.git_attribute_files import attribute_files
from app.adapters.git_clone import clone
from app.adapters.git_commit import make_commit
from app.adapters.git_errors import from_os
from app.adapters.git_fetch import fetch_commits, fetch_tags
from app.adapters.git_files import CacheFiles
from app.adapters.git_objects import BLOBS, REGULAR, ObjectReader
from app.adapters.git_push import push
from app.adapters.git_push_ahead import Ahead, can_begin
from app.adapters.git_repository import Repository, check_ref, check_sha
from app.adapters.git_signature import tag_signature
from app.adapters.redact import redact
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from app.domain.signature import UNSIGNED, Signature, TrustedKeys
from app.services.ports import Checkpoint

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Copy:
    """Implements app.services.ports.SourceCopy on an open cache.

    Damage is noticed by what git says; then the cache is built anew, once, with all it had here.
    """

    def __init__(self, repo: Repository, path: Path, url: str, *, fresh: bool) -> None:
        self._repo = repo
        self._path = path
        self._url = url
        self._fresh = self._empty = fresh
        self._rebuilt = False
        self._tags: dict[str, None] = {}
        self._commits: dict[str, None] = {}
        self._made: dict[str, str] = {}
        self._ahead: Ahead | None = None
        self._objects = ObjectReader(path, repo.environment(), repo.options.timeout_seconds)

    def fetch(self, tags: Sequence[str], commits: Sequence[str]) -> Mapping[str, TagAt]:
        """See SourceCopy.fetch."""
        found = self._healed(lambda: self._fetch(tags, commits))
        self._tags |= dict.fromkeys(tags)
        self._commits |= dict.fromkeys(commits)
        return found

    def moved_from(self, tag: str) -> Sequence[str]:
        """See SourceCopy.moved_from."""
        return self._healed(lambda: self._moved_from(tag))

    def has_commit(self, sha: str) -> bool:
        """See SourceCopy.has_commit."""
        return self._healed(lambda: self._has_commit(check_sha(sha)))

    def read_file(self, commit: str, path: str) -> bytes | None:
        """See SourceCopy.read_file. Raises SyncError `not_a_module` for a file above 16 MiB."""
        return self._read(commit, path, REGULAR)

    def read_blob(self, commit: str, path: str) -> bytes | None:
        """See SourceCopy.read_blob. Errors as read_file."""
        return self._read(commit, path, BLOBS)

    def _read(self, commit: str, path: str, modes: Container[bytes]) -> bytes | None:
        check_sha(commit)
        if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
            return None
        return self._healed(lambda: self._objects.file(commit, path, modes))

    def attributes(self, commit: str, directory: str) -> Mapping[str, bytes]:
        """See SourceCopy.attributes. A hundred at most, and none above 1 MiB."""
        return self._healed(lambda: attribute_files(self._objects, check_sha(commit), directory))

    def make_tag(self, name: str, commit: str) -> TagAt:
        """See SourceCopy.make_tag. The tag's date is the commit's; it is an object without a ref here."""
        check_ref(f"refs/tags/{name}")
        made = self._healed(lambda: self._make_tag(name, check_sha(commit)))
        self._made[name] = commit
        return made

    def tag_signature(self, tag: str, at: TagAt, trust: TrustedKeys) -> Signature:
        """See SourceCopy.tag_signature."""
        return self._healed(lambda: self._signature(tag, at, trust))

    def make_commit(self, files: Iterable[tuple[str, BinaryIO]], message: str, when: datetime) -> str:
        """See SourceCopy.make_commit. Not healed: `files` can be read only once, and the run is tried again."""
        return make_commit(self._repo, files, message, when)

    def reach(self, mirror: str, options: Sequence[str], ready: Callable[[], bool]) -> None:
        """See SourceCopy.reach."""
        self._leave()
        if can_begin(mirror):
            self._ahead = Ahead(self._repo, mirror, options, ready)

    def push(
        self, mirror: str, updates: Sequence[RefUpdate], options: Sequence[str], fence: Checkpoint
    ) -> frozenset[str]:
        """See SourceCopy.push."""
        return self._healed(lambda: push(self._repo, mirror, updates, options, fence, self._reached(mirror, options)))

    def path(self) -> str:
        """See SourceCopy.path."""
        return str(self._path)

    def files(self, scratch: Path) -> CacheFiles:
        """The files of the cache's commits, as `go` reads them."""
        return CacheFiles(self._path, self._objects, scratch=scratch, healed=self._healed)

    def close(self) -> None:
        """End every git that still runs."""
        self._leave()
        self._objects.close()

    def _meanwhile(self) -> None:
        """While git asks the source: what will be needed when it is done."""
        self._objects.begin()
        if self._ahead:
            self._ahead.begin()

    def _reached(self, mirror: str, options: Sequence[str]) -> Ahead | None:
        """What was begun for such a push, and is good for one; None: nothing was."""
        ahead = self._ahead
        if ahead is None or not ahead.waits or (ahead.url, ahead.options) != (mirror, tuple(options)):
            return None
        return ahead

    def _leave(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead:
            ahead.close()

    def _fetch(self, tags: Sequence[str], commits: Sequence[str]) -> dict[str, TagAt]:
        there = self._bring(tags)
        found = {tag: self._peeled(f"refs/tags/{tag}") for tag in there}
        fetch_commits(self._repo, self._url, commits, self._has_commit)
        for command in git_cache.maintenance(self._path):
            self._repo.local(*command)
        return found

    def _bring(self, tags: Sequence[str]) -> Sequence[str]:
        """Those of the tags that exist, as they are now; an empty cache begins with a clone of the last one."""
        empty, self._empty = self._empty and bool(tags), False
        if empty and clone(self._repo, self._path, self._url, tags[-1]) and set(tags) == {tags[-1]}:
            self._meanwhile()
            return tags[-1:]
        return fetch_tags(self._repo, self._url, tags, self._note_moved, self._meanwhile)

    def _note_moved(self, there: Mapping[str, str]) -> None:
        """Before tags are overwritten: say and keep what they name here; `there` is what they name at the source."""
        for tag, new in sorted(there.items()):
            held = self._objects.info(f"refs/tags/{tag}")
            if held is None or held.name == new:
                continue
            told = {"repository": redact(self._url), "tag": tag, "old": held.name, "new": new}
            _log.warning("source_tag_moved", extra=told)
            self._repo.local("update-ref", f"{_moved_refs(tag)}{held.name}", held.name)

    def _moved_from(self, tag: str) -> tuple[str, ...]:
        refs = self._repo.local("for-each-ref", "--format=%(refname)", _moved_refs(tag)).out.decode().split()
        return tuple(at.commit for ref in refs if (at := self._objects.peel(ref)) and at.commit)

    def _peeled(self, ref: str) -> TagAt:
        found = self._objects.peel(ref)
        if found is None and self._fresh:  # git leaves out, without a word, what would make the cache shallow
            raise SyncError("source_unsupported", f"the source did not give {ref}: it is a shallow repository")
        if found is None:
            raise SyncError("cache_broken", f"{ref} was fetched but is not there")
        return found

    def _signature(self, tag: str, at: TagAt, trust: TrustedKeys) -> Signature:
        raw = self._objects.contents(at.object) if at.object != at.commit else b""
        return tag_signature(self._repo, raw or b"", at.object, tag, at.commit or "", trust) if raw else UNSIGNED

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
        self._rebuilt = self._fresh = self._empty = True
        self.close()
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


def _moved_refs(tag: str) -> str:
    """Where old objects of a tag are kept: by its hash, for one tag's name may be another's directory."""
    return f"refs/modsync/moved/{hashlib.sha256(tag.encode()).hexdigest()[:20]}/"
