"""Which versions a go.mod takes back (`retract`): `go list` leaves those out, and `@latest` does not name them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from app.domain.gomod import string_of
from app.domain.gomod_syntax import parse_lines
from app.domain.modules import Version
from app.domain.rules import RuleBroken
from app.domain.semver import semver_compare, semver_is_valid


@lru_cache(4)  # `list` and `@latest` ask about the same
def retracts(go_mod: bytes, version: Version) -> bool:
    """True when this go.mod retracts `version`; a file that cannot be read retracts nothing."""
    found = False
    try:
        for tokens in _lines(go_mod) if b"retract" in go_mod else ():
            found = found or _within(version.text, tokens)  # to the end of it, where an error may be
        return found
    except RuleBroken:
        return False


def _lines(go_mod: bytes) -> Iterator[list[str]]:
    """What stands behind each `retract`: `v1.0.0`, or the tokens of `[v1.0.0, v1.1.0]`."""
    for line in parse_lines(go_mod):
        if line.tokens[0] == "retract":
            yield line.tokens[1:] if line.within is None else line.within


def _within(text: str, tokens: list[str]) -> bool:
    read = [string_of(token) for token in tokens]
    ends = [token for token in read if token is not None and semver_is_valid(token)]
    if not ends or len(ends) > 2:
        return False
    return semver_compare(ends[0], text) <= 0 <= semver_compare(ends[-1], text)
