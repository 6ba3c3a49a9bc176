"""The go.sum lines of a release, computed from a commit or from a module zip, as `go` would (modfetch/coderepo.go Zip, GoMod)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Protocol

from app.domain.archive_bounds import ArchiveBounds
from app.domain.gomod import parse_go_mod
from app.domain.modules import ModulePath, RuleBroken, Version, synthesized_go_mod
from app.domain.modzip import (
    MAX_GO_MOD,
    MAX_LICENSE,
    MAX_ZIP,
    Entry,
    FileHash,
    Kind,
    check_release,
    check_size,
    hash1,
    hash_go_mod,
    select_files,
    zip_prefix,
)
from app.services.module_zip import Readable, ZipSink, check_zip

_CHUNK = 1 << 20
_ZIP_OVERHEAD = 200  # bytes: more than git's zip adds to one file besides its name (twice)


class SourceUnreadable(RuntimeError):  # noqa: N818 - it reads as what happened
    """git, or the place it should read, failed; the message says how, without credentials."""


class CommitFiles(Protocol):
    """The files of a repository's commits; app.adapters.git_archive.GitArchive is the real one."""

    def archive(self, commit: str, subdir: str) -> AbstractContextManager[Iterator[tuple[Entry, Readable]]]:
        """Every entry below `subdir` but directories, once, in a fixed order, with the bytes that `git archive` writes for `go`.

        Names are relative to `subdir`. Each content must be read before the next entry is taken.
        """
        ...

    def packed_size(self, commit: str, subdir: str) -> int:
        """Bytes of `git archive --format=zip`, counting stopped somewhere above 500 MiB."""
        ...

    def read_file(self, commit: str, path: str, limit: int) -> bytes | None:
        """The raw blob at `path` (of a symlink: its target's name); None when there is none.

        RuleBroken `file_too_large` above `limit` bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModuleSums:
    """What a release is: both h1 hashes, the bytes of its `.mod`, and every file of its zip with its hash (zip order)."""

    module: ModulePath
    version: Version
    h1_zip: str
    h1_go_mod: str
    go_mod_bytes: bytes
    files: tuple[FileHash, ...]

    @property
    def go_sum(self) -> tuple[str, str]:
        """The two lines for go.sum, without newlines."""
        name = f"{self.module} {self.version}"
        return f"{name} {self.h1_zip}", f"{name}/go.mod {self.h1_go_mod}"


def module_sums(source: CommitFiles, commit: str, module: ModulePath, version: Version, subdir: str) -> ModuleSums:
    """Hash what `go` would take from `commit` for a module whose go.mod lies in `subdir` (empty: the root).

    One pass over the archive, nothing kept but names and hashes. RuleBroken says why Go would refuse it.
    """
    check_release(module, version)
    go_mod = release_go_mod(source, commit, module, version, subdir)
    scan = _Scan(source, commit, subdir)
    names = select_files(scan.entries, scan.go_mod)
    _check_packed(scan.entries, lambda: source.packed_size(commit, subdir))
    files = tuple(FileHash(name, scan.hashes[name]) for name in names)
    return ModuleSums(module, version, hash1(files, zip_prefix(module, version)), hash_go_mod(go_mod), go_mod, files)


def write_module_zip(
    source: CommitFiles, commit: str, module: ModulePath, version: Version, subdir: str, target: BinaryIO
) -> ModuleSums:
    """Write the module zip to `target` (seekable) and return what it holds; RuleBroken before anything is written."""
    sums = module_sums(source, commit, module, version, subdir)
    wanted = {file.name for file in sums.files}
    with ZipSink(target, zip_prefix(module, version)) as sink:
        with source.archive(commit, subdir) as entries:
            for entry, content in entries:
                if entry.kind is Kind.FILE and entry.name in wanted:
                    wanted.discard(entry.name)
                    sink.add(entry.name, entry.size, content)
        if wanted:
            sink.add_bytes("LICENSE", source.read_file(commit, "LICENSE", MAX_LICENSE) or b"")
    return sums


def zip_sums(file: BinaryIO, module: ModulePath, version: Version) -> ModuleSums:
    """The sums of a module zip as downloaded; `file` is seekable. A zip without go.mod gets the synthesised `.mod`.

    RuleBroken `zip_*` or `file_*` for anything Go refuses (x/mod/zip CheckZip), and beyond it for duplicate names and symlinks.
    """
    check_release(module, version)
    prefix = zip_prefix(module, version)
    files, go_mod = check_zip(file, prefix)
    data = synthesized_go_mod(module.text) if go_mod is None else go_mod
    return ModuleSums(module, version, hash1(files, prefix), hash_go_mod(data), data, files)


def release_go_mod(source: CommitFiles, commit: str, module: ModulePath, version: Version, subdir: str) -> bytes:
    """The bytes of the release's `.mod`; RuleBroken when the go.mod in `subdir` does not make it this module.

    `go_mod_missing`, `go_mod_incompatible` (a +incompatible version must not have one), `go_mod_no_module`, `go_mod_mismatch`.
    """
    path = f"{subdir}/go.mod" if subdir else "go.mod"
    data = source.read_file(commit, path, MAX_GO_MOD)
    if data is None:
        if subdir or module.major_suffix.startswith("/"):
            raise RuleBroken("go_mod_missing", f"{module}@{version}: there is no {path} at commit {commit[:12]}")
        return synthesized_go_mod(module.text)
    if version.is_incompatible:
        raise RuleBroken(
            "go_mod_incompatible", f"{module}@{version}: +incompatible is not allowed where there is a go.mod"
        )
    declared = parse_go_mod(data).module
    if declared != module.text:
        raise RuleBroken("go_mod_mismatch", f"{path} declares its path as {declared!r}, but the release is of {module}")
    return data


class _Scan:
    """One pass over the archive of a module: entries, hashes by name, and the root's go.mod as it is in the archive."""

    def __init__(self, source: CommitFiles, commit: str, subdir: str) -> None:
        self.entries: list[Entry] = []
        self.hashes: dict[str, str] = {}
        self.go_mod: bytes | None = None
        self._bounds = ArchiveBounds()
        with source.archive(commit, subdir) as entries:
            for entry, content in entries:
                self._take(entry, content)
        if subdir and not any(entry.name == "LICENSE" for entry in self.entries):
            self._inherit(source.read_file(commit, "LICENSE", MAX_LICENSE))

    def _take(self, entry: Entry, content: Readable) -> None:
        self._bounds.add(entry.name)
        self.entries.append(entry)
        if entry.kind is not Kind.FILE:
            return
        check_size(entry.name, entry.size)
        first, rest = content.read(_CHUNK), iter(lambda: content.read(_CHUNK), b"")
        if entry.name == "go.mod":
            self.go_mod = first = first + b"".join(rest)
        digest = sha256(first)
        for chunk in rest:
            digest.update(chunk)
        self.hashes[entry.name] = digest.hexdigest()

    def _inherit(self, root_license: bytes | None) -> None:
        """A module in a subdirectory takes over the root's LICENSE, unchanged by attributes."""
        if root_license is not None:
            self.entries.append(Entry("LICENSE", Kind.FILE, len(root_license)))
            self.hashes["LICENSE"] = sha256(root_license).hexdigest()


def _check_packed(entries: Sequence[Entry], packed_size: Callable[[], int]) -> None:
    """Go refuses an archive above 500 MiB even if most of it is left out; only when it may be that large is it packed."""
    if _packed_at_most(entries) > MAX_ZIP and packed_size() > MAX_ZIP:
        raise RuleBroken("zip_too_large", f"the repository's archive is larger than {MAX_ZIP} bytes")


def _packed_at_most(entries: Sequence[Entry]) -> int:
    return sum(entry.size + 2 * len(entry.name) + _ZIP_OVERHEAD for entry in entries)
