"""Dates of HTTP header fields (RFC 9110, section 5.6.7), as hostile or careless servers write them."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def http_date(text: str) -> datetime | None:
    """The moment that a `Date`, `Expires` or `Retry-After` names, with its zone (UTC when it names none); None when the
    text names none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
