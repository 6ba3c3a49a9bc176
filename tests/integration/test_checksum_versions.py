"""Which versions of a repository exist: tags of every kind and pseudo-versions, against a real go."""

import itertools
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.adapters.git_history import open_history
from app.domain.modules import ModulePath, RuleBroken, Version, pseudo_version
from app.services.checksum import module_sums
from app.services.locate import locate
from tests.integration.go_repositories import COMMIT_TIME, SITE, Blob, Commit, download, make_repository

ROOT, SUB = f"{SITE}/h.git", f"{SITE}/h.git/sub"


def outcome(repository: Path | str, release: str) -> str:
    """Both hashes, or `refused`."""
    module, version = release.split("@")
    try:
        path, parsed = ModulePath.parse(module), Version.parse(version)
        with open_history(str(repository)) as history:
            place = locate(history, path, parsed)
            sums = module_sums(history, place.commit, path, parsed, place.subdir)
    except RuleBroken:
        return "refused"
    return f"{sums.h1_zip} {sums.h1_go_mod}"


def go_outcomes(tmp_path: Path, releases: list[str]) -> dict[str, str]:
    answers = download(tmp_path, tmp_path / "cache", releases)
    return {
        release: "refused" if answer.error else f"{answer.h1} {answer.h1_go_mod}" for release, answer in answers.items()
    }


def git(directory: Path, *args: str, data: bytes = b"") -> str:
    done = subprocess.run(["git", "--git-dir", str(directory), *args], input=data, check=True, capture_output=True)
    return done.stdout.decode().strip()


def module_files(number: int, *, root: bool = True) -> dict[bytes, Blob]:
    files = {b"sub/go.mod": Blob(f"module {SUB}\n".encode()), b"a.go": Blob(b"package a // %d\n" % number)}
    return {b"go.mod": Blob(f"module {ROOT}\n".encode()), **files} if root else files


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, list[str]]:
    """Six commits with tags, a branch that nobody merged, and a commit that no ref reaches."""
    tags: list[dict[str, str]] = [
        {},
        {"v1.0.0": "light", "sub/v0.1.0": "annotated"},
        {"v1.1.0-rc.1": "nested"},
        {},
        {"v1.2.0+meta": "light"},
        {"v2.0.0": "light", "v1.0": "light"},
    ]
    commits = [Commit(module_files(number, root=number < 5), marks) for number, marks in enumerate(tags)]
    hashes = make_repository(tmp_path / "h", commits)
    tree = git(tmp_path / "h", "rev-parse", f"{hashes[3]}^{{tree}}")
    environment = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    lost = git(tmp_path / "h", *environment, "commit-tree", "-p", hashes[3], "-m", "lost", tree)
    aside = git(tmp_path / "h", *environment, "commit-tree", "-m", "aside", tree)
    git(tmp_path / "h", "branch", "aside", aside)
    return tmp_path / "h", [*hashes, lost, aside]


def times(repository: Path, commits: list[str]) -> dict[str, datetime]:
    return {
        commit: datetime.fromtimestamp(int(git(repository, "log", "-1", "--format=%ct", commit)), UTC)
        for commit in commits
    }


@pytest.mark.slow
def test_pseudo_versions_of_every_form(tmp_path: Path, history: tuple[Path, list[str]]) -> None:
    repository, commits = history
    when = times(repository, commits)
    bases = ["", "v1.0.0", "v1.1.0-rc.1", "v1.2.0", "v0.1.0", "v2.0.0+incompatible", "v1.9.9"]
    versions = [
        pseudo_version(major, base, when[commit], commit[:12])
        for base, commit in itertools.product(bases, commits)
        for major in ("v0", "v1")
    ]
    releases = [f"{module}@{version}" for module in (ROOT, SUB) for version in dict.fromkeys(versions)]
    ours = {release: outcome(repository, release) for release in releases}
    assert ours == go_outcomes(tmp_path, releases)
    assert {"refused"} < set(ours.values())


def test_pseudo_versions_with_wrong_digits_or_time(tmp_path: Path, history: tuple[Path, list[str]]) -> None:
    repository, commits = history
    git(repository, "tag", commits[3][:12], commits[3])
    git(repository, "tag", commits[2][:12], commits[1])
    git(repository, "branch", commits[1][:12], commits[0])
    when = times(repository, commits)
    late = datetime.fromtimestamp(COMMIT_TIME + 500, UTC)
    revisions = [commits[0][:11], commits[0][:13], commits[0], commits[0][:12].upper(), "abcdefabcdef", "HEAD", "main"]
    right = [(commit, when[commit]) for commit in commits[:5]]
    versions = [pseudo_version("v0", "", when[commits[0]], revision) for revision in revisions]
    versions += [pseudo_version("v0", "", time, commit[:12]) for commit, time in [(commits[0], late), *right]]
    versions += [f"v0.0.0-20201301000000-{commits[0][:12]}", f"v1.0.0-0.20200913122641-{commits[0][:12]}"]
    releases = [f"{ROOT}@{version}" for version in dict.fromkeys(versions)]
    assert {release: outcome(repository, release) for release in releases} == go_outcomes(tmp_path, releases)


def test_tags_of_every_kind(tmp_path: Path, history: tuple[Path, list[str]]) -> None:
    repository, commits = history
    git(repository, "tag", "v0.3.0", git(repository, "rev-parse", f"{commits[3]}^{{tree}}"))
    git(repository, "tag", "v0.4.0", git(repository, "rev-parse", f"{commits[3]}:a.go"))
    git(repository, "branch", "v0.5.0", commits[2])
    git(repository, "branch", "v1.0.0", commits[3])
    git(repository, "tag", "v0.6.0+incompatible", commits[3])
    names = [
        "v1.0.0",
        "v1.1.0-rc.1",
        "v0.3.0",
        "v0.4.0",
        "v0.5.0",
        "v0.7.0",
        "v2.0.0+incompatible",
        "v0.6.0+incompatible",
        "v1.0.0+incompatible",
    ]
    releases = [f"{ROOT}@{name}" for name in names] + [f"{SUB}@v0.1.0", f"{SUB}@v1.0.0"]
    ours = {release: outcome(repository, release) for release in releases}
    assert ours == go_outcomes(tmp_path, releases)
    accepted = {release for release, result in ours.items() if result != "refused"}
    assert accepted == {f"{ROOT}@v1.0.0", f"{ROOT}@v1.1.0-rc.1", f"{ROOT}@v2.0.0+incompatible", f"{SUB}@v0.1.0"}


def test_sha256_repository(tmp_path: Path) -> None:
    commits = make_repository(
        tmp_path / "h", [Commit(module_files(1), {"v1.0.0": "annotated"})], object_format="sha256"
    )
    assert len(commits[0]) == 64
    pseudo = pseudo_version("", "", datetime.fromtimestamp(COMMIT_TIME + 1, UTC), commits[0][:12])
    releases = [f"{ROOT}@v1.0.0", f"{ROOT}@{pseudo}"]
    expected = go_outcomes(tmp_path, releases)
    assert "refused" not in expected.values()
    for place in (str(tmp_path / "h"), f"file://{tmp_path}/h"):
        assert {release: outcome(place, release) for release in releases} == expected


def test_empty_repository(tmp_path: Path) -> None:
    make_repository(tmp_path / "h", [])
    for place in (str(tmp_path / "h"), f"file://{tmp_path}/h"):
        assert outcome(place, f"{ROOT}@v1.0.0") == "refused"
        assert outcome(place, f"{ROOT}@v0.0.0-20200913122641-abcdefabcdef") == "refused"


def test_history_that_strict_fsck_refuses(tmp_path: Path) -> None:
    make_repository(tmp_path / "h", [Commit(module_files(1))])
    tree = git(tmp_path / "h", "rev-parse", "main^{tree}")
    person = "A B <a@example.com> 1600000001 -75800"
    raw = f"tree {tree}\nauthor {person}\ncommitter {person}\n\nx\n".encode()
    commit = git(tmp_path / "h", "hash-object", "-t", "commit", "--literally", "-w", "--stdin", data=raw)
    git(tmp_path / "h", "update-ref", "refs/heads/main", commit)
    git(tmp_path / "h", "tag", "v1.0.0", commit)
    pseudo = pseudo_version("", "", datetime.fromtimestamp(1600000001, UTC), commit[:12])
    releases = [f"{ROOT}@v1.0.0", f"{ROOT}@v0.0.1-0.{pseudo[7:]}", f"{ROOT}@{pseudo}"]
    expected = go_outcomes(tmp_path, releases)
    assert expected[releases[0]] != "refused"
    for place in (str(tmp_path / "h"), f"file://{tmp_path}/h"):
        assert {release: outcome(place, release) for release in releases} == expected


def test_a_commit_of_a_year_that_go_cannot_write(tmp_path: Path) -> None:
    """Git's own checks let it pass; `.info` has no such time."""
    far = tmp_path / "far"
    (first,) = make_repository(far, [Commit(module_files(0), {})])
    tree = git(far, "rev-parse", f"{first}^{{tree}}")
    raw = f"tree {tree}\nauthor a <a@b> 1000000000000 +0000\ncommitter a <a@b> 1000000000000 +0000\n\nfar\n".encode()
    commit = git(far, "hash-object", "-t", "commit", "-w", "--stdin", data=raw)
    git(far, "update-ref", "refs/heads/far", commit)
    version = Version.parse(f"v0.0.0-20240101000000-{commit[:12]}")
    with open_history(str(far)) as history, pytest.raises(RuleBroken, match="a date that `go` cannot write"):
        locate(history, ModulePath.parse(ROOT), version)
