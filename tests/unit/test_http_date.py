"""Dates in header fields."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.http_date import http_date

SAME = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 10:49:37 +0200",
    ],
)
def test_every_form_of_the_standard_is_the_same_moment(text: str) -> None:
    assert http_date(text) == SAME


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "tomorrow", "Sun, 99 Nov 1994 08:49:37 GMT", "1 Jan 99999999999 0:0:0 GMT"]
)
def test_what_is_no_date_names_no_moment(text: str) -> None:
    assert http_date(text) is None


@given(
    st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,3} (Nov|Feb) [0-9]{1,12} [0-9:]{0,9} ?[-+A-Z]?[0-9]{0,9}\Z")
)
def test_no_text_is_an_error_and_each_moment_has_a_zone(text: str) -> None:
    moment = http_date(text)
    assert moment is None or moment.utcoffset() is not None
