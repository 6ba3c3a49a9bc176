"""Whose turn it is where only so many may go at a time."""

import pytest

from app.domain.turns import fair_turns

LONG = [("long", f"l{number}") for number in range(5)]


@pytest.mark.parametrize(
    ("waiting", "in_flight", "free", "expected"),
    [
        ([], {}, 3, []),
        (LONG, {}, 0, []),
        (LONG, {}, -1, []),
        (LONG, {}, 2, ["l0", "l1"]),
        (LONG, {"other": 7}, 9, ["l0", "l1", "l2", "l3", "l4"]),
        ([*LONG, ("short", "s0")], {}, 3, ["l0", "s0", "l1"]),
        ([*LONG, ("short", "s0")], {"long": 3}, 2, ["s0", "l0"]),
        ([*LONG, ("short", "s0"), ("short", "s1")], {"short": 2}, 4, ["l0", "l1", "l2", "s0"]),
    ],
)
def test_fair_turns(waiting: list[tuple[str, str]], in_flight: dict[str, int], free: int, expected: list[str]) -> None:
    assert fair_turns(waiting, in_flight, free) == expected
