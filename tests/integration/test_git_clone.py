"""A new cache begins as a clone of one tag, and is what a fetch would have made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.refs import TagAt
from tests.integration.git_world import SOURCE, World, git, nothing


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


def refs(path: Path) -> set[str]:
    """The cache's refs."""
    return set(git(path, "for-each-ref", "--format=%(refname)").split())


def test_it_has_the_tags_that_were_asked_for_and_no_remote(world: World) -> None:
    commits = {tag: world.release(tag, annotated=True) for tag in ("v1.0.0", "v1.0.1", "v1.0.2")}
    with world.door().source(world.url(SOURCE), nothing) as copy:
        found = copy.fetch(["v1.0.0", "v1.0.1", "v9.9.9"], [])
        path = Path(copy.path())
    assert found == {tag: TagAt(commits[tag][1], commits[tag][0]) for tag in ("v1.0.0", "v1.0.1")}
    assert refs(path) == {"refs/tags/v1.0.0", "refs/tags/v1.0.1"}
    assert "remote" not in (path / "config").read_text()
    assert (path / "HEAD").read_text() == "ref: refs/heads/modsync\n"
    assert [each.name for each in path.parent.iterdir() if each.is_dir()] == [path.name]


def test_git_cloned_it(world: World) -> None:
    """That saves the walk through all commits; afterwards there is one pack, and no second one by the fetch."""
    for number in range(3):
        world.release(f"v1.0.{number}")
    with world.door().source(world.url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.2"], [])
        assert len(list((Path(copy.path()) / "objects" / "pack").glob("*.pack"))) == 1
        assert (Path(copy.path()) / "packed-refs").exists()  # a fetch leaves loose ones


def test_a_branch_that_is_called_like_the_tag(world: World) -> None:
    first, _ = world.release("v1.0.0")
    commit, tag = world.release("v1.0.1", annotated=True)
    world.repositories.branch(SOURCE, "v1.0.1", first)
    with world.door().source(world.url(SOURCE), nothing) as copy:
        assert copy.fetch(["v1.0.1"], []) == {"v1.0.1": TagAt(tag, commit)}
        assert refs(Path(copy.path())) == {"refs/tags/v1.0.1"}


def test_a_tag_that_is_not_there_and_comes_later(world: World) -> None:
    commit, _ = world.release("v1.0.0")
    door = world.door()
    with door.source(world.url(SOURCE), nothing) as copy:
        assert copy.fetch(["v2.0.0"], []) == {}
        assert copy.fetch(["v1.0.0"], []) == {"v1.0.0": TagAt(commit, commit)}


def test_an_object_that_git_does_not_believe(world: World) -> None:
    commit, _ = world.release("v1.0.0")
    tree = world.git(SOURCE, "rev-parse", f"{commit}^{{tree}}")
    text = f"tree {tree}\nauthor nobody\ncommitter nobody <x@y> 1700000000 +0000\n\nbad\n"
    bad = world.git(SOURCE, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=text.encode())
    world.git(SOURCE, "update-ref", "refs/tags/v1.0.1", bad)
    with world.door().source(world.url(SOURCE), nothing) as copy:
        with pytest.raises(SyncError, match="source_corrupt"):
            copy.fetch(["v1.0.1"], [])
        assert refs(Path(copy.path())) == set()
        assert copy.fetch(["v1.0.0"], []) == {"v1.0.0": TagAt(commit, commit)}
