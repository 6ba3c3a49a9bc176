"""The cache: one user at a time, and whatever a crash or a bad disk leaves in it is put right by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.adapters.git import GitDoor, GitOptions
from app.adapters.git_env import CACHE_MARK
from app.adapters.processes import owner_mark
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate, TagAt
from tests.integration.git_damage import DAMAGE, drop_a_blob, drop_packs, packs, truncate_pack
from tests.integration.git_world import MIRROR, SOURCE, World, git, nothing, overtaken_after
from tests.sandbox.looked_at import gone

BRANCH = "refs/heads/ci-sync"
TAGS = ["v1.0.0", "v1.0.1"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    for tag in TAGS:
        made.release(tag, annotated=True)
    with made.server:
        yield made


def filled(world: World) -> Path:
    """The cache's directory, after a first fetch."""
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(TAGS, [])
        return Path(copy.path())


def note(path: Path) -> Path:
    """Where it is written who holds the cache's lock, or how its last holder ended."""
    return path.with_suffix(".holder")


def used(world: World) -> None:
    """Everything that a run does with a source works, and gives what is there."""
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        found = copy.fetch(TAGS, [])
        tags = world.repositories.tags(SOURCE)
        assert {name: at.commit for name, at in found.items()} == tags
        for name, at in found.items():
            assert copy.read_file(at.commit or "", "version.txt") == f"{name}\n".encode()
        copy.push(
            world.file_url(MIRROR),
            [RefUpdate(f"refs/tags/{n}", at.object, None) for n, at in found.items()],
            [],
            nothing,
        )
    assert world.repositories.tags(MIRROR) == tags


def test_sixteen_at_once(world: World) -> None:
    inside, most = [0], [0]
    url = world.url(SOURCE)
    start = threading.Barrier(16)

    def one(number: int) -> TagAt:
        start.wait()
        with world.door().source(url, nothing) as copy:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            found = copy.fetch([TAGS[number % 2]], [])
            inside[0] -= 1
        return found[TAGS[number % 2]]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(16)))
    assert most[0] == 1
    assert [at.commit for at in found] == [world.repositories.tags(SOURCE)[TAGS[n % 2]] for n in range(16)]


def test_who_waits_for_the_cache_is_asked_and_bounded(world: World) -> None:
    url = world.file_url(SOURCE)
    asked: list[str] = []

    def lost() -> None:
        asked.append("asked")
        raise SyncError("overtaken", "another worker has this run")

    with world.door().source(url, nothing):
        with pytest.raises(SyncError, match="overtaken"), world.door().source(url, lost):
            pass  # pragma: no cover - the cache is in use
        with pytest.raises(SyncError, match="cache_busy"), world.door(cache_wait_seconds=0.1).source(url, nothing):
            pass  # pragma: no cover - the cache is in use
    assert asked == ["asked"]
    used(world)


def test_two_sources_do_not_wait_for_each_other(world: World) -> None:
    world.release("v9.0.0", name=MIRROR)
    with (
        world.door().source(world.file_url(SOURCE), nothing) as one,
        world.door().source(world.file_url(MIRROR), nothing) as two,
    ):
        assert set(one.fetch(["v1.0.0"], [])) == {"v1.0.0"}
        assert set(two.fetch(["v9.0.0"], [])) == {"v9.0.0"}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_cache_is_built_anew(
    world: World, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(filled(world))
    used(world)
    caplog.clear()
    used(world)
    assert "cache_rebuilt" not in caplog.text  # once was enough


@pytest.mark.parametrize("damage", [drop_packs, truncate_pack, drop_a_blob], ids=lambda damage: damage.__name__)
def test_damage_between_fetch_and_push(world: World, damage: Callable[[Path], None]) -> None:
    """The cache is built anew with all that this opening had fetched and made."""
    untagged = world.repositories.commit(SOURCE, {"x": "1"}, "later")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        found = copy.fetch(TAGS, [untagged])
        made = copy.make_tag("v2.0.0", untagged)
        damage(Path(copy.path()))
        updates = [
            RefUpdate("refs/tags/v2.0.0", made.object, None),
            RefUpdate(BRANCH, found["v1.0.0"].commit or "", None),
        ]
        copy.push(world.file_url(MIRROR), updates, [], nothing)
        assert copy.read_file(untagged, "x") == b"1"
    assert world.refs(MIRROR) == {"refs/tags/v2.0.0": made.object, BRANCH: found["v1.0.0"].commit}


def test_a_worker_that_is_overtaken_while_its_cache_is_built_anew_does_not_push(world: World) -> None:
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        commit = copy.fetch(TAGS, [])["v1.0.0"].commit or ""
        drop_packs(Path(copy.path()))
        with pytest.raises(SyncError, match="overtaken"):
            copy.push(world.file_url(MIRROR), [RefUpdate(BRANCH, commit, None)], [], overtaken_after(1))
        assert copy.has_commit(commit)
    assert world.refs(MIRROR) == {}


def test_damage_that_comes_back_ends_as_cache_broken(world: World) -> None:
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        found = copy.fetch(TAGS, [])
        updates = [RefUpdate(BRANCH, "1" * 40, None)]  # an object that no rebuilding brings
        with pytest.raises(SyncError, match="cache_broken"):
            copy.push(world.file_url(MIRROR), updates, [], nothing)
        assert copy.has_commit(found["v1.0.0"].commit or "")


@pytest.mark.parametrize(
    "name",
    ["packed-refs.lock", "shallow.lock", "config.lock", "HEAD.lock", "refs/tags/v1.0.0.lock", "refs/tags/v1.0.1.lock"],
)
@pytest.mark.parametrize("left", [owner_mark(), None], ids=["killed", "ended well"])
def test_a_stale_lock_goes(world: World, name: str, left: str | None) -> None:
    path = filled(world)
    lock = path / name
    lock.touch()
    if left:
        note(path).write_text(left)
    world.repositories.move_tag(SOURCE, "v1.0.0", "v1.0.1")
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert not lock.exists()
        moved = copy.fetch(["v1.0.0"], [])
    assert moved["v1.0.0"].commit == world.repositories.tags(SOURCE)["v1.0.1"]


def test_half_packs_go_and_tags_that_look_like_them_stay(world: World) -> None:
    path = filled(world)
    tag = path / "refs" / "tags" / "tmp_pack_x"
    tag.write_text((path / "refs" / "tags" / "v1.0.0").read_text())
    half = [
        path / "objects" / "pack" / "tmp_pack_AbCdEf",
        path / "objects" / "tmp_objdir-incoming-x" / "pack" / "p.pack",
    ]
    other = path.with_name(f"{path.stem}.new-dead")
    other.mkdir()
    for file in half:
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(b"PACK")
    drop_packs(path)
    note(path).write_text(owner_mark())
    used(world)
    assert not [file for file in [*half, other] if file.exists()]


@pytest.mark.parametrize("left", [owner_mark(), "ended well in another boot", ""], ids=["killed", "power", "full disk"])
def test_after_no_good_end_processes_are_looked_for(world: World, left: str) -> None:
    path = filled(world)
    with subprocess.Popen(["sleep", "60"], env={**os.environ, CACHE_MARK: str(path)}) as orphan:
        used(world)
        assert orphan.poll() is None  # nobody looks after a good end
        note(path).write_text(left)
        used(world)
        assert orphan.wait(10) == -signal.SIGKILL


def test_an_exception_is_no_good_end(world: World) -> None:
    path = filled(world)
    assert "ended well" in note(path).read_text()
    with pytest.raises(ZeroDivisionError), world.door().source(world.file_url(SOURCE), nothing):
        raise ZeroDivisionError
    assert note(path).read_text() == owner_mark()
    used(world)
    assert "ended well" in note(path).read_text()


def test_a_tag_in_the_cache_may_be_called_like_a_half_pack(world: World) -> None:
    world.repositories.tag(SOURCE, "tmp_pack_x", "v1.0.0")
    path = filled(world)
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["tmp_pack_x"], [])
    note(path).write_text(owner_mark())
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        assert (Path(copy.path()) / "refs" / "tags" / "tmp_pack_x").exists()


_DYING_WORKER = """
import sys
from pathlib import Path
from app.adapters.git import GitDoor, GitOptions
door = GitDoor(GitOptions(Path(sys.argv[1]), protocols=("file", "http"), beat_seconds=0.05), lambda url: None)
with door.source(sys.argv[2], lambda: print("busy", flush=True)) as copy:
    copy.fetch(["v1.0.0"], [])
"""


def test_what_a_killed_worker_left_running_is_ended(world: World) -> None:
    url = world.url(SOURCE)
    reached, go_on = threading.Event(), threading.Event()

    def hang(environ: object, start_response: object) -> list[bytes]:
        reached.set()
        go_on.wait(60)
        return []

    world.front.answers = {f"/{SOURCE}.git": hang}
    command = [sys.executable, "-c", _DYING_WORKER, str(world.options.cache_dir), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert reached.wait(30)
        assert worker.stdout.readline() == b"busy\n"
        orphans = psutil.Process(worker.pid).children(recursive=True)
        worker.send_signal(signal.SIGKILL)
    assert len(orphans) > 1
    assert all(orphan.is_running() for orphan in orphans)
    world.front.answers = {}
    with world.door().source(url, nothing) as copy:
        assert set(copy.fetch(["v1.0.0"], [])) == {"v1.0.0"}
        psutil.wait_procs(orphans, timeout=10)
        running = [orphan for orphan in orphans if not gone(orphan)]
    go_on.set()
    assert running == []


def test_only_processes_of_this_cache_are_ended(world: World) -> None:
    other = {**os.environ, CACHE_MARK: "/some/other/cache.git"}
    with subprocess.Popen(["sleep", "60"], env=other) as sleeper:
        filled(world)
        assert sleeper.poll() is None
        sleeper.kill()


def test_a_cache_directory_that_cannot_be(world: World, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    door = GitDoor(GitOptions(blocked / "cache", protocols=("file",)), lambda url: None)
    with pytest.raises(SyncError, match="git_failed"), door.source(world.file_url(SOURCE), nothing):
        pass  # pragma: no cover - there is no directory
    with pytest.raises(SyncError, match="git_failed"):
        door.remote_refs(world.file_url(SOURCE), [], nothing)


def test_the_cache_is_bare_and_stays_small_in_files(world: World) -> None:
    path = filled(world)
    assert git(path, "config", "core.bare") == "true"
    assert not [name for name in ("FETCH_HEAD", "hooks", "index") if (path / name).exists()]
    assert "team-lib-" in path.name


def test_many_small_packs_are_joined(world: World) -> None:
    door, url = world.door(), world.file_url(SOURCE)
    with door.source(url, nothing) as copy:
        for number in range(52):
            tag = f"v2.0.{number}"
            world.release(tag)
            copy.fetch([tag], [])
        left = packs(Path(copy.path()))
        assert copy.read_file(world.repositories.tags(SOURCE)["v2.0.0"], "version.txt") == b"v2.0.0\n"
    assert len(left) < 10
