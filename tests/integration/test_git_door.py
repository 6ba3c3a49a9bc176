"""The git door on real repositories: what is fetched, read, pushed, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from tests.integration.git_world import MIRROR, SOURCE, World, git, nothing

BRANCH = "refs/heads/ci-sync"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


def test_a_release_goes_over_http_in_one_push(world: World) -> None:
    commit, tag = world.release("v1.0.0", annotated=True)
    door = world.door()
    with door.source(world.url(SOURCE), nothing) as copy:
        assert copy.fetch(["v1.0.0"], []) == {"v1.0.0": TagAt(tag, commit)}
        assert copy.read_file(commit, "version.txt") == b"v1.0.0\n"
        updates = [RefUpdate(BRANCH, commit, None), RefUpdate("refs/tags/v1.0.0", tag, None)]
        copy.push(world.url(MIRROR), updates, [], nothing)
    assert world.refs(MIRROR) == {BRANCH: commit, "refs/tags/v1.0.0": tag}
    found = door.remote_refs(world.url(MIRROR), [BRANCH, "refs/tags/v1.0.0", "refs/tags/none"], nothing)
    assert found == {BRANCH: TagAt(commit, commit), "refs/tags/v1.0.0": TagAt(tag, commit)}


def test_every_kind_of_tag_is_peeled(world: World) -> None:
    commit, light = world.release("v1.0.0")
    annotated = world.repositories.tag(SOURCE, "v1.0.1", commit, annotated=True)
    outer = world.git(SOURCE, "mktag", stdin=_tag_text(annotated, "tag", "v1.0.2"))
    tree = world.repositories.resolve(SOURCE, f"{commit}^{{tree}}")
    blob = world.repositories.resolve(SOURCE, f"{commit}:go.mod")
    for name, target in {"v1.0.2": outer, "tree": tree, "blob": blob}.items():
        world.git(SOURCE, "update-ref", f"refs/tags/{name}", target)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        found = copy.fetch(["v1.0.0", "v1.0.1", "v1.0.2", "tree", "blob"], [])
    assert found == {
        "v1.0.0": TagAt(light, commit),
        "v1.0.1": TagAt(annotated, commit),
        "v1.0.2": TagAt(outer, commit),
        "tree": TagAt(tree, None),
        "blob": TagAt(blob, None),
    }


def test_a_moved_tag_is_taken_over_answered_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    old, _ = world.release("v1.0.0")
    door, url = world.door(), world.file_url(SOURCE)
    with door.source(url, nothing) as copy:
        assert copy.fetch(["v1.0.0"], [])["v1.0.0"].commit == old
    new, _ = world.release("v1.0.1")
    world.repositories.move_tag(SOURCE, "v1.0.0", new)
    with door.source(url, nothing) as copy:
        assert copy.fetch(["v1.0.0"], [])["v1.0.0"].commit == new
        assert copy.has_commit(old)
    told = [vars(record) for record in caplog.records if record.message == "source_tag_moved"]
    assert [(each["tag"], each["old"], each["new"]) for each in told] == [("v1.0.0", old, new)]


def test_a_tag_that_was_replaced_by_a_directory_of_tags(world: World) -> None:
    commit, _ = world.release("sub")
    door, url = world.door(), world.file_url(SOURCE)
    with door.source(url, nothing) as copy:
        assert set(copy.fetch(["sub"], [])) == {"sub"}
    world.repositories.delete_tag(SOURCE, "sub")
    world.repositories.tag(SOURCE, "sub/v1.2.3", commit)
    with door.source(url, nothing) as copy:
        assert copy.fetch(["sub/v1.2.3", "sub"], []) == {"sub/v1.2.3": TagAt(commit, commit)}


def test_commits_without_a_tag(world: World) -> None:
    tagged, _ = world.release("v1.0.0")
    untagged = world.repositories.commit(SOURCE, {"x": "1"}, "later")
    hidden = world.repositories.commit(SOURCE, {"x": "2"}, "on a branch", branch="side", parent=untagged)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert set(copy.fetch(["v1.0.0"], [tagged, untagged, ""])) == {"v1.0.0"}
        assert copy.has_commit(untagged)
        assert not copy.has_commit(hidden)
        copy.fetch([], ["0" * 40, hidden])  # the first cannot be had: all branches come
        assert copy.has_commit(hidden)
        assert not copy.has_commit("0" * 40)


def test_only_what_is_new_travels(world: World) -> None:
    world.repositories.commit(SOURCE, {"big": "".join(f"{n * n}\n" for n in range(200_000))}, "big")
    world.release("v1.0.0")
    door, url = world.door(), world.file_url(SOURCE)
    with door.source(url, nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        first = {path: path.stat().st_size for path in Path(copy.path()).glob("objects/pack/*.pack")}
    world.release("v1.0.1")
    with door.source(url, nothing) as copy:
        copy.fetch(["v1.0.0", "v1.0.1"], [])
        second = {path: path.stat().st_size for path in Path(copy.path()).glob("objects/pack/*.pack")}
    new = [size for path, size in second.items() if path not in first]
    assert len(new) == 1
    assert new[0] < 2000 < max(first.values())


def test_read_file_gives_regular_files_alone(world: World) -> None:
    commit = world.git(SOURCE, "fast-import", "--quiet", stdin=_ODD_FILES)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch([], [commit])
        wanted = [
            "go.mod",
            "run.sh",
            "a/b/go.mod",
            "link",
            "a",
            "absent",
            "a/absent",
            "go.mod/x",
            "",
            "a//b",
            "../x",
            "empty",
        ]
        found = {path: copy.read_file(commit, path) for path in wanted}
        blobs = {path: copy.read_blob(commit, path) for path in wanted}
        assert copy.read_file("1" * 40, "go.mod") is None
    expected = {"go.mod": b"root\n", "run.sh": b"run\n", "a/b/go.mod": b"nested\n", "empty": b""}
    assert found == dict.fromkeys(wanted) | expected
    assert blobs == found | {"link": b"go.mod"}  # as go reads a go.mod


def test_a_file_larger_than_go_allows_is_not_read(world: World) -> None:
    commit = world.repositories.commit(SOURCE, {"LICENSE": b"x" * ((16 << 20) + 1), "go.mod": b"x" * (16 << 20)}, "big")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch([], [commit])
        with pytest.raises(SyncError, match="not_a_module"):
            copy.read_file(commit, "LICENSE")
        assert len(copy.read_file(commit, "go.mod") or b"") == 16 << 20


def test_a_made_tag_is_the_same_object_every_time(world: World) -> None:
    commit, _ = world.release("v1.0.0")
    made = []
    for cache in ("one", "two"):
        with world.door(cache_dir=world.root / cache).source(world.file_url(SOURCE), nothing) as copy:
            copy.fetch(["v1.0.0"], [])
            made.append(copy.make_tag("v2.0.0", commit))
            text = git(Path(copy.path()), "cat-file", "tag", made[-1].object)
    assert made[0] == made[1]
    assert made[0].commit == commit
    committed = world.git(SOURCE, "log", "-1", "--format=%ct", commit)
    assert f"tagger modsync <modsync@localhost> {committed} +0000" in text
    with world.door().source(world.file_url(SOURCE), nothing) as copy, pytest.raises(SyncError, match="commit_missing"):
        copy.make_tag("v2.0.0", "1" * 40)


def test_an_empty_source_has_nothing(world: World) -> None:
    with world.door().source(world.url(SOURCE), nothing) as copy:
        assert copy.fetch(["v1.0.0"], ["1" * 40]) == {}
        assert not copy.has_commit("1" * 40)
    assert world.door().remote_refs(world.url(SOURCE), [], nothing) == {}


def test_a_source_of_another_object_format_is_refused_clearly(world: World) -> None:
    other = world.root / "sha256.git"
    git(world.root, "init", "--quiet", "--bare", "--object-format=sha256", str(other))
    git(other, "fast-import", "--quiet", stdin=_ODD_FILES)
    git(other, "tag", "v1.0.0", "main")
    with (
        world.door().source(f"file://{other}", nothing) as copy,
        pytest.raises(SyncError, match="algorithms") as caught,
    ):
        copy.fetch(["v1.0.0"], [])
    assert (caught.value.code, caught.value.retryable) == ("source_unsupported", False)
    with pytest.raises(SyncError, match="SHA-256") as seen:
        world.door().remote_refs(f"file://{other}", ["refs/tags/v1.0.0"], nothing, side="source")
    assert seen.value.code == "source_unsupported"


def test_a_shallow_source_is_refused_clearly(world: World) -> None:
    world.release("v1.0.0")
    world.release("v1.0.1")
    shallow = world.root / "shallow.git"
    git(world.root, "clone", "--quiet", "--bare", "--depth=1", world.file_url(SOURCE), str(shallow))
    git(shallow, "tag", "--force", "v1.0.1", "main")
    with world.door().source(f"file://{shallow}", nothing) as copy, pytest.raises(SyncError, match="shallow") as caught:
        copy.fetch(["v1.0.1"], [])
    assert (caught.value.code, caught.value.retryable) == ("source_unsupported", False)


def test_old_honest_history_passes_and_a_dangerous_tree_does_not(world: World) -> None:
    tree = world.repositories.resolve(SOURCE, world.release("v1.0.0")[0] + "^{tree}")
    blob = world.repositories.resolve(SOURCE, "v1.0.0:go.mod")
    evil = world.git(SOURCE, "mktree", stdin=f"100644 blob {blob}\t.gitmodulesx\n040000 tree {tree}\t.git\n".encode())
    for tag, root, zone in (("v1.0.1", tree, "+051800"), ("v1.0.2", evil, "+0000")):
        text = f"tree {root}\nauthor A <a@b> 1 {zone}\ncommitter A <a@b> 1 {zone}\n\n{tag}\n"
        made = world.git(SOURCE, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=text.encode())
        world.git(SOURCE, "update-ref", f"refs/tags/{tag}", made)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert set(copy.fetch(["v1.0.1"], [])) == {"v1.0.1"}
        with pytest.raises(SyncError, match="source_corrupt"):
            copy.fetch(["v1.0.2"], [])


def test_remote_refs_matches_as_ls_remote_does(world: World) -> None:
    commit, _ = world.release("v1.0.0")
    world.repositories.tag(SOURCE, "sub/v1.0.0", commit)
    door, url = world.door(), world.file_url(SOURCE)
    assert set(door.remote_refs(url, ["refs/tags/v*"], nothing)) == {"refs/tags/v1.0.0"}
    assert set(door.remote_refs(url, ["v1.0.0"], nothing)) == {"refs/tags/v1.0.0", "refs/tags/sub/v1.0.0"}
    assert set(door.remote_refs(url, [], nothing)) == {"refs/heads/main", "refs/tags/v1.0.0", "refs/tags/sub/v1.0.0"}


def test_many_tags_in_one_fetch_and_one_push(world: World) -> None:
    commit, _ = world.release("v0.0.0")
    names = [f"v1.0.{n}" for n in range(1500)]
    world.git(
        SOURCE, "update-ref", "--stdin", stdin="".join(f"create refs/tags/{n} {commit}\n" for n in names).encode()
    )
    # The other side's disk is none of our business: a thousand flushed files take a minute on a busy one.
    world.git(MIRROR, "config", "core.fsync", "none")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert len(copy.fetch(names, [])) == len(names)
        copy.push(world.url(MIRROR), [RefUpdate(f"refs/tags/{n}", commit, None) for n in names], [], nothing)
        assert not any(Path(copy.path()).glob("refs/tags/v*"))  # packed: a thousand files would slow every command
    assert len(world.refs(MIRROR)) == len(names)


def _tag_text(target: str, kind: str, name: str) -> bytes:
    return f"object {target}\ntype {kind}\ntag {name}\ntagger A <a@b> 1 +0000\n\n{name}\n".encode()


_ODD_FILES = b"""commit refs/heads/main
mark :1
committer A <a@b> 1 +0000
data 3
odd
M 100644 inline go.mod
data 5
root

M 100755 inline run.sh
data 4
run

M 100644 inline a/b/go.mod
data 7
nested

M 120000 inline link
data 6
go.mod
M 100644 inline empty
data 0

get-mark :1
done
"""
