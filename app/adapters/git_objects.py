"""Reads objects of a cache through one `git cat-file --batch-command` that lives as long as its reader."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from app.adapters.git_process import GitProcess
from app.domain.errors import SyncError
from app.domain.refs import TagAt

_READ_LIMIT = 16 << 20  # Go's own limit for go.mod and LICENSE
REGULAR = frozenset({b"100644", b"100755"})
BLOBS = REGULAR | {b"120000"}
_PIPE_BYTES = 1 << 18  # what git may be ahead of us

TreeEntry = tuple[bytes, bytes, str]
"""Mode (as git takes it: one of five), name and object."""


class ObjectInfo(NamedTuple):
    """An object's name, its type (commit, tag, tree, blob) and its size in bytes."""

    name: str
    type: str
    size: int


class ObjectReader:
    """Answers questions about objects; git starts at the first one. `timeout` in seconds bounds each answer.

    Raises SyncError `cache_broken` when git dies over a question, as it does over damaged objects.
    """

    def __init__(self, git_dir: Path, env: dict[str, str], timeout: float) -> None:
        self._start: Callable[[], GitProcess] = lambda: _started(env, git_dir, timeout)
        self._folder: tuple[str, list[TreeEntry]] | None = None
        self._process: GitProcess | None = None

    def begin(self) -> None:
        """Start git now; it will have started when the first question comes."""
        self._process = self._process or self._start()

    def info(self, name: str) -> ObjectInfo | None:
        """What `name` (an object, a ref, `<commit>:<path>`) is; None when there is no such thing."""
        with self._asking(f"info {name}") as stream:
            return _head(stream.readline())

    def contents(self, name: str) -> bytes | None:
        """The object's bytes; None when it is missing. Raises SyncError `not_a_module` above 16 MiB."""
        with self._asking(f"contents {name}") as stream:
            found = _head(stream.readline())
            return _read(found, stream) if found else None

    def peel(self, ref: str) -> TagAt | None:
        """The object at `ref` and the commit it peels to (None in it: a tree or a blob); None: no such ref."""
        found = end = self.info(ref)
        if found is None:
            return None
        while end and end.type == "tag":
            end = self.info(_target(self.contents(end.name) or b""))
        if end is None:
            raise SyncError("cache_broken", f"{ref} names an object that is missing")
        if end.size <= _READ_LIMIT:
            self.contents(end.name)  # a damaged object may even claim another type
        return TagAt(found.name, end.name if end.type == "commit" else None)

    def is_commit(self, sha: str) -> bool:
        """True when the commit is here, undamaged."""
        found = self.info(sha)
        return found is not None and found.type == "commit" and self.contents(sha) is not None

    def file(self, commit: str, path: str, modes: Container[bytes]) -> bytes | None:
        """The blob at `path` in `commit`; None for what is not there, or has none of the modes."""
        blob = self.entry(commit, path, modes)
        return self.blob(blob) if blob else None

    def entry(self, commit: str, path: str, modes: Container[bytes]) -> str | None:
        """The name of the blob at `path` in `commit`, which may be missing; None as file()."""
        folder, _, name = path.rpartition("/")
        entries = self._listed(commit, folder)
        return next((object_ for mode, entry, object_ in entries if entry == name.encode() and mode in modes), None)

    def blob(self, name: str) -> bytes:
        """The bytes of a blob that a tree has. SyncError `cache_broken` when it is missing, `not_a_module` above 16 MiB."""
        content = self.contents(name)
        if content is None:
            raise SyncError("cache_broken", f"blob {name} is missing")
        return content

    def _listed(self, commit: str, folder: str) -> list[TreeEntry]:
        """The entries of a tree; none where it is no tree. The last one is remembered: it is asked for again and again."""
        asked = f"{commit}:{folder}" if folder else f"{commit}^{{tree}}"
        if self._folder is None or self._folder[0] != asked:
            tree = self.info(asked)
            if tree is None:
                self._check_way(commit, folder)
            if tree is None or tree.type != "tree":
                return []
            self._folder = asked, self.trees([tree.name])[0]
        return self._folder[1]

    def _check_way(self, commit: str, folder: str) -> None:
        """SyncError `cache_broken` when a tree on the way is lost: git says the same of a name that is not there."""
        if self.info(commit) is None:
            return
        tree: str | None = f"{commit}^{{tree}}"
        for part in folder.encode().split(b"/") if folder else []:
            entries = self.trees([tree])[0] if tree else []
            tree = next((each for mode, name, each in entries if (mode, name) == (b"40000", part)), None)
        if tree:
            self.trees([tree])

    def trees(self, names: Sequence[str]) -> list[list[TreeEntry]]:
        """Each tree's entries; asked for at once, so a thousand at most. SyncError `cache_broken` for what is no tree."""
        return [_tree(found, stream) for found, stream in self._each(names)]

    def streams(self, names: Sequence[str]) -> Iterator[tuple[int, IO[bytes]]]:
        """For each blob (by full name, of any size) its size and the stream with its bytes, all of which are to be read.

        The names are sent at once, so a thousand at most. Go on to the iterator's end before asking anything else.
        SyncError `cache_broken` for what is no blob.
        """
        for found, stream in self._each(names):
            if found.type != "blob":
                raise SyncError("cache_broken", f"{found.name} is a {found.type}, not a file")
            yield found.size, stream
            if stream.read(1) != b"\n":
                raise ValueError("the answer is too short")

    def close(self) -> None:
        """End git; the next question starts it anew."""
        process, self._process, self._folder = self._process, None, None
        if process:
            process.kill()

    def _each(self, names: Sequence[str]) -> Iterator[tuple[ObjectInfo, IO[bytes]]]:
        """Each object and the stream, which is to be read up to the next one."""
        if not names:
            return
        with self._asking("\n".join(f"contents {name}" for name in names)) as stream:
            for name in names:
                found = _head(stream.readline())
                if found is None:
                    raise SyncError("cache_broken", f"object {name} is missing")
                yield found, stream

    @contextmanager
    def _asking(self, question: str) -> Iterator[IO[bytes]]:
        """Ask, and give the stream with the answer; whatever goes wrong meanwhile ends git."""
        self._process = process = self._process or self._start()
        try:
            yield process.ask(question.encode() + b"\nflush\n")
        except (OSError, ValueError) as error:
            self.close()
            raise SyncError("cache_broken", f"git cat-file ended: {error}") from error
        except BaseException:
            self.close()  # in the middle of an answer: nothing after it could be read rightly
            raise


def _started(env: dict[str, str], git_dir: Path, timeout: float) -> GitProcess:
    """git that answers at each `flush`, in large pieces: without --buffer it writes thrice for each object."""
    process = GitProcess(["cat-file", "--batch-command", "--buffer"], env, git_dir, tie=False)
    process.widen(_PIPE_BYTES, timeout)
    return process


def _head(line: bytes) -> ObjectInfo | None:
    """`<object> <type> <size>`; None for `<name> missing`. Raises ValueError when git said something else, or died."""
    if line.endswith((b" missing\n", b" ambiguous\n")):
        return None
    name, kind, size = line.decode("ascii").split()
    return ObjectInfo(name, kind, int(size))


def _read(found: ObjectInfo, stream: IO[bytes]) -> bytes:
    if found.size > _READ_LIMIT:
        raise SyncError("not_a_module", f"a file of {found.size} bytes is larger than Go modules allow")
    return _verified(found, _body(stream, found.size))


def _tree(found: ObjectInfo, stream: IO[bytes]) -> list[TreeEntry]:
    if found.type != "tree":
        raise SyncError("cache_broken", f"{found.name} is no tree")
    return list(_entries(_read(found, stream), len(found.name) // 2))


def _body(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size + 1)
    if len(content) != size + 1:
        raise ValueError("the answer is too short")
    return content[:-1]


def _verified(claimed: ObjectInfo, content: bytes) -> bytes:
    """`content` when its hash is the object's name: git itself does not look when it reads from a pack."""
    hashed = hashlib.sha1(f"{claimed.type} {claimed.size}\0".encode() + content, usedforsecurity=False)
    if hashed.hexdigest() != claimed.name:
        raise SyncError("cache_broken", f"object {claimed.name} is damaged")
    return content


def _target(tag: bytes) -> str:
    """The object that a raw tag names."""
    return tag.partition(b"\n")[0].removeprefix(b"object ").decode("ascii", "replace")


def _entries(tree: bytes, width: int) -> Iterator[TreeEntry]:
    """The (mode, name, object) of a raw tree whose object names take `width` bytes."""
    at = 0
    while at < len(tree):
        end = tree.index(b"\0", at)
        mode, _, name = tree[at:end].partition(b" ")
        at = end + 1 + width
        yield _canonical(mode), name, tree[end + 1 : at].hex()


@lru_cache(64)
def _canonical(mode: bytes) -> bytes:
    """A raw tree's mode as git reads it (cache.h, canon_mode): old histories have `040000`, `100664` and other oddities."""
    number = int(mode, 8)
    if stat.S_ISREG(number):
        return b"100755" if number & stat.S_IXUSR else b"100644"
    return {stat.S_IFLNK: b"120000", stat.S_IFDIR: b"40000"}.get(stat.S_IFMT(number), b"160000")
