"""How long a shared cache may keep an answer: RFC 9111, sections 4.2.1 and 5.2."""

from datetime import UTC, datetime

import pytest

from app.doctor.caching import lifetime

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "public"}, None),
        ({"cache-control": "Public, Max-Age=60"}, 60),
        ({"cache-control": 'max-age="60"'}, 60),
        ({"cache-control": "max-age=60, s-maxage=3600"}, 3600),
        ({"cache-control": "s-maxage=30,max-age=3600"}, 3600),  # a client's own cache counts, too
        ({"cache-control": "max-age=soon"}, None),
        ({"cache-control": "no-store, max-age=60"}, 0),
        ({"cache-control": "no-cache"}, 0),
        ({"cache-control": "max-age=60", "expires": "Fri, 27 Nov 2026 18:00:00 GMT"}, 60),
        ({"expires": "Fri, 27 Nov 2026 12:01:00 GMT"}, 60),
        ({"expires": "Fri, 27 Nov 2026 12:01:00 GMT", "date": "Fri, 27 Nov 2026 12:00:30 GMT"}, 30),
        ({"expires": "Fri, 27 Nov 2026 11:00:00 GMT"}, 0),
        ({"expires": "0"}, 0),
    ],
)
def test_lifetime(headers: dict[str, str], seconds: int | None) -> None:
    assert lifetime(headers, NOW) == seconds
