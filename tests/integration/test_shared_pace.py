"""One pace for several processes, on a real Redis; and a Redis that is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from app.adapters.job_queue import redis_for_enqueue
from app.adapters.shared_pace import SharedPace
from tests.integration.embedded import embedded_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with embedded_redis() as url:
        yield redis_for_enqueue(url)


class Alone:
    """Counts who was paced without Redis."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1


def test_all_with_one_redis_share_the_rate_and_no_job_begins_with_a_free_request(redis: Redis) -> None:
    """Nobody really sleeps here, so each wait is the whole way to its place in the line."""
    redis.flushall()
    slept: list[float] = []
    for _ in range(10):  # ten jobs, each in a process of its own, of three requests
        job = SharedPace(redis, 2, Alone(), slept.append)
        for _ in range(3):
            job.wait()
    assert len(slept) == 29  # all but the very first
    assert 29 * 0.5 - 5 < slept[-1] <= 29 * 0.5
    assert slept == sorted(slept)


def test_what_was_not_asked_for_is_not_saved_up(redis: Redis) -> None:
    redis.flushall()
    slept: list[float] = []
    redis.set("modsync:pace", "1000.000")  # long ago
    for _ in range(3):
        SharedPace(redis, 0.01, Alone(), slept.append).wait()
    assert [round(each, -1) for each in slept] == [100, 200]


def test_without_redis_each_process_keeps_the_pace_alone() -> None:
    alone = Alone()
    pace = SharedPace(redis_for_enqueue("unix:///nonexistent/redis.sock"), 5, alone)
    pace.wait()
    assert alone.waits == 1
