"""Whether two patterns of GitLab's protection rules can match one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.wildcards import overlap
from tests.sandbox.gitlab.protection import matches

short = st.text("ab*", max_size=5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("*", "ci-sync"),
        ("ci-*", "ci-sync"),
        ("*sync*", "ci-sync"),
        ("v*", "*1"),
        ("*/v*", "sdk/*"),
        ("", ""),
        ("", "*"),
    ],
)
def test_they_do(one: str, other: str) -> None:
    assert overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("main", "ci-sync"), ("ci-*-x", "ci-sync"), ("v*", "x*"), ("nightly", "*/v*"), ("", "a"), ("a*", "b*")],
)
def test_they_do_not(one: str, other: str) -> None:
    assert not overlap(one, other)
    assert not overlap(other, one)


@given(short, st.text("ab", max_size=6))
def test_a_name_without_a_wildcard_is_matched_as_the_stand_in_matches(pattern: str, name: str) -> None:
    assert overlap(pattern, name) == matches(pattern, name)


@given(short, short, st.text("ab", max_size=6))
def test_a_name_that_both_match_is_an_overlap(one: str, other: str, name: str) -> None:
    if matches(one, name) and matches(other, name):
        assert overlap(one, other)
