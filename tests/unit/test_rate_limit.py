"""The rate limit: bursts, the even rate after them, processes that share it, clocks that jump, disks that fail."""

from __future__ import annotations

import random
from multiprocessing import get_context
from pathlib import Path

import pytest

from app.adapters.rate_limit import Rate, SharedRateLimit
from app.config_models import Source
from app.domain.errors import SyncError


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def limit(directory: Path, clock: Clock, per_minute: int = 60, burst: int = 3) -> SharedRateLimit:
    return SharedRateLimit(directory, {"one": Rate(per_minute, burst), "two": Rate(per_minute, burst)}, clock)


def taken(limited: SharedRateLimit, source: str = "one", tries: int = 10) -> int:
    for number in range(tries):
        try:
            limited(source)
        except SyncError as error:
            return number if error.code == "source_rate_limited" else -1
    return tries


def test_a_burst_and_then_the_even_rate(tmp_path: Path) -> None:
    clock = Clock()
    limited = limit(tmp_path, clock)
    assert taken(limited) == 3
    clock.now += 1
    assert taken(limited) == 1
    clock.now += 60
    assert taken(limited) == 3


def test_the_wait_is_told_and_is_enough(tmp_path: Path) -> None:
    clock = Clock()
    limited = limit(tmp_path, clock)
    assert taken(limited) == 3
    with pytest.raises(SyncError) as caught:
        limited("one")
    assert caught.value.retry_after == pytest.approx(1.0, abs=0.01)
    clock.now += caught.value.retry_after or 0
    assert taken(limited) == 1


def test_one_source_does_not_use_anothers_share(tmp_path: Path) -> None:
    limited = limit(tmp_path, Clock())
    assert taken(limited) == 3
    assert taken(limited, "two") == 3


def test_zero_is_no_limit_and_an_unknown_source_has_none(tmp_path: Path) -> None:
    assert taken(limit(tmp_path, Clock(), per_minute=0), tries=50) == 50
    assert taken(limit(tmp_path, Clock()), "three", tries=50) == 50


def test_a_clock_that_was_set_back_blocks_nobody(tmp_path: Path) -> None:
    clock = Clock()
    limited = limit(tmp_path, clock)
    assert taken(limited) == 3
    clock.now -= 86400
    assert taken(limited) == 3


def test_a_flood_at_any_moments_gets_one_burst_and_the_even_rate(tmp_path: Path) -> None:
    """Some of its requests come within the rounding's grace: what they leave is no clock that was set back."""
    clock, moments = Clock(), random.Random(7)
    limited, begun, let_in = limit(tmp_path, clock, burst=10), clock.now, 0
    while clock.now < begun + 60:
        clock.now += moments.expovariate(2000)
        let_in += taken(limited, tries=1)
    assert 69 <= let_in <= 71


def test_each_release_of_a_body_counts(tmp_path: Path) -> None:
    limited = limit(tmp_path, Clock(), burst=50)
    limited("one")
    limited("one", 39)
    assert taken(limited, tries=50) == 10


def test_a_body_that_waits_as_long_as_it_is_told_is_let_in(tmp_path: Path) -> None:
    """Also one with more releases than a burst; what its refused tries took is waited for, too."""
    clock = Clock()
    limited = limit(tmp_path, clock, burst=10)
    for releases in (8, 10, 40):
        clock.now, waits = clock.now + 5, 0
        assert taken(limited, tries=20) >= 5
        while wait := refused(limited, releases):
            clock.now, waits = clock.now + wait, waits + 1
        assert waits in (1, 2)  # one for the request, one for its releases
        assert refused(limited, 2)


@pytest.mark.parametrize(("releases", "every"), [(1, 0.7), (5, 0.7), (5, 1.1), (10, 1.1), (5, 2.0)])
def test_a_source_above_its_rate_gets_its_rate_whatever_its_bodies_hold(
    tmp_path: Path, releases: int, every: float
) -> None:
    """A refused body takes nothing: else the room for the next one would never gather."""
    clock = Clock()
    limited = limit(tmp_path, clock, burst=20)
    let_in = 0
    for _ in range(int(1200 / every)):
        let_in += releases * (not refused(limited, releases))
        clock.now += every
    assert let_in == pytest.approx(1200, abs=40)


def refused(limited: SharedRateLimit, releases: int) -> float:
    """As intake counts a body; the seconds it is told to wait."""
    try:
        limited("one")
        if releases > 1:
            limited("one", releases - 1)
    except SyncError as error:
        return error.retry_after or 0
    return 0


def test_the_default_burst_lets_large_pushes_and_a_backfilling_platform_pass(tmp_path: Path) -> None:
    default = Source.model_fields
    rate = Rate(default["rate_per_minute"].default, default["burst"].default)
    limited = SharedRateLimit(tmp_path, {"one": rate}, Clock())
    assert [refused(limited, 100) for _ in range(20)] == [0] * 20
    assert refused(limited, 1)


def test_a_disk_that_fails_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert taken(limit(tmp_path / "file", Clock()), tries=10) == 10


def _take_many(directory: str) -> int:
    return taken(SharedRateLimit(Path(directory), {"one": Rate(1, 100)}), tries=100)


def test_processes_share_one_limit(tmp_path: Path) -> None:
    with get_context("spawn").Pool(3) as pool:
        assert sum(pool.map(_take_many, [str(tmp_path)] * 3)) == 100
