"""What is remembered: for how long, and who waits for a new one."""

import threading
from collections.abc import Callable

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


@pytest.mark.parametrize(("took", "good"), [(0.4, 0.0), (0.5, 5.0), (3.0, 30.0)])
def test_what_is_slow_costs_a_tenth_of_the_time(took: float, good: float) -> None:
    ticks = Ticks()
    kept = Remembered(_counting(ticks, took), 0, slow=0.5, ticks=ticks)
    assert kept.get() == 1
    ticks.time += good
    assert kept.get() == 1
    ticks.time += 0.01
    assert kept.get() == 2


def test_an_error_is_told_and_not_remembered() -> None:
    answers = iter([ValueError("away"), 7])

    def make() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return int(str(answer))

    kept = Remembered(make, 30)
    with pytest.raises(ValueError, match="away"):
        kept.get()
    assert kept.get() == 7


def test_while_one_makes_it_others_get_the_old_one_and_wait_for_the_first() -> None:
    begun, go_on = threading.Event(), threading.Event()
    values = iter([1, 2])

    def make() -> int:
        begun.set()
        assert go_on.wait(20)
        return next(values)

    kept = Remembered(make, -1)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(kept.get())) for _ in range(2)]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    assert found == []
    begun.clear()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert sorted(found) in ([1, 2], [1, 1])
    values = iter([3])
    begun.clear()
    go_on.clear()
    maker = threading.Thread(target=kept.get)
    maker.start()
    assert begun.wait(20)
    assert kept.get() in (1, 2)
    go_on.set()
    maker.join(20)
