"""Which runs are asked for: one parser for the API's parameters and the command line's options; the page's cursor."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.errors import SyncError
from app.domain.run import ACTIVE, ENDED, Status

LONGEST_PAGE = 500
_HEX = re.compile(r"[0-9a-f]{7,64}")
_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_GROUPS = {"active": ACTIVE, "ended": ENDED}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a run must be to be listed; empty fields ask for nothing.

    `module` is a path, or a prefix when it ends in `*`; `commit` a prefix of at least 7 hex digits; `since` is
    inclusive and `until` exclusive, both compared with the time of creation; `error` is a code; `q` is a run's or job's
    id, a commit, a version, a part of a module path, or module@version.
    """

    module: str | None = None
    version: str | None = None
    commit: str | None = None
    status: frozenset[Status] = frozenset()
    source: str | None = None
    error: str | None = None
    mirror: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None

    @classmethod
    def parse(cls, values: Mapping[str, str | None], now: datetime) -> RunFilter:
        """From texts by field name; missing and empty ones ask for nothing.

        `status` takes names with commas between, also `active` and `ended`; `since` and `until` take ISO 8601 times
        (UTC unless they say otherwise), dates, and ages like `30m`, `24h`, `7d`. Error: bad_request with the field.
        """
        given = {name: text.strip() for name, text in values.items() if text and text.strip()}
        for name, text in given.items():
            if not text.isprintable():
                raise SyncError("bad_request", f"{name} holds characters that cannot be there", field=name)
        return cls(
            module=given.get("module"),
            version=given.get("version"),
            commit=_commit(given.get("commit")),
            status=_status(given.get("status")),
            source=given.get("source"),
            error=given.get("error"),
            mirror=given.get("mirror"),
            since=parse_time("since", given.get("since"), now),
            until=parse_time("until", given.get("until"), now),
            q=given.get("q"),
        )


def is_commit(text: str) -> bool:
    """True for what can be a commit or the beginning of one."""
    return _HEX.fullmatch(text.lower()) is not None


def check_limit(limit: int) -> int:
    """The page's size as it is. Error: bad_request (field limit) outside 1 to LONGEST_PAGE."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise SyncError("bad_request", f"limit must be 1 to {LONGEST_PAGE}", field="limit")
    return limit


def make_cursor(created_at: datetime, run_id: str, *bounds: datetime) -> str:
    """The place after this run in the list, and the list's own times, as one word that means nothing to others."""
    moments = [each.astimezone(UTC).isoformat() for each in (created_at, *bounds)]
    text = json.dumps([moments[0], run_id, *moments[1:]])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_cursor(cursor: str, field: str = "cursor") -> tuple[datetime, str]:
    """The reverse of make_cursor without bounds. Error: bad_request (with the field) for anything else."""
    created_at, run_id, _ = parse_bounded(cursor, field, 0)
    return created_at, run_id


def parse_bounded(cursor: str, field: str, bounds: int) -> tuple[datetime, str, tuple[datetime, ...]]:
    """The reverse of make_cursor with so many bounds. Error: bad_request (with the field) for anything else."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        moment, run_id, *others = json.loads(text)
        created_at, *times = (_utc(each) for each in (moment, *others))
    except (ValueError, TypeError, OverflowError, binascii.Error, RecursionError):
        raise SyncError("bad_request", f"{field} is not one of ours", field=field) from None
    if len(times) != bounds or not isinstance(run_id, str) or "\x00" in run_id:
        raise SyncError("bad_request", f"{field} is not one of ours", field=field)
    return created_at, run_id, tuple(times)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)


def _commit(text: str | None) -> str | None:
    if text is not None and not is_commit(text):
        raise SyncError("bad_request", "commit must be 7 to 64 hex digits", field="commit")
    return text.lower() if text else None


def _status(text: str | None) -> frozenset[Status]:
    found: set[Status] = set()
    for word in (text or "").split(","):
        name = word.strip().lower()
        if name in _GROUPS:
            found |= _GROUPS[name]
        elif name in list(Status):
            found.add(Status(name))
        elif name:
            names = ", ".join([*Status, *_GROUPS])
            raise SyncError("bad_request", f"status {name[:40]!r} is none of {names}", field="status")
    return frozenset(found)


def parse_time(name: str, text: str | None, now: datetime) -> datetime | None:
    """An ISO 8601 time (UTC unless it says otherwise) or an age like `24h`; None for None. Error: bad_request (`name`)."""
    if text is None:
        return None
    try:
        age = _AGE.fullmatch(text)
        if age:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SyncError("bad_request", f"{name} is neither an ISO 8601 time nor an age like 24h", field=name) from None
