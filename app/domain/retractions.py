"""Which versions a go.mod takes back (`retract`): `go list` leaves those out, and `@latest` does not name them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate

from app.domain.gomod import string_of
from app.domain.gomod_syntax import parse_lines
from app.domain.modules import Version
from app.domain.rules import RuleBroken
from app.domain.semver import SortKey, semver_sort_key

_BELOW_ALL: SortKey = (), False, ()  # as semver.Compare has what is no version


@lru_cache(4)  # `list` and `@latest` ask about the same
def retracts(go_mod: bytes, version: Version) -> bool:
    """True when this go.mod retracts `version`; a file that cannot be read retracts nothing."""
    return bool(retracted(go_mod, (version,)))


def retracted(go_mod: bytes, versions: Iterable[Version]) -> set[Version]:
    """Those of `versions` that this go.mod retracts, by one reading of it: it may name as many as there are."""
    keyed = {each: key for each in versions if (key := semver_sort_key(each.text))} if b"retract" in go_mod else {}
    ordered = sorted(keyed, key=keyed.__getitem__)
    places = [keyed[each] for each in ordered]
    edges = [0] * (len(places) + 1)  # how many intervals begin at each version, less those that ended before it
    try:
        for first, last in _intervals(go_mod) if places else ():
            begins, ends = bisect_left(places, first), bisect_right(places, last)
            edges[begins] += begins < ends
            edges[ends] -= begins < ends
    except RuleBroken:  # at the end of the file, too
        return set()
    return {version for version, depth in zip(ordered, accumulate(edges), strict=False) if depth}


def _intervals(go_mod: bytes) -> Iterator[tuple[SortKey, SortKey]]:
    """The first and the last of what each `retract` takes back, as go reads other modules' files (parseVersionInterval).

    What is none takes back nothing; what follows one on its line counts for nothing. Files that go refuses as a whole for
    another directive's sake are read all the same.
    """
    for tokens in _lines(go_mod):
        low, high = map(string_of, _ends(tokens))
        if low is not None and high is not None and (last := semver_sort_key(high)):
            yield semver_sort_key(low) or _BELOW_ALL, last


def _ends(tokens: list[str]) -> tuple[str, str]:
    """The tokens of the first and the last version; empty where there are none."""
    match tokens:
        case ["[", low, ",", high, "]", *_]:
            return low, high
        case ["[", *_] | []:
            return "", ""
        case _:
            return tokens[0], tokens[0]


def _lines(go_mod: bytes) -> Iterator[list[str]]:
    """What stands behind each `retract`: `v1.0.0`, or the tokens of `[v1.0.0, v1.1.0]`."""
    for line in parse_lines(go_mod):
        if line.within is None and line.tokens[0] == "retract":
            yield line.tokens[1:]
        elif line.within is not None and line.tokens == ["retract"]:
            yield line.within
