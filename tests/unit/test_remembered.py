"""What is remembered: for how long, and who waits for a new one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.services.remembered import Remembered


class Ticks:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def _counting(ticks: Ticks, took: float) -> Callable[[], int]:
    made = []

    def make() -> int:
        ticks.time += took
        made.append(ticks.time)
        return len(made)

    return make


def test_it_is_made_anew_when_it_is_old() -> None:
    ticks = Ticks()
    kept = Remembered(_counting(ticks, 0.0), 30, ticks=ticks)
    found = []
    for at in (0, 30, 31, 60, 62):
        ticks.time = at
        found.append(kept.get())
    assert found == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(("took", "good"), [(0.4, 0.0), (0.5, 5.0), (3.0, 15.0)])
def test_what_is_slow_is_shown_for_longer_but_not_for_long(took: float, good: float) -> None:
    ticks = Ticks()
    kept = Remembered(_counting(ticks, took), 0, slow=0.5, ticks=ticks)
    assert kept.get() == 1
    ticks.time += good
    assert kept.get() == 1
    ticks.time += 0.01
    assert kept.get() == 2


def test_an_error_is_told_to_all_for_two_seconds_and_an_old_value_to_nobody() -> None:
    ticks = Ticks()
    answers: Iterator[int | ValueError] = iter([1, ValueError("away"), 7])

    def make() -> int:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    kept = Remembered(make, 30, ticks=ticks)
    assert kept.get() == 1
    for at in (31, 32, 33):
        ticks.time = at
        with pytest.raises(ValueError, match="away"):
            kept.get()
    ticks.time = 33.1
    assert kept.get() == 7


class Slowly:
    """A value that is made when it is said so."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.made = threading.Event(), threading.Semaphore(0), 0

    def __call__(self) -> int:
        self.begun.set()
        assert self.go_on.acquire(timeout=20)
        self.made += 1
        return self.made


@pytest.mark.parametrize(("age", "at_once"), [(50, [1]), (61, []), (86_400, [])])
def test_while_one_makes_it_others_get_the_old_one_if_it_is_not_too_old(age: float, at_once: list[int]) -> None:
    ticks, making = Ticks(), Slowly()
    kept = Remembered(making, 30, ticks=ticks)
    making.go_on.release()
    assert kept.get() == 1
    making.begun.clear()
    ticks.time = age
    with ThreadPoolExecutor(2) as pool:
        maker = pool.submit(kept.get)
        assert making.begun.wait(20)
        other = pool.submit(kept.get)
        found = [other.result(20)] if at_once else []
        assert found == at_once
        assert not maker.done()
        making.go_on.release()
        assert [maker.result(20), other.result(20)] == [2, *(at_once or [2])]
    assert making.made == 2
