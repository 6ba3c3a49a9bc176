"""Paths whose host tells where the repository's root is, against a real `go`; and the limit of the archive itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from app.adapters import git_archive
from app.adapters.git_archive import GitArchive
from app.adapters.git_history import open_history
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import MAX_ZIP, Entry, Kind
from app.services.checksum import module_sums, zip_sums
from app.services.locate import locate
from app.services.module_zip import Readable
from tests.integration.git_world import SOURCE, World
from tests.integration.go_repositories import SYMLINK, Blob, Commit, download, make_repository
from tests.sandbox.discovery import by_root
from tests.sandbox.gofetch import Fetcher

FILES = {
    b"LICENSE": Blob(b"free\n"),
    b"a.go": Blob(b"package a\n"),
    b".gitattributes": Blob(b"*.txt eol=crlf\n"),
    b"a.txt": Blob(b"1\n2\n"),
    b"link": Blob(b"a.go", SYMLINK),
    b"vendor/x/y.go": Blob(b"package y\n"),
}


def ours(repository: Path, module: str, version: str) -> tuple[str, str]:
    path, parsed = ModulePath.parse(module), Version.parse(version)
    with open_history(str(repository)) as history:
        place = locate(history, path, parsed)
        found = module_sums(history, place.commit, path, parsed, place.subdir)
    return found.h1_zip, found.h1_go_mod


@pytest.mark.parametrize("site", ["github.com/x", "bitbucket.org/x"])
def test_a_known_host_says_where_the_root_is(tmp_path: Path, site: str) -> None:
    base = tmp_path / "served"
    base.mkdir()
    declared = {"": f"{site}/lib", "sub": f"{site}/lib/sub", "wire/v2": f"{site}/lib/wire/v2"}
    mods = {
        f"{place}/go.mod".lstrip("/").encode(): Blob(f"module {path}\n".encode()) for place, path in declared.items()
    }
    make_repository(
        base / "lib", [Commit({**FILES, **mods}, dict.fromkeys(("v1.0.0", "sub/v0.1.0", "wire/v2.0.0"), "light"))]
    )
    releases = [f"{site}/lib@v1.0.0", f"{site}/lib/sub@v0.1.0", f"{site}/lib/wire/v2@v2.0.0"]
    answers = download(base, tmp_path / "cache", [*releases, f"{site}/lib/other@v1.0.0"], site=site)
    for release in releases:
        assert ours(base / "lib", *release.split("@")) == (answers[release].h1, answers[release].h1_go_mod)
    assert answers[f"{site}/lib/other@v1.0.0"].error
    with pytest.raises(RuleBroken, match="unknown revision"):
        ours(base / "lib", f"{site}/lib/other", "v1.0.0")


@pytest.mark.parametrize(
    ("module", "version", "go_mod"),
    [
        ("gopkg.in/yaml.v2", "v2.4.0", "module gopkg.in/yaml.v2\n\ngo 1.15\n"),
        ("gopkg.in/check.v1", "v1.0.0", ""),
        ("gopkg.in/team/lib.v3", "v3.0.1", ""),
        ("gopkg.in/team/lib.v1", "v1.2.0-rc.1", "module gopkg.in/team/lib.v1\n"),
    ],
)
def test_gopkg_in_gives_what_go_makes_of_it(tmp_path: Path, module: str, version: str, go_mod: str) -> None:
    world = World(tmp_path)
    files: dict[str, str | bytes] = {"a.go": "package a\n", "a.txt": "1\n", ".gitattributes": "*.txt eol=crlf\n"}
    commit = world.repositories.commit(SOURCE, files | ({"go.mod": go_mod} if go_mod else {}), version)
    world.repositories.tag(SOURCE, version, commit)
    with world.server, fetcher(tmp_path / "go", {module: world.url(SOURCE)}) as go:
        fetched = go.download(f"{module}@{version}").files
    zipped = zip_sums(BytesIO(fetched["zip"]), ModulePath.parse(module), Version.parse(version))
    found = ours(world.repositories.path(SOURCE), module, version)
    assert found == (zipped.h1_zip, zipped.h1_go_mod)
    assert fetched["mod"] == zipped.go_mod_bytes


@contextmanager
def fetcher(root: Path, roots: dict[str, str]) -> Iterator[Fetcher]:
    go = Fetcher(root, by_root(roots), {})
    go.start()
    try:
        yield go
    finally:
        go.close()


class Packed:
    """A commit whose `left` bytes all stay out of the zip, and whose archive has `packed` bytes."""

    def __init__(self, left: int, packed: int) -> None:
        self.left, self.packed, self.asked = left, packed, 0

    @contextmanager
    def archive(self, _commit: str, _subdir: str) -> Iterator[Iterator[tuple[Entry, Readable]]]:
        names = {"go.mod": (Kind.FILE, 10), "vendor/x/big.bin": (Kind.FILE, self.left)}
        yield ((Entry(name, kind, size), BytesIO(b"module a.b")) for name, (kind, size) in names.items())

    def packed_size(self, _commit: str, _subdir: str) -> int:
        self.asked += 1
        return self.packed

    def read_file(self, _commit: str, path: str, _limit: int) -> bytes | None:
        return b"module a.b/c\n" if path == "go.mod" else None


@pytest.mark.parametrize(
    ("left", "packed", "asked", "refused"),
    [
        (MAX_ZIP // 2, MAX_ZIP + 1, 0, False),  # it cannot be that large: nobody packs it to see
        (MAX_ZIP, MAX_ZIP, 1, False),
        (MAX_ZIP, MAX_ZIP + 1, 1, True),
    ],
)
def test_an_archive_that_is_too_large_is_refused_though_most_of_it_is_left_out(
    left: int, packed: int, asked: int, refused: bool
) -> None:
    source = Packed(left, packed)
    release = ("c" * 40, ModulePath.parse("a.b/c"), Version.parse("v1.0.0"), "")
    if refused:
        with pytest.raises(RuleBroken, match=r"archive is larger than") as caught:
            module_sums(source, *release)
        assert caught.value.rule == "zip_too_large"
    else:
        assert [file.name for file in module_sums(source, *release).files] == ["go.mod"]
    assert source.asked == asked


def test_the_archives_size_is_gits_and_counting_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (commit,) = make_repository(tmp_path / "r", [Commit({b"big": Blob(bytes(range(256)) * 40_000), b"a": Blob(b"x")})])
    archive = GitArchive(tmp_path / "r")
    whole = archive.packed_size(commit, "")
    assert whole > 1000
    monkeypatch.setattr(git_archive, "MAX_ZIP", 100)
    monkeypatch.setattr(git_archive, "_CHUNK", 200)
    assert 100 < archive.packed_size(commit, "") < whole
