"""Pushes on real repositories: whole or not at all, and each ref under its lease."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from tests.integration.git_world import MIRROR, SOURCE, World, nothing, overtaken_after

BRANCH = "refs/heads/ci-sync"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


def test_a_refused_lease_changes_nothing(world: World) -> None:
    one, _ = world.release("v1.0.0")
    two, tag = world.release("v1.0.1")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0", "v1.0.1"], [])
        copy.push(world.url(MIRROR), [RefUpdate(BRANCH, one, None)], [], nothing)
        for stale in (None, two.replace(two[0], "f", 1)):
            updates = [RefUpdate(BRANCH, two, stale), RefUpdate("refs/tags/v1.0.1", tag, None)]
            with pytest.raises(SyncError, match="mirror_moved"):
                copy.push(world.url(MIRROR), updates, [], nothing)
            assert world.refs(MIRROR) == {BRANCH: one}


def test_the_branch_may_go_back_under_its_lease(world: World) -> None:
    one, _ = world.release("v1.0.0")
    two, _ = world.release("v1.0.1")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0", "v1.0.1"], [])
        copy.push(world.url(MIRROR), [RefUpdate(BRANCH, two, None)], [], nothing)
        copy.push(world.url(MIRROR), [RefUpdate(BRANCH, one, two)], [], nothing)
    assert world.refs(MIRROR) == {BRANCH: one}


def test_a_tag_is_created_or_refused_never_changed(world: World) -> None:
    one, _ = world.release("v1.0.0")
    two, other = world.release("v1.0.1", annotated=True)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0", "v1.0.1"], [])
        copy.push(world.url(MIRROR), [RefUpdate("refs/tags/v1.0.0", one, None)], [], nothing)
        copy.push(world.url(MIRROR), [RefUpdate("refs/tags/v1.0.0", one, None)], [], nothing)  # there already: fine
        with pytest.raises(SyncError, match="mirror_moved"):
            copy.push(
                world.url(MIRROR),
                [RefUpdate(BRANCH, two, None), RefUpdate("refs/tags/v1.0.0", other, None)],
                [],
                nothing,
            )
    assert world.refs(MIRROR) == {"refs/tags/v1.0.0": one}


def test_a_branch_and_a_tag_of_one_name(world: World) -> None:
    commit, tag = world.release("ci-sync", annotated=True)
    world.repositories.branch(SOURCE, "ci-sync", commit)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert copy.fetch(["ci-sync"], []) == {"ci-sync": TagAt(tag, commit)}
        copy.push(
            world.url(MIRROR), [RefUpdate(BRANCH, commit, None), RefUpdate("refs/tags/ci-sync", tag, None)], [], nothing
        )
    assert world.refs(MIRROR) == {BRANCH: commit, "refs/tags/ci-sync": tag}


@pytest.mark.parametrize("over", ["http", "file"])
def test_a_tag_that_stands_in_the_way(world: World, over: str) -> None:
    commit, _ = world.release("sub/v1.2.3")
    mirror = world.url(MIRROR) if over == "http" else world.file_url(MIRROR)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["sub/v1.2.3"], [])
        copy.push(mirror, [RefUpdate("refs/tags/sub", commit, None)], [], nothing)
        with pytest.raises(SyncError, match="tag_blocked"):
            copy.push(
                mirror, [RefUpdate(BRANCH, commit, None), RefUpdate("refs/tags/sub/v1.2.3", commit, None)], [], nothing
            )
    assert world.refs(MIRROR) == {"refs/tags/sub": commit}


@pytest.mark.parametrize("advertised", ["true", "false"])
def test_push_options_where_the_mirror_takes_them(world: World, advertised: str) -> None:
    commit, _ = world.release("v1.0.0")
    world.git(MIRROR, "config", "receive.advertisePushOptions", advertised)
    world.hook(MIRROR, 'echo "options: ${GIT_PUSH_OPTION_COUNT:-0} $GIT_PUSH_OPTION_0" >options.txt')
    asked: list[str] = []
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], ["ci.skip"], lambda: asked.append("fence"))
    told = (world.repositories.path(MIRROR) / "options.txt").read_text().strip()
    assert told == ("options: 1 ci.skip" if advertised == "true" else "options: 0")
    assert len(asked) == (1 if advertised == "true" else 2)  # right before each push


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (r"!\t%s:refs/heads/ci-sync\t[rejected] (stale info)\n", "mirror_moved"),
        (r"!\t%s:refs/heads/ci-sync\t[remote rejected] (pre-receive hook declined)\n", "push_refused"),
        ("", "push_not_visible"),
        (r"*\t%s:refs/heads/other\t[new branch]\n", "push_not_visible"),
    ],
)
def test_an_exit_status_of_nought_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch, told: str, code: str
) -> None:
    commit, _ = world.release("v1.0.0")
    real, fake = shutil.which("git"), world.root / "bin" / "git"
    fake.parent.mkdir()
    words = told.replace("%s", commit)
    fake.write_text(f"""#!/bin/sh\ncase " $* " in *" push "*) printf '{words}'; exit 0 ;; esac\nexec {real} "$@"\n""")
    fake.chmod(0o755)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
        with pytest.raises(SyncError) as caught:
            copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], [], nothing)
    assert caught.value.code == code


@pytest.mark.parametrize("before", [0, 1])
def test_an_overtaken_worker_does_not_push(world: World, before: int) -> None:
    """Overtaken before git sends anything, or before it sends again what a mirror without push options refused."""
    commit, _ = world.release("v1.0.0")
    world.git(MIRROR, "config", "receive.advertisePushOptions", "false")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        with pytest.raises(SyncError, match="overtaken"):
            copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], ["ci.skip"], overtaken_after(before))
    assert world.refs(MIRROR) == {}
