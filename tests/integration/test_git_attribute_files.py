"""Which .gitattributes are read of a real repository, also of one that was made to hurt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.git_world import SOURCE, World, nothing


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


def released(world: World, commit: str, directory: str = "") -> dict[str, bytes]:
    world.repositories.tag(SOURCE, "v1.0.0", commit)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        return dict(copy.attributes(commit, directory))


def test_a_huge_one_and_the_hundred_and_first_are_left_out(world: World) -> None:
    files = {f"d{number:03d}/.gitattributes": b"*.x filter=lfs\n" for number in range(105)}
    files["a/.gitattributes"] = b"#\n" * ((1 << 19) + 1)
    found = released(world, world.repositories.commit(SOURCE, files, "many"))
    assert len(found) == 100
    assert "a" not in found


def test_a_tree_that_stands_for_millions_of_places_is_read_once(world: World) -> None:
    """Nine levels of ten names each, all of one tree: a billion paths."""
    blob = world.git(SOURCE, "hash-object", "-w", "--stdin", stdin=b"*.x filter=lfs\n").strip()
    tree = world.git(SOURCE, "mktree", stdin=f"100644 blob {blob}\t.gitattributes\n".encode()).strip()
    for _ in range(9):
        lines = "".join(f"040000 tree {tree}\td{number}\n" for number in range(10))
        tree = world.git(SOURCE, "mktree", stdin=lines.encode()).strip()
    commit = world.git(
        SOURCE, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit-tree", tree, "-m", "bomb"
    ).strip()
    found = released(world, commit)
    assert set(found.values()) == {b"*.x filter=lfs\n"}
    assert len(found) <= 10


def test_a_link_of_that_name_is_none(world: World) -> None:
    target = world.git(SOURCE, "hash-object", "-w", "--stdin", stdin=b"elsewhere").strip()
    tree = world.git(SOURCE, "mktree", stdin=f"120000 blob {target}\t.gitattributes\n".encode()).strip()
    commit = world.git(
        SOURCE, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit-tree", tree, "-m", "link"
    ).strip()
    assert released(world, commit) == {}
