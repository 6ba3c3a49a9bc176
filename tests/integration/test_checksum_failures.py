"""git that fails or hangs: an error that says so, never a hash."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.adapters.git_archive import GitArchive
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import SourceUnreadable, module_sums
from tests.integration.go_repositories import Blob, Commit, make_repository

MODULE, VERSION = ModulePath.parse("a.b/c"), Version.parse("v1.0.0")


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    files = {b"go.mod": Blob(b"module a.b/c\n"), b"a.go": Blob(b"package a\n" * 1000), b"b.go": Blob(b"package b\n")}
    return tmp_path / "r", make_repository(tmp_path / "r", [Commit(files)])[0]


def lose(repository: Path, name: str) -> None:
    """Take one object out of the repository."""
    git = ["git", "--git-dir", str(repository)]
    wanted = subprocess.run([*git, "rev-parse", name], check=True, capture_output=True, text=True).stdout.strip()
    for pack in list((repository / "objects/pack").glob("*.pack")):
        moved = pack.rename(repository / pack.name)
        subprocess.run([*git, "unpack-objects", "-q"], stdin=moved.open("rb"), check=True)
    (repository / "objects" / wanted[:2] / wanted[2:]).unlink()


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
    assert "git archive failed" in str(caught.value)


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
