"""The brake on guessing, the key of sessions, and errors' one table."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.domain.errors import CATALOG
from app.services.throttle import Throttle
from app.web.errors import STATUS
from app.web.security import same_secret, signing_key


class Hand:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failures_are_braked_until_the_time_is_over() -> None:
    clock = Hand()
    throttle = Throttle(3, 60, clock)
    for _ in range(3):
        assert throttle.wait("a") == 0
        throttle.failed("a")
    clock.now += 20
    assert throttle.wait("a") == 40
    assert throttle.wait("b") == 0
    clock.now += 40
    assert throttle.wait("a") == 0
    throttle.failed("a")
    assert throttle.wait("a") == 0


def test_a_try_while_braked_does_not_lengthen_the_wait() -> None:
    clock = Hand()
    throttle = Throttle(1, 60, clock)
    throttle.failed("a")
    clock.now += 30
    throttle.failed("a")
    assert throttle.wait("a") == 30


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    throttle = Throttle(1, 60, Hand(), size=3)
    for address in "abcd":
        throttle.failed(address)
    assert [throttle.wait(address) > 0 for address in "abcd"] == [False, True, True, True]


def test_many_at_once_agree_on_one_private_key(tmp_path: Path) -> None:
    for turn in range(20):
        directory = tmp_path / str(turn)
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda _, place=directory: signing_key(place, "session"), range(16)))
        assert len(keys) == 1
        assert [each.name for each in directory.iterdir()] == ["secret_key"]
        assert stat.S_IMODE((directory / "secret_key").stat().st_mode) == 0o600


def test_keys_differ_by_purpose_and_place(tmp_path: Path) -> None:
    places = [(tmp_path / "a", "x"), (tmp_path / "a", "y"), (tmp_path / "b", "x")]
    assert len({signing_key(*place) for place in places}) == 3
    assert signing_key(tmp_path / "a", "x") == signing_key(tmp_path / "a", "x")


@pytest.mark.parametrize(("given", "same"), [("token", True), ("tokem", False), ("", False), ("tok\udcff", False)])
def test_secrets_are_compared_whatever_is_given(given: str, same: bool) -> None:
    assert same_secret(given, "token") is same


def test_the_table_of_errors_names_codes_that_exist() -> None:
    assert set(STATUS) <= set(CATALOG)
    assert all(400 <= status <= 503 for status in STATUS.values())
