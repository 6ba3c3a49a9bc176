"""Ages and budgets: old runs, the caches' share of the disk, and a disk that is nearly full."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import func, select

from app.adapters import cache_budget
from app.adapters.cache_budget import Budget, check_room, evict
from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.retention_store import SqlRetentionStore
from app.adapters.tables import attempts, deliveries, delivery_runs, releases, repositories, runs, steps
from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.retention import RunPruning
from tests.integration.flow_world import MIRROR, MODULE
from tests.integration.git_world import SOURCE, World, nothing
from tests.integration.moves_world import Moving
from tests.integration.reconcile_world import ReconcileWorld


@pytest.fixture
def world(tmp_path: Path, empty_database_url: str) -> Iterator[ReconcileWorld]:
    world = ReconcileWorld(tmp_path, empty_database_url)
    yield world
    world.engine.dispose()


def _prune(world: ReconcileWorld, days: int = 30, batch: int = 100) -> int:
    return RunPruning(SqlRetentionStore(world.engine), world.clock, days, batch).once()


def _rows(world: ReconcileWorld) -> dict[str, int]:
    tables = (runs, attempts, steps, delivery_runs, deliveries, releases, repositories)
    with world.engine.connect() as connection:
        return {each.name: connection.execute(select(func.count()).select_from(each)).scalar_one() for each in tables}


def test_old_runs_go_with_all_that_belongs_to_them_and_releases_stay(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.clock.advance(29 * 86400)
    assert _prune(world) == 0
    world.clock.advance(2 * 86400)
    young = world.release("v1.1.0").id
    waiting = world.take("v1.2.0").run_id
    assert _prune(world) == 1
    assert {run.id for run in world.runs()} == {young, waiting}
    rows = _rows(world)
    assert (rows["runs"], rows["attempts"], rows["delivery_runs"], rows["releases"]) == (2, 2, 2, 3)
    assert rows["deliveries"] == 3  # its own days are not over
    assert rows["repositories"] == 1
    assert _prune(world) == 0


def test_a_version_stays_its_commit_s_after_its_run_is_forgotten(world: ReconcileWorld) -> None:
    run = world.take().run_id
    world.settle(run)
    world.clock.advance(31 * 86400)
    assert _prune(world) == 1
    moved = world.take(commit="f" * 40)
    assert (moved.status, moved.error) == (Status.REJECTED, "version_moved")
    again = world.take()  # and the same release once more is welcome
    assert (again.status, again.run_id != run) == (Status.QUEUED, True)
    world.settle(again.run_id)
    assert world.run(again.run_id).status is Status.DONE


def test_reconcile_knows_a_repository_whose_runs_are_forgotten(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.clock.advance(31 * 86400)
    assert _prune(world) == 1
    found = world.repositories.find(MIRROR)
    assert found is not None
    assert (found.source, found.clone_url) == ("platform", "https://git.example/team/thing.git")
    assert world.reconcile().items == ()


def test_a_webhook_whose_own_days_are_over_goes_with_its_last_run(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.clock.advance(31 * 86400)
    assert SqlDeliveryStore(world.engine).prune(world.clock.now() - timedelta(days=10), 10) == 1
    assert _rows(world)["deliveries"] == 1
    _prune(world)
    assert _rows(world)["deliveries"] == 0


def test_what_reconcile_recorded_goes_with_its_last_run(world: ReconcileWorld) -> None:
    assert len(world.reconcile().runs) == 1
    world.clock.advance(31 * 86400)
    _prune(world)
    assert (_rows(world)["deliveries"], _rows(world)["releases"]) == (0, 1)


@pytest.mark.parametrize("runs_first", [True, False])
def test_a_delivery_stays_for_the_run_of_an_accepted_move(
    tmp_path: Path, empty_database_url: str, runs_first: bool
) -> None:
    """That run is of the delivery which the first one came with, and outlives it."""
    moving = Moving(tmp_path, url=empty_database_url)
    world = moving.world
    moving.released_then_moved()
    world.clock.advance(100 * 86400)
    moved = moving.accept().run_id
    world.settle(moved)
    of_the_deliveries, of_the_runs = (
        SqlDeliveryStore(world.engine),
        RunPruning(SqlRetentionStore(world.engine), world.clock, 90),
    )
    if runs_first:
        assert of_the_runs.once() == 1
        assert of_the_deliveries.prune(world.clock.now() - timedelta(days=90), 10) == 1
    else:
        assert of_the_deliveries.prune(world.clock.now() - timedelta(days=90), 10) == 1
        assert of_the_runs.once() == 1
    assert world.run(moved).status is Status.DONE
    world.clock.advance(100 * 86400)
    assert of_the_runs.once() == 1
    with world.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(deliveries)).scalar_one() == 0
    world.engine.dispose()


def test_many_runs_go_in_batches(world: ReconcileWorld) -> None:
    for number in range(5):
        world.tag(f"v0.{number}.0")
    assert len(world.reconcile().runs) == 6
    world.clock.advance(31 * 86400)
    assert [_prune(world, batch=4) for _ in range(3)] == [4, 2, 0]


def test_nought_days_are_for_ever(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.clock.advance(9999 * 86400)
    assert _prune(world, days=0) == 0
    assert world.runs()[0].module == MODULE


def _cache(directory: Path, name: str, used_at: int, size: int = 100_000) -> Path:
    path = directory / f"{name}.git"
    (path / "objects").mkdir(parents=True)
    (path / "objects" / "pack").write_bytes(os.urandom(size))
    path.with_suffix(".lock").touch()
    os.utime(path.with_suffix(".lock"), (used_at, used_at))
    return path


def _left(directory: Path) -> set[str]:
    return {path.stem for path in directory.glob("*.git")}


def test_the_least_recently_used_caches_go(tmp_path: Path) -> None:
    for name, used_at in (("new", 300), ("old", 100), ("middle", 200)):
        _cache(tmp_path, name, used_at)
    assert evict(tmp_path, Budget(most=400_000)) == 0
    assert evict(tmp_path, Budget(most=250_000)) >= 100_000
    assert _left(tmp_path) == {"new", "middle"}
    assert evict(tmp_path, Budget(most=1)) >= 200_000
    assert _left(tmp_path) == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle.lock", "new.lock", "old.lock"]


def test_what_a_killed_process_left_of_a_cache_goes(tmp_path: Path) -> None:
    for name in ("idle-1.new-abc", "busy-2.new-def"):
        (tmp_path / name / "objects").mkdir(parents=True)
    with FileLock(tmp_path / "busy-2.lock"):  # somebody makes that one just now
        evict(tmp_path, Budget(most=1))
    assert [path.name for path in tmp_path.glob("*.new-*")] == ["busy-2.new-def"]


def test_using_a_cache_makes_it_the_last_to_go(tmp_path: Path) -> None:
    for name, used_at in (("one", 100), ("two", 200)):
        _cache(tmp_path, name, used_at)
    cache_budget.used(tmp_path / "one.git")
    evict(tmp_path, Budget(most=150_000))
    assert _left(tmp_path) == {"one"}


def test_a_cache_in_use_stays_and_the_next_one_goes(tmp_path: Path) -> None:
    for name, used_at in (("busy", 100), ("idle", 200)):
        _cache(tmp_path, name, used_at)
    with FileLock(tmp_path / "busy.lock"):
        evict(tmp_path, Budget(most=150_000))
        assert _left(tmp_path) == {"busy"}


def test_no_budget_is_no_limit(tmp_path: Path) -> None:
    _cache(tmp_path, "one", 100)
    assert evict(tmp_path, Budget()) == 0
    assert evict(tmp_path / "not-made-yet", Budget(most=1, free=1)) == 0


def test_a_nearly_full_disk_gives_caches_up_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, used_at in (("one", 100), ("two", 200), ("three", 300)):
        _cache(tmp_path, name, used_at)
    free = 50_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(free))
    with pytest.raises(SyncError, match="disk_full"):
        check_room(tmp_path, 200_000)
    check_room(tmp_path, 40_000)
    check_room(tmp_path, 0)
    evict(tmp_path, Budget(free=200_000))
    assert _left(tmp_path) == {"three"}


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_run_waits_clearly_while_the_disk_is_full_and_goes_on_by_itself(world: ReconcileWorld) -> None:
    world.git.fail("source", *[SyncError("disk_full", "12 MiB are left")] * 2)
    run = world.take().run_id
    world.advance(run)
    assert (world.run(run).status, world.run(run).error) == (Status.MIRROR, "disk_full")
    world.settle(run)
    assert world.run(run).status is Status.DONE


@pytest.fixture
def git_world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.release("v1.0.0", annotated=True)
    with made.server:
        yield made


def test_an_evicted_cache_is_made_again_from_the_source(git_world: World) -> None:
    url = git_world.file_url(SOURCE)
    with git_world.door().source(url, nothing) as copy:
        first = copy.fetch(["v1.0.0"], [])
        cache = Path(copy.path())
    assert evict(cache.parent, Budget(most=1)) > 0
    assert not cache.exists()
    with git_world.door().source(url, nothing) as copy:
        assert copy.fetch(["v1.0.0"], []) == first


def test_a_cache_is_not_evicted_while_git_works_in_it(git_world: World) -> None:
    with git_world.door().source(git_world.file_url(SOURCE), nothing) as copy:
        copy.fetch(["v1.0.0"], [])
        cache = Path(copy.path())
        assert evict(cache.parent, Budget(most=1)) == 0
        assert cache.exists()


@pytest.mark.parametrize("known", [False, True], ids=["clone", "fetch"])
def test_a_fetch_ends_when_the_disk_fills_up_meanwhile(
    git_world: World, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """There is room when it begins, and less and less while the source sends."""
    door, url = git_world.door(min_free_bytes=1000, beat_seconds=0.05), git_world.url(SOURCE)
    if known:
        with door.source(url, nothing) as copy:
            copy.fetch(["v1.0.0"], [])
    git_world.release("v1.1.0")
    ended, asked = threading.Event(), list[object]()
    git_world.front.answers[f"/{SOURCE}"] = lambda *_: [b""] if ended.wait(20) else []

    def falling(place: object) -> _Usage:
        asked.append(place)
        return _Usage(1003 - len(asked))

    monkeypatch.setattr("shutil.disk_usage", falling)
    with door.source(url, nothing) as copy, pytest.raises(SyncError, match="disk_full"):
        copy.fetch(["v1.1.0"], [])
    ended.set()
    assert len(asked) == 4  # when it was opened, and at each beat


def test_the_door_fetches_nothing_below_the_limit(git_world: World) -> None:
    door, url = git_world.door(min_free_bytes=1 << 60), git_world.file_url(SOURCE)
    with pytest.raises(SyncError, match="disk_full"), door.source(url, nothing):
        raise AssertionError("it was opened")
