"""What a replay is asked for with, from a form or from JSON."""

from __future__ import annotations

import re

from app.domain.errors import SyncError
from app.domain.run import Stage

LONGEST_REASON = 500
_NOT_IN_TEXTS = re.compile(r"[\x00\ud800-\udfff]")


def stage_of(value: object) -> Stage | None:
    """The stage to begin at; None: the one that failed. Error: bad_request (field from)."""
    if value is None:
        return None
    if not isinstance(value, str) or value not in list(Stage):
        raise wrong("from", f"must be one of {', '.join(Stage)}")
    return Stage(value)


def reason_of(value: object) -> str:
    """Why, "" for none. Error: bad_request (field reason)."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_REASON or not can_be_kept(value):
        raise wrong("reason", f"must be a text of at most {LONGEST_REASON} characters")
    return value.strip()


def can_be_kept(text: str) -> bool:
    """False for what no database holds: NUL, and half a surrogate pair, which JSON can say."""
    return _NOT_IN_TEXTS.search(text) is None


def wrong(field: str, message: str) -> SyncError:
    """bad_request that names the field."""
    return SyncError("bad_request", f"{field[:100]}: {message}", field=field[:100])
