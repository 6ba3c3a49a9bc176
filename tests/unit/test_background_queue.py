"""The queue behind the web server's back: nobody waits for Redis, and nothing that can be sent is left."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from app.adapters.background_queue import BackgroundQueue
from app.domain.errors import SyncError
from app.domain.run import Lane
from tests.integration.databases import wait_until


class Redis:
    """A JobQueue that does not answer until it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.sent: list[tuple[str, str]] = []
        self.lanes: list[str] = []
        self.exchanges = 0
        self.broken = False

    def enqueue(self, job_id: str, run_id: str, lane: str = Lane.LIVE, *, first: bool = False) -> None:
        raise AssertionError("jobs go together")

    def enqueue_all(self, jobs: Sequence[tuple[str, str]], lane: str = Lane.LIVE) -> None:
        assert self.open.wait(20)
        self.exchanges += 1
        if self.broken:
            raise SyncError("queue_unavailable", "away")
        self.sent += jobs
        self.lanes.append(lane)

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(job_ids)


def test_nobody_waits_and_what_waits_goes_together() -> None:
    redis = Redis()
    queue = BackgroundQueue(redis)
    for number in range(50):
        queue.enqueue(f"j{number}", "r")
    assert redis.sent == []
    redis.open.set()
    wait_until(lambda: len(redis.sent) == 50)
    assert redis.sent == [(f"j{number}", "r") for number in range(50)]
    assert redis.exchanges <= 2
    queue.close()


def test_each_lane_has_an_exchange_of_its_own() -> None:
    redis = Redis()
    redis.open.set()
    queue = BackgroundQueue(redis)
    queue.enqueue("a", "r", Lane.BACKFILL)
    queue.enqueue("b", "r")
    wait_until(lambda: len(redis.sent) == 2)
    assert dict(zip([job for job, _ in redis.sent], redis.lanes, strict=True)) == {"a": "backfill", "b": "live"}
    queue.close()


def test_a_queue_that_is_full_says_so() -> None:
    redis = Redis()
    queue = BackgroundQueue(redis, most=3)
    with pytest.raises(SyncError, match="queue_unavailable"):
        queue.enqueue_all([("a", "r")] * 4)
    redis.open.set()
    queue.enqueue("b", "r")
    wait_until(lambda: redis.sent == [("b", "r")])
    queue.close()


def test_a_failure_is_outlived(caplog: pytest.LogCaptureFixture) -> None:
    redis = Redis()
    redis.broken = True
    redis.open.set()
    queue = BackgroundQueue(redis, pause_seconds=0.01)
    queue.enqueue("lost", "r")  # its run is the sweeper's now
    wait_until(lambda: "enqueue_failed" in caplog.messages)
    redis.broken = False
    queue.enqueue("next", "r")
    wait_until(lambda: redis.sent == [("next", "r")])
    queue.close()


def test_what_waits_is_sent_at_the_end() -> None:
    redis = Redis()
    queue = BackgroundQueue(redis)
    queue.enqueue("last", "r")
    threading.Timer(0.05, redis.open.set).start()
    queue.close(5)
    assert redis.sent == [("last", "r")]


def test_asking_goes_through() -> None:
    assert BackgroundQueue(Redis()).waiting(["a"]) == {"a"}
