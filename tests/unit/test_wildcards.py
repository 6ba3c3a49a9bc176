"""Whether two patterns of GitLab's protection rules can match one name; which paths a pattern of an allow-list covers."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.wildcards import PathPattern, overlap
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


def expression(pattern: str) -> re.Pattern[str]:
    """The same said as an expression, which goes back and forth without end where there are many wildcards."""
    parts = [
        "(?:/[^/]+)*" if segment == "**" else "/" + re.escape(segment).replace(r"\*", "[^/]*")
        for segment in pattern.split("/")
    ]
    return re.compile("".join(parts))


segments = st.lists(st.one_of(st.just("**"), st.text("ab*", min_size=1, max_size=4).filter(lambda s: "**" not in s)))


@given(segments.filter(bool), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_path_is_covered_as_an_expression_says(pattern: list[str], names: list[str]) -> None:
    text, path = "/".join(pattern[:5]), "/" + "/".join(names)
    assert PathPattern.parse(text).matches(path) == (expression(text).fullmatch(path) is not None)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("**/a/" * 40 + "**/b/**/c", "/a" * 499 + "/c"), ("*a" * 200 + "*b*c", "/" + "a" * 998 + "c")],
)
def test_many_wildcards_stop_nobody(pattern: str, path: str) -> None:
    begun = time.monotonic()
    assert not PathPattern.parse(pattern).matches(path)
    assert time.monotonic() - begun < 1.0
