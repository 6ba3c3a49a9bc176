"""Which files of a commit belong to a module zip, and its h1 (golang.org/x/mod/zip/zip.go, sumdb/dirhash/hash.go).

Pure decisions over names, kinds and sizes: contents are hashed while they stream past, and judged afterwards.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from app.domain.gofold import fold_key
from app.domain.gomod import go_line
from app.domain.gopath import check_file_path, is_plain_file_path
from app.domain.modules import ModulePath, Version, check_path_major
from app.domain.rules import RuleBroken

MAX_ZIP = 500 << 20
"""Bytes: the most that a module zip may hold, packed and unpacked."""
MAX_GO_MOD = 16 << 20
"""Bytes of go.mod."""
MAX_LICENSE = 16 << 20
"""Bytes of LICENSE."""

_SHOWN = 5  # problems named in one message
_GO_124 = (1, 24)
_GO_LINE = re.compile(r"(0|[1-9][0-9]*)(?:\.(0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)|[a-z]+(?:0|[1-9][0-9]*)?)?)?")


class Kind(StrEnum):
    """What an entry of an archive is."""

    FILE = "file"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry below the module's directory: slash-separated name (undecodable bytes as surrogates), size in bytes."""

    name: str
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class FileHash:
    """A file of a module: its name below the module's root and the sha256 of its bytes in hex."""

    name: str
    sha256: str


def zip_prefix(module: ModulePath, version: Version) -> str:
    """`example.com/x@v1.0.0/`, what every name in a module zip starts with."""
    return f"{module}@{version}/"


def check_release(module: ModulePath, version: Version) -> None:
    """Whether this pair can name a zip at all; RuleBroken `version_major` or `version_incompatible`."""
    check_path_major(version, module)
    if version.is_incompatible and (module.major_suffix or version.major in ("v0", "v1")):
        raise RuleBroken(
            "version_incompatible", f"{module}@{version}: +incompatible is not allowed, {version.major} suits the path"
        )


def select_files(entries: Sequence[Entry], go_mod: bytes | None) -> list[str]:
    """The names that go into the zip (zip.go checkFiles); `go_mod`: the root's go.mod, None unless it is a regular file.

    RuleBroken names up to five entries that Go refuses: `file_*` for names, `zip_collision`, `zip_duplicate`,
    `zip_go_mod_case`, `zip_go_mod_size`, `zip_license_size`, `zip_too_large`.
    """
    strict_vendor = go_mod is not None and _at_least_124(go_line(go_mod))
    nested = _nested_modules(entries)
    names, problems, seen, total = [], [], Collisions(), 0
    for entry in entries:
        if _is_left_out(entry.name, nested, strict_vendor=strict_vendor):
            continue
        problem = _problem(entry, seen)
        if entry.kind is Kind.FILE:
            names.append(entry.name)
            total += entry.size
        problems += [problem] if problem else []
    if total > MAX_ZIP:
        raise RuleBroken("zip_too_large", f"the module's files have {total} bytes; Go allows {MAX_ZIP}")
    if problems:
        raise RuleBroken(problems[0].rule, "; ".join(problem.message for problem in problems[:_SHOWN]))
    return names


def is_vendored(name: str, *, strict: bool) -> bool:
    """Whether a file lies in a vendored package (zip.go isVendoredPackage); `strict`: the go line says 1.24 or above.

    Older modules keep `vendor/modules.txt`, and for them Go keeps its old error: it looks behind the first eight bytes of
    the whole name instead of behind the inner `/vendor/`.
    """
    if strict and name == "vendor/modules.txt":
        return True
    if name.startswith("vendor/"):
        return "/" in name.removeprefix("vendor/")
    place = name.find("/vendor/")
    if place < 0:
        return False
    return "/" in name[(place if strict else 0) + len("/vendor/") :]


def hash1(files: Iterable[FileHash], prefix: str = "") -> str:
    """`h1:...` over the files with `prefix` before each name; the order does not matter."""
    raw = sorted(((prefix + file.name).encode(errors="surrogateescape"), file.sha256) for file in files)
    lines = b"".join(digest.encode() + b"  " + name + b"\n" for name, digest in raw)
    return "h1:" + b64encode(sha256(lines).digest()).decode()


def hash_go_mod(data: bytes) -> str:
    """The `h1:...` of a `/go.mod` line in go.sum."""
    return hash1([FileHash("go.mod", sha256(data).hexdigest())])


class Collisions:
    """Finds names that fold to the same, twice the same file, or a file where a directory is (zip.go collisionChecker)."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, bool]] = {}
        self._directories: set[str] = set()

    def add(self, name: str, *, is_dir: bool = False) -> None:
        """Take in a name and the directories above it; RuleBroken `zip_collision` or `zip_duplicate`."""
        while name and not (is_dir and name in self._directories):
            self._add_one(name, is_dir=is_dir)
            name, is_dir = name.rpartition("/")[0], True

    def _add_one(self, name: str, *, is_dir: bool) -> None:
        key = fold_key(name)
        if key not in self._seen:
            self._seen[key] = (name, is_dir)
            if is_dir:
                self._directories.add(name)
            return
        other, other_is_dir = self._seen[key]
        if other != name:
            raise RuleBroken("zip_collision", f"{other!r} and {name!r} differ only in letter case")
        if other_is_dir != is_dir:
            raise RuleBroken("zip_collision", f"{name!r} is both a file and a directory")
        if not is_dir:
            raise RuleBroken("zip_duplicate", f"{name!r} is there twice")


def check_size(name: str, size: int) -> None:
    """The limits of the root's go.mod and LICENSE; RuleBroken `zip_go_mod_size` or `zip_license_size`."""
    if name == "go.mod" and size > MAX_GO_MOD:
        raise RuleBroken("zip_go_mod_size", f"go.mod has {size} bytes; Go allows {MAX_GO_MOD}")
    if name == "LICENSE" and size > MAX_LICENSE:
        raise RuleBroken("zip_license_size", f"LICENSE has {size} bytes; Go allows {MAX_LICENSE}")


def check_clean(name: str) -> None:
    """RuleBroken `zip_unclean`: an absolute name, an empty element, `.` or `..`."""
    if any(element in ("", ".", "..") for element in name.split("/")):
        raise RuleBroken("zip_unclean", f"{name!r} is not a clean relative name")


def _is_left_out(name: str, nested: frozenset[str], *, strict_vendor: bool) -> bool:
    """Files that silently stay out, whatever they are called: vendored, in a nested module, Mercurial's own."""
    if is_vendored(name, strict=strict_vendor) or name == ".hg_archival.txt":
        return True
    if not nested:
        return False
    parents = name.split("/")[:-1]
    return any("/".join(parents[: depth + 1]) in nested for depth in range(len(parents)))


def _nested_modules(entries: Sequence[Entry]) -> frozenset[str]:
    """Directories below the root with a regular go.mod of any letter case."""
    split = [entry.name.rpartition("/") for entry in entries if entry.kind is Kind.FILE]
    return frozenset(directory for directory, _, base in split if directory and fold_key(base) == "go.mod")


def _problem(entry: Entry, seen: Collisions) -> RuleBroken | None:
    """Why Go refuses the whole module because of this entry; symlinks must have good names, too."""
    try:
        if not is_plain_file_path(entry.name):
            check_clean(entry.name)
            check_file_path(entry.name)
        if entry.name != "go.mod" and fold_key(entry.name) == "go.mod":
            raise RuleBroken("zip_go_mod_case", f"{entry.name!r} must be named go.mod")
        seen.add(entry.name)
        if entry.kind is Kind.FILE:
            check_size(entry.name, entry.size)
    except RuleBroken as problem:
        return problem
    return None


def _at_least_124(go_version: str) -> bool:
    """Whether a go line means Go 1.24 or above; a malformed one means nothing (go/version Lang and Compare)."""
    match = _GO_LINE.fullmatch(go_version)
    if match is None:
        return False
    return [_number(part) for part in (match[1], match[2] or "0")] >= [_number(str(part)) for part in _GO_124]


def _number(digits: str) -> tuple[int, str]:
    """A key that orders decimals without leading zeros, however long."""
    return len(digits), digits
