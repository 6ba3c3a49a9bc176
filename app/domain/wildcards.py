"""Names with wildcards: GitLab's protection rules, whose `*` also stands for `/`, and paths of allow-lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that both patterns match."""

    @cache
    def rest(left: int, right: int) -> bool:
        if left == len(one) and right == len(other):
            return True
        if left < len(one) and one[left] == "*":
            return rest(left + 1, right) or (right < len(other) and rest(left, right + 1))
        if right < len(other) and other[right] == "*":
            return rest(left, right + 1) or (left < len(one) and rest(left + 1, right))
        both = left < len(one) and right < len(other)
        return both and one[left] == other[right] and rest(left + 1, right + 1)

    return rest(0, 0)


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern of paths: `*` stands for anything within a segment, `**` (a whole segment) for any number of segments.

    Paths come from outside: what is between two wildcards is taken where it comes first, and nothing is tried twice.
    """

    runs: tuple[tuple[tuple[str, ...], ...], ...]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """The pattern `a*/**/b`: what is between its `**`, segment by segment, each split at its `*`."""
        runs: list[tuple[tuple[str, ...], ...]] = [()]
        for segment in text.removesuffix("/").split("/"):
            if segment == "**":
                runs.append(())
            else:
                runs[-1] += (tuple(segment.split("*")),)
        return cls(tuple(runs))

    def matches(self, path: str) -> bool:
        """True for `/a/b` when the pattern covers all of it; no segment of a path is empty."""
        segments = path.split("/")[1:]

        def find(run: Sequence[Sequence[str]], start: int, end: int) -> int:
            places = range(start, end - len(run) + 1)
            return next((at for at in places if all(map(_fits, run, segments[at : at + len(run)]))), -1)

        return _in_order(self.runs, len(segments), find)


def _fits(parts: Sequence[str], segment: str) -> bool:
    return _in_order(parts, len(segment), segment.find)


def _in_order(parts: Sequence[Sequence[object]], length: int, find: Callable[..., int]) -> bool:
    """Whether `parts`, with anything between them, are a whole of `length`; `find(part, start, end)`: -1 for nowhere."""
    first, last = len(parts[0]), length - len(parts[-1])
    if len(parts) == 1:
        return first == length and find(parts[0], 0, length) == 0
    if first > last or (first and find(parts[0], 0, first)) or (last < length and find(parts[-1], last, length) < 0):
        return False
    at = first
    for part in parts[1:-1]:
        if (found := find(part, at, last)) < 0:
            return False
        at = found + len(part)
    return True
