"""When to try again, and when to give up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import CATALOG, Retry, SyncError
from app.domain.retry import GiveUp, RetryPolicy, TryAgain, decide

SINCE = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = RetryPolicy(first=1.0, factor=2.0, longest=60.0, give_up_after=3600.0, patience=900.0)
BACKOFF, PATIENT, NEVER = "gitlab_unavailable", "tag_missing", "version_moved"
CHANCE = st.floats(0, 1, exclude_max=True)
TRIES = st.integers(1, 10_000)


def delay(
    code: str, *, tries: int = 1, waited: float = 0.0, chance: float = 0.0, retry_after: float | None = None
) -> float | None:
    """Seconds until the next try; None: given up."""
    now = SINCE + timedelta(seconds=waited)
    error = SyncError(code, "x", retry_after=retry_after)
    verdict = decide(POLICY, error, tries=tries, since=SINCE, now=now, chance=chance)
    return (verdict.at - now).total_seconds() if isinstance(verdict, TryAgain) else None


def test_the_codes_stand_for_the_three_kinds() -> None:
    kinds = [CATALOG[code].retry for code in (BACKOFF, PATIENT, NEVER)]
    assert kinds == [Retry.BACKOFF, Retry.PATIENT, Retry.NEVER]


@pytest.mark.parametrize(
    ("tries", "chance", "expected"),
    [(1, 0.0, 0.5), (1, 0.5, 0.75), (2, 0.0, 1.0), (3, 0.5, 3.0), (6, 0.0, 16.0), (7, 0.0, 30.0), (50, 0.5, 45.0)],
)
def test_delays_grow_to_the_longest_and_half_of_each_is_chance(tries: int, chance: float, expected: float) -> None:
    assert delay(BACKOFF, tries=tries, chance=chance) == expected


@pytest.mark.parametrize(
    ("code", "waited", "given_up"),
    [
        (NEVER, 0.0, True),
        (BACKOFF, 3599.9, False),
        (BACKOFF, 3600.0, True),
        (PATIENT, 899.9, False),
        (PATIENT, 900.0, True),
    ],
)
def test_each_kind_is_given_up_in_its_time(code: str, waited: float, given_up: bool) -> None:
    assert (delay(code, waited=waited) is None) == given_up


def test_an_error_that_is_never_retried_is_not_retried_because_the_other_side_asks() -> None:
    assert delay(NEVER, retry_after=5.0) is None


@pytest.mark.parametrize(("retry_after", "expected"), [(0.0, 0.5), (0.1, 0.5), (7.0, 7.0), (600.0, 600.0)])
def test_the_other_sides_wish_is_a_lower_bound(retry_after: float, expected: float) -> None:
    assert delay(BACKOFF, retry_after=retry_after) == expected


@pytest.mark.parametrize(("retry_after", "expected"), [(15.0, 15.75), (300.0, 315.0), (600.0, 615.0)])
def test_what_was_held_off_together_does_not_come_back_together(retry_after: float, expected: float) -> None:
    assert delay(BACKOFF, retry_after=retry_after, chance=0.5) == expected
    assert delay(BACKOFF, retry_after=retry_after) == retry_after


def test_the_last_try_comes_when_patience_ends_and_not_long_after() -> None:
    """A tag that appears in the last minute is still found: the last delay is cut to the time that is left."""
    assert delay(PATIENT, tries=20, waited=890.0, chance=0.9) == pytest.approx(10.0)
    assert delay(PATIENT, tries=20, waited=899.9, chance=0.9) == pytest.approx(0.5)


@given(st.sampled_from([BACKOFF, PATIENT]), TRIES, st.floats(0, 899), CHANCE, st.none() | st.floats(0, 7200))
def test_a_delay_is_never_zero_and_never_longer_than_said(
    code: str, tries: int, waited: float, chance: float, retry_after: float | None
) -> None:
    found = delay(code, tries=tries, waited=waited, chance=chance, retry_after=retry_after)
    assert found is not None
    assert found >= max(POLICY.first / 2, retry_after or 0.0) - 1e-5
    assert found <= max(POLICY.longest, (retry_after or 0.0) + min((retry_after or 0.0) / 10, 30)) + 1e-5


@given(st.sampled_from([BACKOFF, PATIENT]), CHANCE)
def test_retries_end(code: str, chance: float) -> None:
    """Played through: from the first failure to giving up, within the kind's time and one more delay."""
    limit = {BACKOFF: POLICY.give_up_after, PATIENT: POLICY.patience}[code]
    now, tries = SINCE, 0
    while True:
        tries += 1
        verdict = decide(POLICY, SyncError(code, "x"), tries=tries, since=SINCE, now=now, chance=chance)
        if isinstance(verdict, GiveUp):
            break
        assert verdict.at > now
        now = verdict.at
    assert limit <= (now - SINCE).total_seconds() <= limit + POLICY.first
    assert tries < 200
