"""One commit for many: results reach whom they belong to, errors too, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.adapters.group_commit import GroupCommit
from app.domain.errors import SyncError
from tests.integration.databases import wait_until


class Disk:
    """The work: doubles numbers, 13 is refused, and it waits while `slow` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.fails: SyncError | Exception | None = None

    def __call__(self, items: Sequence[int]) -> Sequence[int | SyncError]:
        self.batches.append(list(items))
        assert self.go.wait(20)
        if self.fails:
            raise self.fails
        return [SyncError("bad_request", "thirteen") if item == 13 else 2 * item for item in items]


def test_everybody_gets_their_own_result_and_batches_are_shared() -> None:
    disk = Disk()
    disk.go.clear()
    commits: GroupCommit[int, int] = GroupCommit(disk)
    with ThreadPoolExecutor(20) as pool:
        futures = {number: pool.submit(commits.submit, number) for number in range(13)}
        wait_until(lambda: disk.batches)
        threading.Timer(0.1, disk.go.set).start()
        assert {number: future.result() for number, future in futures.items()} == {n: 2 * n for n in range(13)}
    assert len(disk.batches) < 13
    assert sorted(item for batch in disk.batches for item in batch) == list(range(13))


def test_light_items_go_before_heavy_ones_that_find_no_room() -> None:
    disk = Disk()
    disk.go.clear()
    commits: GroupCommit[int, int] = GroupCommit(disk, weight=lambda item: item, most_weight=128)
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(commits.submit, 1)]
        wait_until(lambda: disk.batches)
        for item in (100, 90, 80, 2, 3, 60, 4):
            futures.append(pool.submit(commits.submit, item))
            wait_until(lambda: len(commits._waiting) == len(futures) - 1)
        disk.go.set()
        assert all(future.result() for future in futures)
    assert disk.batches == [[1], [100, 2, 3, 4], [90], [80], [60]]


def test_a_thread_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    commits: GroupCommit[int, int] = GroupCommit(Disk())
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refused_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            commits.submit(1)
    assert commits.submit(2) == 4


def refused_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_one_items_error_is_its_own() -> None:
    commits: GroupCommit[int, int] = GroupCommit(Disk())
    with pytest.raises(SyncError, match="thirteen"):
        commits.submit(13)
    assert commits.submit(14) == 28


def test_a_database_that_is_away_is_said_at_once_to_who_comes_next() -> None:
    disk = Disk()
    disk.fails = SyncError("store_unavailable", "locked")
    commits: GroupCommit[int, int] = GroupCommit(disk)
    with pytest.raises(SyncError, match="store_unavailable"):
        commits.submit(1)
    with pytest.raises(SyncError, match="busy"):
        commits.submit(2)
    assert disk.batches == [[1]]
    disk.fails = None
    wait_until(lambda: _result(commits, 3) == 6)


def test_a_defect_does_not_end_the_thread() -> None:
    disk = Disk()
    disk.fails = ValueError("a defect")
    commits: GroupCommit[int, int] = GroupCommit(disk)
    with pytest.raises(SyncError, match="internal: recording failed: ValueError"):
        commits.submit(1)
    disk.fails = None
    assert commits.submit(2) == 4


def test_a_batch_that_hangs_makes_no_queue() -> None:
    disk = Disk()
    disk.go.clear()
    commits: GroupCommit[int, int] = GroupCommit(disk, wait_seconds=0.2, stuck_seconds=0.1)
    for number in range(5):
        with pytest.raises(SyncError, match="busy"):
            commits.submit(number)
    assert disk.batches == [[0]]
    disk.go.set()
    wait_until(lambda: _result(commits, 7) == 14)
    assert [item for batch in disk.batches for item in batch if 0 < item < 5] == []


def _result(commits: GroupCommit[int, int], item: int) -> int | None:
    try:
        return commits.submit(item)
    except SyncError:
        return None


def test_after_a_batch_that_hung_new_items_are_refused_for_as_long_as_it_took() -> None:
    calls: list[Sequence[int]] = []

    def hangs(items: Sequence[int]) -> Sequence[int | SyncError]:
        calls.append(items)
        time.sleep(1.5)
        raise SyncError("store_unavailable", "away")

    commits: GroupCommit[int, int] = GroupCommit(hangs)
    with pytest.raises(SyncError, match="away"):
        commits.submit(1)
    begun = time.monotonic()
    while time.monotonic() - begun < 1.2:
        with pytest.raises(SyncError) as caught:
            commits.submit(2)
        assert caught.value.code == "busy"
    assert calls == [[1]]
