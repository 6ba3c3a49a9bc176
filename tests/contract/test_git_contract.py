"""What every Git keeps to: the fake that the services' tests use, and the real door on real repositories."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from app.services.ports import SourceCopy
from tests.contract.git_places import InMemory, OnDisk, Place
from tests.integration.databases import wait_until
from tests.integration.git_world import nothing, overtaken_after

BRANCH = "refs/heads/ci-sync"


MAKERS: dict[str, Callable[[Path], Place]] = {"fake": lambda path: InMemory(), "real": OnDisk}


@pytest.fixture(params=list(MAKERS.values()), ids=list(MAKERS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


def test_tags_are_fetched_and_peeled(place: Place) -> None:
    one, two = place.commit({"go.mod": b"1"}), place.commit({"go.mod": b"2"})
    light, annotated = place.tag("v1.0.0", one), place.tag("v1.0.1", two, annotated=True)
    tree = place.tag_tree("tree")
    with place.git.source(place.source, nothing) as copy:
        found = copy.fetch(["v1.0.0", "v1.0.1", "tree", "absent"], [])
    expected = {"v1.0.0": TagAt(light, one), "v1.0.1": TagAt(annotated, two), "tree": TagAt(tree, None)}
    assert found == expected
    assert annotated != two


def test_a_tag_moves_and_goes(place: Place) -> None:
    one, two = place.commit({"a": b"1"}), place.commit({"a": b"2"})
    place.tag("v1.0.0", one)
    with place.git.source(place.source, nothing) as copy:
        assert copy.fetch(["v1.0.0"], [])["v1.0.0"].commit == one
        place.move_tag("v1.0.0", two)
        assert copy.fetch(["v1.0.0"], [])["v1.0.0"].commit == two
        place.delete_tag("v1.0.0")
        assert copy.fetch(["v1.0.0"], []) == {}


def test_whether_a_mirror_is_ready_is_asked_once_during_the_next_fetch(place: Place) -> None:
    place.tag("v1.0.0", place.commit({"a": b"1"}))
    asked: list[str] = []
    with place.git.source(place.source, nothing) as copy:
        copy.reach("https://gitlab.example/lib.git", (), lambda: bool(asked.append("ready")))  # type: ignore[func-returns-value]
        assert asked == []
        copy.fetch(["v1.0.0"], [])
        wait_until(lambda: asked)
        copy.fetch(["v1.0.0"], [])
    assert asked == ["ready"]


def test_commits_come_when_asked_for(place: Place) -> None:
    base = place.commit({"a": b"1"})
    place.tag("v1.0.0", base)
    later = place.commit({"a": b"2"})
    with place.git.source(place.source, nothing) as copy:
        copy.fetch(["v1.0.0"], [""])
        assert (copy.has_commit(base), copy.has_commit(later)) == (True, False)
        assert copy.fetch([], [later, "1" * 40]) == {}
        assert (copy.has_commit(later), copy.has_commit("1" * 40)) == (True, False)
    with place.git.source(place.source, nothing) as again:
        assert again.has_commit(later)  # the cache is kept


def test_a_cache_that_is_open_is_told_at_once(place: Place) -> None:
    with place.git.source(place.source, nothing):
        with pytest.raises(SyncError, match="cache_busy"), place.git.source(place.source, nothing):
            pass  # pragma: no cover - it is open
        with place.git.source(place.mirror, nothing):  # another one is no matter
            pass
    with place.git.source(place.source, nothing):
        pass


def test_files_are_read_at_a_commit(place: Place) -> None:
    one = place.commit({"go.mod": b"root", "sub/go.mod": b"nested"})
    two = place.commit({"go.mod": b"changed"})
    place.tag("v1.0.0", two)
    with place.git.source(place.source, nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        assert copy.read_file(one, "go.mod") == b"root"
        assert copy.read_file(two, "go.mod") == b"changed"
        assert copy.read_file(two, "sub/go.mod") == b"nested"
        assert [copy.read_file(two, path) for path in ("sub", "absent", "absent/go.mod")] == [None] * 3
        assert copy.read_file("1" * 40, "go.mod") is None


def test_the_attributes_that_count_for_a_module(place: Place) -> None:
    files = {
        "go.mod": b"root", ".gitattributes": b"root", "a/b/.gitattributes": b"deep",
        "sub/go.mod": b"nested", "sub/.gitattributes": b"sub", "sub/data/x/.gitattributes": b"below",
        "sub/other/go.mod": b"another", "sub/other/.gitattributes": b"another's", "sub/other/y/.gitattributes": b"its",
        "subway/.gitattributes": b"beside",
    }  # fmt: skip
    commit = place.commit(files)
    place.tag("v1.0.0", commit)
    with place.git.source(place.source, nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        assert copy.attributes(commit, "") == {"": b"root", "a/b": b"deep", "subway": b"beside"}
        assert copy.attributes(commit, "sub") == {"": b"root", "sub": b"sub", "sub/data/x": b"below"}
        assert copy.attributes(commit, "a/b") == {"": b"root", "a/b": b"deep"}
        assert copy.attributes(commit, "a") == {"": b"root", "a/b": b"deep"}


def test_a_made_tag_is_deterministic(place: Place) -> None:
    commit = place.commit({"a": b"1"})
    with place.git.source(place.source, nothing) as copy:
        copy.fetch([], [commit])
        made = copy.make_tag("v1.0.0", commit)
        assert made.commit == commit != made.object
        assert copy.make_tag("v1.0.0", commit) == made
        assert copy.make_tag("v1.0.1", commit) != made
        copy.push(place.mirror, [RefUpdate("refs/tags/v1.0.0", made.object, None)], [], nothing)
        with pytest.raises(SyncError, match="commit_missing"):
            copy.make_tag("v1.0.0", "1" * 40)
    assert place.git.remote_refs(place.mirror, ["refs/tags/v1.0.0"], nothing) == {"refs/tags/v1.0.0": made}


def test_a_push_is_whole_and_keeps_its_leases(place: Place) -> None:
    one, two = place.commit({"a": b"1"}), place.commit({"a": b"2"})
    tags = {name: place.tag(name, at, annotated=True) for name, at in (("v1.0.0", one), ("v1.0.1", two))}
    with place.git.source(place.source, nothing) as copy:
        copy.fetch(list(tags), [])
        first = [RefUpdate(BRANCH, one, None), RefUpdate("refs/tags/v1.0.0", tags["v1.0.0"], None)]
        assert copy.push(place.mirror, first, ["ci.skip"], nothing) == {update.ref for update in first}
        there = {BRANCH: one, "refs/tags/v1.0.0": tags["v1.0.0"]}
        assert place.mirror_refs() == there
        assert copy.push(place.mirror, first, [], nothing) == set()  # what is there already is no conflict
        copy.push(place.mirror, [], [], nothing)
        for wrong in (
            [RefUpdate(BRANCH, two, None)],
            [RefUpdate(BRANCH, two, two[::-1])],
            [RefUpdate(BRANCH, two, one), RefUpdate("refs/tags/v1.0.0", tags["v1.0.1"], None)],
        ):
            with pytest.raises(SyncError, match="mirror_moved"):
                copy.push(place.mirror, wrong, [], nothing)
        assert place.mirror_refs() == there
        copy.push(place.mirror, [RefUpdate(BRANCH, two, one)], [], nothing)
        copy.push(place.mirror, [RefUpdate(BRANCH, one, two)], [], nothing)
    assert place.mirror_refs() == there


def test_a_tag_in_the_way_blocks(place: Place) -> None:
    commit = place.commit({"a": b"1"})
    with place.git.source(place.source, nothing) as copy:
        copy.fetch([], [commit])
        copy.push(place.mirror, [RefUpdate("refs/tags/sub", commit, None)], [], nothing)
        with pytest.raises(SyncError, match="tag_blocked"):
            copy.push(place.mirror, [RefUpdate("refs/tags/sub/v1.2.3", commit, None)], [], nothing)
    assert place.mirror_refs() == {"refs/tags/sub": commit}


def test_what_the_cache_does_not_have_is_not_pushed(place: Place) -> None:
    with place.git.source(place.source, nothing) as copy, pytest.raises(SyncError, match="cache_broken"):
        copy.push(place.mirror, [RefUpdate(BRANCH, "1" * 40, None)], [], nothing)
    assert place.mirror_refs() == {}


def test_an_overtaken_worker_pushes_nothing(place: Place) -> None:
    commit = place.commit({"a": b"1"})
    with place.git.source(place.source, nothing) as copy:
        copy.fetch([], [commit])
        with pytest.raises(SyncError, match="overtaken"):
            copy.push(place.mirror, [RefUpdate(BRANCH, commit, None)], [], overtaken_after(0))
    assert place.mirror_refs() == {}


def test_remote_refs(place: Place) -> None:
    commit = place.commit({"a": b"1"})
    tag = place.tag("v1.0.0", commit, annotated=True)
    nested = place.tag("sub/v1.0.0", commit)
    main, one, two = "refs/heads/main", "refs/tags/v1.0.0", "refs/tags/sub/v1.0.0"
    everything = {main: TagAt(commit, commit), one: TagAt(tag, commit), two: TagAt(nested, commit)}
    assert place.git.remote_refs(place.source, [], nothing) == everything
    assert place.git.remote_refs(place.source, [one, "refs/tags/v9"], nothing) == {one: everything[one]}
    assert place.git.remote_refs(place.source, ["refs/tags/v*", main], nothing) == {
        main: everything[main],
        one: everything[one],
    }
    assert place.git.remote_refs(place.mirror, [], nothing) == {}


def test_what_does_not_exist(place: Place) -> None:
    nowhere = f"{place.source}/nowhere"
    with place.git.source(nowhere, nothing) as copy, pytest.raises(SyncError, match="source_missing"):
        copy.fetch(["v1.0.0"], [])
    commit = place.commit({"a": b"1"})
    with place.git.source(place.source, nothing) as copy:
        copy.fetch([], [commit])
        with pytest.raises(SyncError, match="project_missing"):
            copy.push(nowhere, [RefUpdate(BRANCH, commit, None)], [], nothing)
    with pytest.raises(SyncError, match="project_missing"):
        place.git.remote_refs(nowhere, [], nothing)
    with pytest.raises(SyncError, match="source_missing"):
        place.git.remote_refs(nowhere, [], nothing, side="source")


def test_where_a_moved_tag_was_is_remembered(place: Place) -> None:
    first, second, third = (place.commit({f"{number}.go": b""}) for number in range(3))
    place.tag("v1.0.0", first)
    place.tag("v1.1.0", second)
    for commit in (first, second, third):
        place.move_tag("v1.0.0", commit)
        with place.git.source(place.source, nothing) as cache:
            found = cache.fetch(["v1.0.0", "v1.1.0"], [])
            assert found["v1.0.0"].commit == commit
    with place.git.source(place.source, nothing) as cache:
        assert sorted(cache.moved_from("v1.0.0")) == sorted([first, second])
        assert list(cache.moved_from("v1.1.0")) == []
        assert cache.has_commit(first)


def test_a_moved_tag_does_not_hold_up_the_others(place: Place) -> None:
    first = place.commit({"1.go": b""})
    place.tag("v1.0.0", first)
    with place.git.source(place.source, nothing) as cache:
        cache.fetch(["v1.0.0"], [])
    second = place.commit({"2.go": b""})
    place.move_tag("v1.0.0", second)
    place.tag("v1.1.0", second)
    with place.git.source(place.source, nothing) as cache:
        found = cache.fetch(["v1.0.0", "v1.1.0", "v9.9.9"], [])
    assert {tag: at.commit for tag, at in found.items()} == {"v1.0.0": second, "v1.1.0": second}


WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = {"go.mod": b"module corp.example/lib\n", "a/b/\u00e9.txt": b"\r\n\0", "z.go": b""}


def _made(cache: SourceCopy, files: Mapping[str, bytes], message: str = "lib@v1.0.0", when: datetime = WHEN) -> str:
    return cache.make_commit(((name, io.BytesIO(content)) for name, content in files.items()), message, when)


def test_a_made_commit_has_exactly_its_files_and_is_the_same_each_time(place: Place) -> None:
    with place.git.source(place.source, nothing) as cache:
        made = _made(cache, FILES)
        assert _made(cache, FILES) == made
        assert cache.has_commit(made)
        for name, content in FILES.items():
            assert cache.read_file(made, name) == content
        assert cache.read_file(made, "other") is None
        others = [
            _made(cache, {**FILES, "z.go": b"x"}),
            _made(cache, {"go.mod": FILES["go.mod"]}),
            _made(cache, FILES, message="lib@v1.0.1"),
            _made(cache, FILES, when=WHEN + timedelta(seconds=1)),
        ]
    assert len({made, *others}) == 5


def test_a_made_commit_and_its_tag_can_be_pushed(place: Place) -> None:
    with place.git.source(place.source, nothing) as cache:
        made = _made(cache, FILES)
        tag = cache.make_tag("v1.0.0", made)
        assert tag.commit == made
        cache.push(
            place.mirror, [RefUpdate("refs/tags/v1.0.0", tag.object, None), RefUpdate(BRANCH, made, None)], [], nothing
        )
    assert place.mirror_refs() == {BRANCH: made, "refs/tags/v1.0.0": tag.object}
