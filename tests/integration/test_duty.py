"""One of several has a duty: taking, keeping, leaving it, and losing it by silence."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from app.adapters.duty_store import SqlDutyStore
from app.services.duty import Duty, DutyOptions


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def chance(self) -> float:
        return 0.5

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _duty(engine: Engine, clock: Clock, owner: str) -> Duty:
    return Duty(SqlDutyStore(engine), clock, DutyOptions("sweep", owner, seconds=3.0))


def test_one_has_it_and_keeps_it(engine: Engine, clock: Clock) -> None:
    one, other = _duty(engine, clock, "one"), _duty(engine, clock, "other")
    for _ in range(10):
        assert one.mine()
        assert not other.mine()
        clock.advance(1)


def test_silence_loses_it(engine: Engine, clock: Clock) -> None:
    one, other = _duty(engine, clock, "one"), _duty(engine, clock, "other")
    assert one.mine()
    clock.advance(3.1)
    assert other.mine()
    assert not one.mine()


def test_who_leaves_it_lets_the_next_begin_at_once(engine: Engine, clock: Clock) -> None:
    one, other = _duty(engine, clock, "one"), _duty(engine, clock, "other")
    assert one.mine()
    other.leave()  # it is not its own to leave
    assert not other.mine()
    one.leave()
    assert other.mine()


def test_a_clock_that_was_set_back_holds_nobody_up(engine: Engine, clock: Clock) -> None:
    """It was an hour ahead, and whoever had the duty then is gone."""
    one, other = _duty(engine, clock, "one"), _duty(engine, clock, "other")
    assert one.mine()
    clock.advance(-3600)
    assert other.mine()
    assert not one.mine()  # it asks, though its own time seems not over for an hour


def test_hosts_may_differ_by_seconds(engine: Engine, clock: Clock) -> None:
    one, other = _duty(engine, clock, "one"), _duty(engine, clock, "other")
    assert one.mine()
    clock.advance(-30)
    assert not other.mine()
