"""Semantic versions with a leading `v`, as golang.org/x/mod/semver reads them.

`v1` and `v1.2` are valid (short for `v1.0.0` and `v1.2.0`), but only without a suffix; an invalid string sorts below
every valid one.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_NUMBER = r"(0|[1-9][0-9]*)"
_PRE_ID = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD_ID = r"[0-9A-Za-z-]+"
_SEMVER = re.compile(
    rf"v{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(-{_PRE_ID}(?:\.{_PRE_ID})*)?(\+{_BUILD_ID}(?:\.{_BUILD_ID})*)?)?)?"
)


class Parts(NamedTuple):
    """A valid version in pieces; numbers stay decimal strings (no limit), suffixes keep their `-` or `+`."""

    major: str
    minor: str
    patch: str
    prerelease: str
    build: str


IdentKey = tuple[int, int, str]
SortKey = tuple[tuple[tuple[int, str], ...], bool, tuple[IdentKey, ...]]


@lru_cache(4096)  # each question about a version begins here
def semver_parts(text: str) -> Parts | None:
    """`v1.2.3-pre+meta` in pieces, missing minor and patch as `0`; None when `text` is not valid."""
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    major, minor, patch, prerelease, build = match.groups(default="")
    return Parts(major, minor or "0", patch or "0", prerelease, build)


def semver_is_valid(text: str) -> bool:
    """Whether x/mod's semver.IsValid accepts `text`."""
    return semver_parts(text) is not None


def semver_canonical(text: str) -> str:
    """`vMAJOR.MINOR.PATCH[-prerelease]` without build metadata; empty when `text` is not valid."""
    parts = semver_parts(text)
    return f"v{parts.major}.{parts.minor}.{parts.patch}{parts.prerelease}" if parts else ""


def semver_major(text: str) -> str:
    """`v2` of `v2.1.0`; empty when `text` is not valid."""
    parts = semver_parts(text)
    return f"v{parts.major}" if parts else ""


def semver_prerelease(text: str) -> str:
    """`-pre` of `v2.1.0-pre+meta`; empty when there is none or `text` is not valid."""
    parts = semver_parts(text)
    return parts.prerelease if parts else ""


def semver_build(text: str) -> str:
    """`+meta` of `v2.1.0+meta`; empty when there is none or `text` is not valid."""
    parts = semver_parts(text)
    return parts.build if parts else ""


def semver_compare(left: str, right: str) -> int:
    """-1, 0 or 1 by semver precedence; build metadata does not count, all invalid strings are equal and lowest."""
    a, b = semver_sort_key(left), semver_sort_key(right)
    if a is None or b is None:
        return (a is not None) - (b is not None)
    return (a > b) - (a < b)


def semver_sort_key(text: str) -> SortKey | None:
    """A key that orders valid versions as semver.Compare does; None when `text` is not valid."""
    parts = semver_parts(text)
    if parts is None:
        return None
    numbers = tuple((len(number), number) for number in parts[:3])
    identifiers = parts.prerelease[1:].split(".") if parts.prerelease else []
    return numbers, not parts.prerelease, tuple(map(_identifier_key, identifiers))


def _identifier_key(identifier: str) -> IdentKey:
    """Digits compare as numbers and below everything else; the rest compares by ASCII."""
    if identifier.isdigit():
        return 0, len(identifier), identifier
    return 1, 0, identifier
