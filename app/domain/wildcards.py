"""Names with wildcards, as GitLab's protection rules have them: `*` stands for any characters, `/` among them."""

from __future__ import annotations

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
