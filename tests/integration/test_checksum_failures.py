"""git that fails or hangs: an error that says so, never a hash."""

import os
import re
import shutil
from pathlib import Path

import pytest

from app.adapters.git_archive import GitArchive
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import SourceUnreadable, module_sums
from tests.integration.git_damage import lose
from tests.integration.git_world import git
from tests.integration.go_repositories import Blob, Commit, make_repository

MODULE, VERSION = ModulePath.parse("a.b/c"), Version.parse("v1.0.0")


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    files = {b"go.mod": Blob(b"module a.b/c\n"), b"a.go": Blob(b"package a\n" * 1000), b"b.go": Blob(b"package b\n")}
    return tmp_path / "r", make_repository(tmp_path / "r", [Commit(files)])[0]


def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Put a git in front that hangs for commands that hold the word `when`, and is the real one otherwise."""
    script = tmp_path / "bin" / "git"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" {when} "*) exec sleep 60;; esac\nexec {shutil.which("git")} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize("lost", ["HEAD:a.go", "HEAD^{tree}"])
def test_a_lost_object(repository: tuple[Path, str], lost: str) -> None:
    lose(repository[0], lost)
    with pytest.raises((SourceUnreadable, RuleBroken)) as caught:
        module_sums(GitArchive(repository[0]), repository[1], MODULE, VERSION, "")
    assert re.search("git (archive|ls-tree) failed", str(caught.value))


@pytest.fixture
def nested(tmp_path: Path) -> tuple[Path, str]:
    """A module in a subdirectory, which takes over the root's LICENSE."""
    files = {b"sub/go.mod": Blob(b"module a.b/c/sub\n"), b"LICENSE": Blob(b"free\n" * 1000)}
    return tmp_path / "r", make_repository(tmp_path / "r", [Commit(files)])[0]


def license_read(repository: Path, commit: str) -> None:
    """SourceUnreadable that says what is the matter, never sums of a module without its LICENSE."""
    with pytest.raises(SourceUnreadable, match=r"LICENSE .*missing or damaged|git (cat-file|ls-tree) failed"):
        module_sums(GitArchive(repository), commit, ModulePath.parse("a.b/c/sub"), VERSION, "sub")


def test_a_license_that_a_partial_clone_lacks(nested: tuple[Path, str], tmp_path: Path) -> None:
    source, clone = nested[0], tmp_path / "clone"
    git(source, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--bare", "--filter=blob:none", source.as_uri(), str(clone))
    git(clone, "cat-file", "blob", "HEAD:sub/go.mod")  # fetched, as a sparse checkout does
    source.rename(tmp_path / "gone")
    license_read(clone, nested[1])


@pytest.mark.parametrize("kept", [0, 40])
def test_a_damaged_license(nested: tuple[Path, str], kept: int) -> None:
    lose(nested[0], "HEAD:LICENSE")
    name = git(nested[0], "hash-object", "-w", "--stdin", stdin=b"free\n" * 1000)
    loose = nested[0] / "objects" / name[:2] / name[2:]
    loose.chmod(0o644)
    loose.write_bytes(loose.read_bytes()[:kept])
    license_read(*nested)


@pytest.mark.parametrize("when", ["cat-file", "archive", "init"])
def test_git_that_hangs(
    repository: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    hanging(tmp_path, monkeypatch, when)
    with pytest.raises(SourceUnreadable, match=f"git {when} took longer than 0.5 seconds"):
        module_sums(GitArchive(repository[0], timeout=0.5), repository[1], MODULE, VERSION, "")


def test_a_reader_that_stops_early_ends_git(repository: tuple[Path, str]) -> None:
    with pytest.raises(RuleBroken, match="enough"):
        stop_early(GitArchive(repository[0]), repository[1])


def stop_early(source: GitArchive, commit: str) -> None:
    with source.archive(commit, "") as entries:
        next(entries)
        raise RuleBroken("test", "enough")
