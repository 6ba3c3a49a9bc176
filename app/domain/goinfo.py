"""A `.info` or `@latest` as go reads it (modfetch.RevInfo by encoding/json): what go refuses is refused here, no more."""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

# As time.Time reads it, which forgives more than RFC 3339: one digit of the hour, a comma, offsets of a whole day.
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d{1,2}):(\d\d):(\d\d)(?:[.,]\d+)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(microsecond=0, tzinfo=UTC)
_ORIGIN = frozenset(["vcs", "url", "subdir", "hash", "tagprefix", "tagsum", "ref", "reposum"])


class InfoRefused(ValueError):  # noqa: N818 - it reads as what happened
    """go would refuse it; the message says what."""


@dataclass(frozen=True, slots=True)
class RevInfo:
    """`version`: empty where there is none. `time`: as it was written. `commit`: Origin.Hash."""

    version: str = ""
    time: str | None = None
    commit: str | None = None


class _Object(list[tuple[str, object]]):
    """A JSON object, pair by pair: go looks at each, also at those that another one of the same name follows."""


def parse_rev_info(body: bytes) -> RevInfo:
    """InfoRefused when go would refuse it. Names count in any letter case; null counts as nothing; what go skips is skipped."""
    try:
        raw = json.loads(
            body.decode("utf-8", "replace"), object_pairs_hook=_Object, parse_constant=_refused, parse_int=float
        )
    except (ValueError, RecursionError):
        raise InfoRefused(
            "not JSON" + (": it begins with a byte order mark" if body[:3] == b"\xef\xbb\xbf" else "")
        ) from None
    if not isinstance(raw, _Object):
        raise InfoRefused("not a JSON object")
    return _with(RevInfo(), raw)


def is_go_time(text: str) -> bool:
    """Whether go reads this as a time."""
    return go_moment(text) is not None


def go_moment(text: str) -> datetime | None:
    """The time as go reads it, to the second, in UTC; the first or last one there is for years that Python has none of.

    None for what go would refuse.
    """
    match = _TIME.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    hours, minutes = int(match[8] or 0), int(match[9] or 0)
    try:
        moment = datetime(year or 2000, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    if hours > 24 or minutes > 60:
        return None
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if match[7] == "-" else 1)
    try:
        return moment - offset if year else _FIRST
    except OverflowError:
        return _FIRST if offset > timedelta() else _LAST


def _with(info: RevInfo, pairs: _Object) -> RevInfo:
    for name, value in pairs:
        match name.casefold():
            case "version" if value is not None:
                info = replace(info, version=_text("Version", value))
            case "time" if value is not None:
                info = replace(info, time=_time(value))
            case "origin" if value is not None:
                info = replace(info, commit=_commit(value, info.commit))
    return info


def _time(value: object) -> str:
    if not is_go_time(_text("Time", value)):
        raise InfoRefused(f"Time is not in RFC 3339: {value!r:.60}")
    return str(value)


def _commit(origin: object, commit: str | None) -> str | None:
    if not isinstance(origin, _Object):
        raise InfoRefused("Origin is not an object")
    for name, value in origin:
        if name.casefold() in _ORIGIN and value is not None:
            text = _text(f"Origin.{name}", value)
            commit = text if name.casefold() == "hash" else commit
    return commit


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InfoRefused(f"{name} is not a string")
    # Half a surrogate pair is U+FFFD for go; no database of ours keeps that or a NUL.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _refused(name: str) -> None:
    raise InfoRefused(f"{name} is not JSON")
