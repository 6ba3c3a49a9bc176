"""The pace of requests, with a clock of its own."""

from __future__ import annotations

from app.services.pace import Pace


class Time:
    """Goes on when somebody sleeps, and when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def paced(per_second: float) -> tuple[Pace, Time]:
    time = Time()
    return Pace(per_second, time.clock, time.sleep), time


def test_requests_are_spread_evenly() -> None:
    pace, time = paced(4)
    for _ in range(9):
        pace.wait()
    assert time.now == 102.0
    assert time.slept == [0.25] * 8


def test_what_was_not_asked_for_is_not_saved_up() -> None:
    pace, time = paced(4)
    pace.wait()
    time.now += 60
    for _ in range(5):
        pace.wait()
    assert time.slept == [0.25] * 4


def test_slow_answers_count_as_waiting() -> None:
    pace, time = paced(4)
    for _ in range(3):
        pace.wait()
        time.now += 0.2
    assert [round(each, 6) for each in time.slept] == [0.05, 0.05]


def test_no_rate_is_no_pace() -> None:
    pace, time = paced(0)
    for _ in range(100):
        pace.wait()
    assert time.slept == []
