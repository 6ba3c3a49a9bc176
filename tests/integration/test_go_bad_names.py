"""File names in a repository that are no UTF-8, or no names for a module zip: a real go decides, modsync does the same."""

from pathlib import Path

import pytest

from app.adapters.git_history import open_history
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import module_sums
from app.services.locate import locate
from tests.integration.go_repositories import SITE, SYMLINK, Answer, Blob, Commit, download, make_repository

MODULE, VERSION = f"{SITE}/h.git", "v1.0.0"
GO_MOD = {b"go.mod": Blob(f"module {MODULE}\n\ngo 1.24\n".encode()), b"a.go": Blob(b"package a\n")}
TEXT = Blob(b"package a\n")


def ours(repository: Path) -> str:
    """`h1_zip h1_go_mod`; RuleBroken when it is no module."""
    path, version = ModulePath.parse(MODULE), Version.parse(VERSION)
    with open_history(str(repository)) as history:
        place = locate(history, path, version)
        sums = module_sums(history, place.commit, path, version, place.subdir)
    return f"{sums.h1_zip} {sums.h1_go_mod}"


def gos(tmp_path: Path, files: dict[bytes, Blob]) -> Answer:
    make_repository(tmp_path / "h", [Commit({**GO_MOD, **files}, {VERSION: "light"})])
    release = f"{MODULE}@{VERSION}"
    return download(tmp_path, tmp_path / "cache", [release])[release]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"\xff.go", "invalid UTF-8"),
        (b"caf\xe9.go", "invalid UTF-8"),
        (b"dir/\xc3(", "invalid UTF-8"),
        (b"\xed\xa0\x80.go", "invalid UTF-8"),  # half of a UTF-16 pair
        (b"\xc0\xaf", "invalid UTF-8"),  # a slash, too long
        (b"aux.go", "disallowed as path element"),
        (b"a:b.go", "invalid char"),
        (b"new\nline.go", "invalid char"),
    ],
)
@pytest.mark.parametrize("blob", [TEXT, Blob(b"a.go", SYMLINK)], ids=["file", "symlink"])
def test_a_name_that_go_refuses_is_refused(tmp_path: Path, name: bytes, says: str, blob: Blob) -> None:
    go = gos(tmp_path, {name: blob})  # a link is left out of the zip, but not before its name was looked at
    assert says in go.error
    with pytest.raises(RuleBroken):
        ours(tmp_path / "h")


@pytest.mark.parametrize(
    "files",
    [
        {b"vendor/x/\xff.go": TEXT},
        {b"nested/\xff.go": TEXT, b"nested/go.mod": Blob(b"module example.com/n\n")},
        {b"up": Blob(b"../../../etc/passwd", SYMLINK), b"dir/root": Blob(b"/etc/passwd", SYMLINK)},
        {"zażółć/ÿ.txt".encode(): TEXT},
    ],
    ids=["vendored", "nested", "symlinks-out", "utf8"],
)
def test_a_name_that_go_leaves_out_or_takes_does_no_harm(tmp_path: Path, files: dict[bytes, Blob]) -> None:
    go = gos(tmp_path, files)
    assert go.error == ""
    assert ours(tmp_path / "h") == f"{go.h1} {go.h1_go_mod}"
