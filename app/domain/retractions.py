"""Which versions a go.mod takes back (`retract`): `go list` leaves those out, and `@latest` does not name them."""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.gomod import string_of
from app.domain.gomod_syntax import parse_statements
from app.domain.modules import Version
from app.domain.rules import RuleBroken
from app.domain.semver import semver_compare, semver_is_valid


def retracts(go_mod: bytes, version: Version) -> bool:
    """True when this go.mod retracts `version`; a file that cannot be read retracts nothing."""
    try:
        return any(_within(version.text, tokens) for tokens in _lines(go_mod))
    except RuleBroken:
        return False


def _lines(go_mod: bytes) -> Iterator[list[str]]:
    """What stands behind each `retract`: `v1.0.0`, or the tokens of `[v1.0.0, v1.1.0]`."""
    for statement in parse_statements(go_mod.decode("utf-8", "surrogateescape")):
        if statement.tokens[:1] == ["retract"]:
            yield from [statement.tokens[1:]] if statement.lines is None else statement.lines


def _within(text: str, tokens: list[str]) -> bool:
    read = [string_of(token) for token in tokens]
    ends = [token for token in read if token is not None and semver_is_valid(token)]
    if not ends or len(ends) > 2:
        return False
    return semver_compare(ends[0], text) <= 0 <= semver_compare(ends[-1], text)
