"""A commit's files through `git cat-file` are what `git archive` gives, and archive is asked wherever attributes may count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from app.adapters.git_archive import GitArchive
from app.adapters.git_copy import Copy
from app.adapters.git_files import CacheFiles
from app.adapters.git_objects import REGULAR
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import CommitFiles, SourceUnreadable, module_sums
from app.services.module_zip import Readable
from tests.integration.git_damage import drop_a_blob, lose
from tests.integration.git_world import SOURCE, World, git, nothing
from tests.sandbox.repositories import Content, Entry

FILES: dict[str, Content] = {
    "go.mod": "module corp.example/lib\n",
    "empty.go": "",
    "run.sh": Entry(b"#!/bin/sh\n", "100755"),
    "link": Entry(b"go.mod", "120000"),
    "crlf.txt": b"one\r\ntwo\r\n",
    "$Id$.txt": "$Id$ $Format:%H$\n",
    "a/b/c/deep.go": "package c\n",
    "a.b/x.go": "package x\n",
    "sub/go.mod": "module corp.example/lib/sub\n",
    "sub/big.bin": b"\0\1\2" * (6 << 20),
    "späte/ü.txt": "ü\n",
    **{f"many/f{number}.go": f"package many // {number}\n" for number in range(600)},
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextmanager
def both(world: World, files: dict[str, Content]) -> Iterator[tuple[CacheFiles, GitArchive, str]]:
    """The cache's files in both ways, of a commit of these files."""
    commit = world.repositories.commit(SOURCE, files, "Files")
    world.repositories.tag(SOURCE, f"v1.0.{len(world.repositories.tags(SOURCE))}", commit)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert isinstance(copy, Copy)
        copy.fetch(list(world.repositories.tags(SOURCE)), [])
        yield copy.files(world.root / "scratch"), GitArchive(Path(copy.path())), commit


def listed(source: CommitFiles, commit: str, subdir: str) -> list[tuple[object, str]]:
    """Every entry in its order, with its content's digest."""
    with source.archive(commit, subdir) as entries:
        return [(entry, sha256(_whole(content)).hexdigest()) for entry, content in entries]


def _whole(content: Readable) -> bytes:
    """Read in small pieces."""
    return b"".join(iter(lambda: content.read(1000), b""))


@pytest.mark.parametrize("subdir", ["", "sub", "a", "a/b/c"])
def test_the_same_as_git_archive(world: World, subdir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with both(world, FILES) as (plain, archive, commit):
        expected = listed(archive, commit, subdir)
        monkeypatch.setattr(GitArchive, "archive", None)  # it is not asked
        found = listed(plain, commit, subdir)
    assert found == expected
    assert found


@pytest.mark.parametrize("place", [".gitattributes", "sub/.gitattributes", "sub/deep/.gitattributes"])
def test_attributes_are_left_to_git_archive(world: World, place: str) -> None:
    files = {"go.mod": "module x\n", "sub/x.txt": "one\n", "sub/deep/y.txt": "one\n", place: "*.txt text eol=crlf\n"}
    with both(world, dict(files)) as (plain, archive, commit):
        found = listed(plain, commit, "sub")
        assert found == listed(archive, commit, "sub")
    assert sha256(b"one\r\n").hexdigest() in {digest for _, digest in found}


def test_a_submodule_is_no_entry(world: World) -> None:
    world.repositories.commit(SOURCE, {"go.mod": "module x\n"}, "One")
    tree = world.git(SOURCE, "ls-tree", "main")
    with_link = f"{tree}\n160000 commit {'1' * 40}\tvendored\n".encode()
    made = world.git(SOURCE, "mktree", "--missing", stdin=with_link)
    commit = world.git(SOURCE, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", made, "-m", "x")
    world.repositories.tag(SOURCE, "v0.0.1", commit)
    with both(world, {"x": "1"}) as (plain, archive, _):
        assert listed(plain, commit, "") == listed(archive, commit, "")


def test_modes_of_old_histories_mean_what_git_takes_them_for(world: World) -> None:
    """A padded mode is a directory's all the same, and modsync lets such histories in."""
    world.repositories.commit(SOURCE, {"go.mod": "module x\n", "lib.go": "package x\n"}, "One")
    blob = bytes.fromhex(world.repositories.resolve(SOURCE, "main:lib.go"))
    below = _raw_tree(world, (b"100664", b"a.go", blob), (b"0100755", b"b.go", blob), (b"120777", b"link", blob))
    odd = bytes.fromhex(below)
    mod = bytes.fromhex(world.repositories.resolve(SOURCE, "main:go.mod"))
    tree = _raw_tree(world, (b"0100644", b"go.mod", mod), (b"040000", b"sub", odd), (b"40755", b"wide", odd))
    commit = world.git(SOURCE, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", tree, "-m", "x")
    world.repositories.tag(SOURCE, "v0.0.1", commit)
    with both(world, {"x": "1"}) as (plain, archive, _):
        for subdir, entries in (("", 7), ("sub", 3), ("wide", 3)):
            found = listed(plain, commit, subdir)
            assert found == listed(archive, commit, subdir)
            assert len(found) == entries
        assert plain._reader.file(commit, "sub/a.go", REGULAR) == b"package x\n"
        assert plain._reader.file(commit, "sub/link", REGULAR) is None


def tree_bomb(world: World, levels: int, *names: str) -> str:
    """A commit whose levels of ten directories each are all of one tree: ten to the power of `levels` times these files."""
    blob = world.git(SOURCE, "hash-object", "-w", "--stdin", stdin=b"package x\n").strip()
    tree = world.git(
        SOURCE, "mktree", stdin="".join(f"100644 blob {blob}\t{name}\n" for name in names).encode()
    ).strip()
    for _ in range(levels):
        lines = "".join(f"040000 tree {tree}\td{number}\n" for number in range(10))
        tree = world.git(SOURCE, "mktree", stdin=lines.encode()).strip()
    return world.git(SOURCE, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", tree, "-m", "x").strip()


@pytest.mark.parametrize("names", [("x.go",), (".gitattributes", "x.go")])
def test_a_tree_that_stands_for_millions_of_files_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Before `git archive`, which would list all of them in memory, where it counts at all."""
    monkeypatch.setattr("app.domain.archive_bounds.MAX_FILES", 500)
    world.repositories.commit(SOURCE, {"x": "1"}, "One")
    bomb = tree_bomb(world, 12, *names)
    world.repositories.tag(SOURCE, "v0.0.1", bomb)
    with both(world, {"x": "1"}) as (plain, _, _commit), pytest.raises(RuleBroken, match="more than 500 files"):
        listed(plain, bomb, "")


def test_git_archive_is_counted_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a repository that is no cache: it is read as it is."""
    monkeypatch.setattr("app.domain.archive_bounds.MAX_FILES", 500)
    world.repositories.commit(SOURCE, {"x": "1"}, "One")
    bomb = tree_bomb(world, 3, "x.go")
    world.repositories.tag(SOURCE, "v0.0.1", bomb)
    with both(world, {"x": "1"}) as (_, archive, _commit), pytest.raises(RuleBroken, match="more than 500 files"):
        module_sums(archive, bomb, ModulePath.parse("corp.example/lib"), Version.parse("v0.0.1"), "")


def test_directories_may_lie_in_each_other_as_deep_as_git_allows(world: World) -> None:
    """Deeper than Python's own stack would go."""
    deep = "/".join(["d"] * 1500)
    with both(world, {"go.mod": "module x\n", f"{deep}/x.go": "package x\n"}) as (plain, archive, commit):
        found = listed(plain, commit, "")
        assert found == listed(archive, commit, "")
        assert len(found) == 2


def test_deeper_ones_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.domain.archive_bounds.MAX_DEPTH", 5)
    with both(world, {"go.mod": "module x\n", "1/2/3/4/5/6/x.go": "package x\n"}) as (plain, _, commit):
        with pytest.raises(RuleBroken, match="more than 5 directories"):
            listed(plain, commit, "")
        assert listed(plain, commit, "1")


def _raw_tree(world: World, *entries: tuple[bytes, bytes, bytes]) -> str:
    content = b"".join(mode + b" " + name + b"\0" + object_ for mode, name, object_ in entries)
    return world.git(SOURCE, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=content)


def test_a_tree_is_no_file(world: World) -> None:
    with both(world, FILES) as (plain, _, commit):
        tree = world.git(SOURCE, "rev-parse", f"{commit}:sub")
        with pytest.raises(SyncError, match="is a tree, not a file"):
            next(plain._reader.streams([tree]))


def test_what_is_not_there(world: World) -> None:
    with both(world, FILES) as (plain, archive, commit):
        for source in (plain, archive):
            with pytest.raises(SourceUnreadable):
                listed(source, commit, "nowhere")
            with pytest.raises(SourceUnreadable):
                listed(source, commit, "nowhere/many")
            assert source.read_file(commit, "nowhere/go.mod", 100) is None
            assert source.read_file(commit, "sub", 1 << 20) is None
            assert source.read_file(commit, "link", 100) == b"go.mod"
            assert source.read_file(commit, "sub/go.mod", 100) == b"module corp.example/lib/sub\n"
            with pytest.raises(RuleBroken, match="at most 100"):
                source.read_file(commit, "sub/big.bin", 100)


def test_reading_that_stops_early_does_not_harm_the_next(world: World) -> None:
    with both(world, FILES) as (plain, archive, commit):
        with plain.archive(commit, "") as entries:
            next(entries)[1].read(1)
            del entries
        assert listed(plain, commit, "a") == listed(archive, commit, "a")
        with plain.archive(commit, "") as entries:
            names = [entry.name for entry, _ in entries]  # nobody reads the contents
        assert "many/f599.go" in names


def test_damage_is_no_content(world: World) -> None:
    with both(world, {"go.mod": "module x\n", "version.txt": "one\n"}) as (plain, _, commit):
        drop_a_blob(Path(git_dir(plain)))
        plain._reader.close()  # it has the old pack open
        with pytest.raises(SourceUnreadable):
            listed(plain, commit, "")


@pytest.mark.parametrize("lost", ["go.mod", "LICENSE", "sub/deep/go.mod", "sub/deep", "sub", ""])
def test_a_lost_object_is_not_a_file_that_is_not_there(world: World, lost: str) -> None:
    """Taken for that, a module would lose its LICENSE, and have another h1."""
    files: dict[str, Content] = {"go.mod": "module x\n", "LICENSE": "free\n", "sub/deep/go.mod": "module x/sub/deep\n"}
    with both(world, files) as (plain, archive, commit):
        lose(Path(git_dir(plain)), f"{commit}:{lost}")
        plain._reader.close()  # it has the old pack open
        path = lost if lost.endswith(("go.mod", "LICENSE")) else "sub/deep/go.mod"
        with pytest.raises(SourceUnreadable):
            archive.read_file(commit, path, 100)
        with pytest.raises(SyncError) as caught:
            plain._reader.file(commit, path, REGULAR)
        assert caught.value.code == "cache_broken"
        assert plain.read_file(commit, path, 100) == str(files[path]).encode()  # the cache was built anew
        assert archive.read_file(commit, path, 100) is not None


def test_a_commit_that_a_new_cache_lacks_is_not_one_without_the_file(world: World) -> None:
    """modsync made it itself (registry.py): whoever asks has to make it again, and "no go.mod" would be the release's end."""
    with both(world, {"go.mod": "module x\n"}) as (plain, _, _), pytest.raises(SourceUnreadable, match="is missing"):
        plain.read_file("f" * 40, "go.mod", 100)


def git_dir(files: CacheFiles) -> str:
    """Where the files are read from."""
    return git(files._git_dir, "rev-parse", "--absolute-git-dir")
