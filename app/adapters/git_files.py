"""A commit's files out of a cache, through the `git cat-file` that reads it anyway; through `git archive` where attributes count.

Without a .gitattributes `git archive` writes the blobs as they are (measured against it in test_git_files.py), and five
processes can be saved. A cache is modsync's own bare repository, so its object format and its place are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from app.adapters.git_archive import GitArchive
from app.adapters.git_objects import BLOBS, ObjectReader, TreeEntry
from app.domain.archive_bounds import ArchiveBounds, check_depth
from app.domain.errors import SyncError
from app.domain.modules import RuleBroken
from app.domain.modzip import Entry, Kind
from app.services.checksum import SourceUnreadable
from app.services.module_zip import Readable

_ATTRIBUTES = b".gitattributes"
_TREE, _SYMLINK, _SUBMODULE = b"40000", b"120000", b"160000"
_AT_ONCE = 1000  # questions in one go, of 50 bytes each: they fit into a pipe (64 KiB) that nobody reads yet
_WHOLE = 1 << 20  # bytes: files up to this size are taken at once

Healed = Callable[[Callable[[], bytes | None]], bytes | None]


class _Blob(NamedTuple):
    """A file of a tree: where it is, and the object with its bytes ("": a symlink, whose bytes nobody needs)."""

    name: str
    object: str


class CacheFiles(GitArchive):
    """Implements services.checksum.CommitFiles; `objects` reads the same cache. A damaged cache is SourceUnreadable.

    `healed` does a reading, again with a new cache where the first try finds damage.
    """

    def __init__(
        self, git_dir: Path, objects: ObjectReader, *, scratch: Path, healed: Healed, timeout: float = 600.0
    ) -> None:
        super().__init__(git_dir, timeout=timeout, scratch=scratch)
        self._objects_dir, self._reader, self._healed = git_dir / "objects", objects, healed

    @contextmanager
    def archive(self, commit: str, subdir: str) -> Iterator[Iterator[tuple[Entry, Readable]]]:
        """See CommitFiles."""
        blobs = self._plain(commit, subdir)
        if blobs is None:
            with super().archive(commit, subdir) as entries:
                yield entries
            return
        try:
            yield self._contents(blobs)
        except SyncError as error:
            raise SourceUnreadable(error.message) from error

    def read_file(self, commit: str, path: str, limit: int) -> bytes | None:
        """See CommitFiles."""
        if not path.isprintable():  # git's questions are lines
            return super().read_file(commit, path, limit)
        try:
            return self._healed(lambda: self._content(commit, path, limit))
        except SyncError as error:
            raise SourceUnreadable(error.message) from error

    def _content(self, commit: str, path: str, limit: int) -> bytes | None:
        blob = self._reader.entry(commit, path, BLOBS)
        if blob is None:
            self._check_commit(commit)
            return None
        found = self._reader.info(blob)
        if found and found.size > limit:
            raise RuleBroken("file_too_large", f"{path} has {found.size} bytes; at most {limit} are allowed")
        return self._reader.blob(blob)

    def _check_commit(self, commit: str) -> None:
        """A cache that was built anew lacks what modsync itself had made in it: not the same as a commit without the file."""
        if self._reader.info(commit) is None:
            raise SyncError("cache_broken", f"commit {commit} is missing")

    def _plain(self, commit: str, subdir: str) -> list[_Blob] | None:
        """Every file and symlink below `subdir`; None where attributes may count, or something is not as expected."""
        try:
            tree, above = self._directory(f"{commit}^{{tree}}", subdir)
            if tree is None:
                return None
            trees = self._trees(tree)
            # Also for git archive, which would have all of a hostile tree in memory before its first byte.
            blobs = list(_walk(trees, tree))
        except SyncError:
            return None  # git archive says what is wrong, if anything is
        return None if _has_attributes([*above, *trees.values()]) else blobs

    def _directory(self, root: str, subdir: str) -> tuple[str | None, list[list[TreeEntry]]]:
        """The tree of `subdir` (None: there is none), and the entries of those above it."""
        tree: str | None = root
        above: list[list[TreeEntry]] = []
        for part in subdir.encode().split(b"/") if subdir else []:
            if tree is None:
                break
            above += self._reader.trees([tree])
            tree = next((each for mode, name, each in above[-1] if (mode, name) == (_TREE, part)), None)
        return tree, above

    def _trees(self, root: str) -> dict[str, list[TreeEntry]]:
        """The entries of `root` and of every tree below it, asked for level by level."""
        found: dict[str, list[TreeEntry]] = {}
        asked, level = {root}, [root]
        while level:
            now, level = level[:_AT_ONCE], level[_AT_ONCE:]
            read = self._reader.trees(now)
            found.update(zip(now, read, strict=True))
            below = {object_ for entries in read for mode, _, object_ in entries if mode == _TREE}
            level += below - asked
            asked |= below
        return found

    def _contents(self, blobs: list[_Blob]) -> Iterator[tuple[Entry, Readable]]:
        for start in range(0, len(blobs), _AT_ONCE):
            group = blobs[start : start + _AT_ONCE]
            answers = self._reader.streams([blob.object for blob in group if blob.object])
            for name, object_ in group:
                if not object_:
                    yield Entry(name, Kind.SYMLINK, 0), BytesIO()
                    continue
                size, stream = next(answers)
                yield from _file(name, size, stream)
            next(answers, None)  # ends the exchange

    def _make_bare(self, scratch: str) -> str:
        """By hand: `git init` and a question to git cost more than the archive of a small module."""
        for name in ("objects", "refs", "info"):
            Path(scratch, name).mkdir()
        Path(scratch, "HEAD").write_text("ref: refs/heads/modsync\n")
        Path(scratch, "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        return str(self._objects_dir.absolute())


def _has_attributes(trees: Iterable[list[TreeEntry]]) -> bool:
    """They may change what `git archive` writes."""
    return any(name == _ATTRIBUTES for entries in trees for _, name, _ in entries)


def _walk(trees: Mapping[str, list[TreeEntry]], tree: str) -> Iterator[_Blob]:
    """Files and symlinks in git archive's order; RuleBroken `zip_too_large`. One tree may stand in any number of places."""
    bounds, above = ArchiveBounds(), [("", iter(trees[tree]))]
    while above:
        prefix, entries = above[-1]
        entry = next(entries, None)
        if entry is None:
            above.pop()
            continue
        mode, name, object_ = entry
        path = prefix + name.decode("utf-8", "surrogateescape")
        bounds.add(path)
        if mode == _TREE:
            above.append((f"{path}/", iter(trees[object_])))
            check_depth(len(above) - 1)
        elif mode != _SUBMODULE:
            yield _Blob(path, "" if mode == _SYMLINK else object_)


def _file(name: str, size: int, stream: IO[bytes]) -> Iterator[tuple[Entry, Readable]]:
    """A file with its content, all of which is read from the stream when the next one is taken."""
    if size <= _WHOLE:
        content = stream.read(size)
        if len(content) < size:
            raise _cut()
        yield Entry(name, Kind.FILE, size), BytesIO(content)
        return
    part = _Part(stream, size)
    yield Entry(name, Kind.FILE, size), part
    part.skip()


def _cut() -> SyncError:
    return SyncError("cache_broken", "git cat-file ended in the middle of an object")


class _Part:
    """The next `size` bytes of a stream."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; empty at the end. SyncError `cache_broken` when the stream ends too early."""
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        found = self._stream.read(wanted)
        if not found:
            raise _cut()
        self._left -= len(found)
        return found

    def skip(self) -> None:
        """Read what nobody wanted."""
        while self.read(1 << 20):
            continue
