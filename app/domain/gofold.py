"""Go's own answers about runes: letters, printable, and which names fold to the same (unicode package of Go 1.27).

Neither unicodedata nor str.casefold gives these: they follow the interpreter's Unicode version and full case folding.
"""

from bisect import bisect_right
from functools import cache

from app.domain.gotables import FOLDS, LETTERS, PRINTABLE

GO_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""All runes for which unicode.IsSpace holds; what bytes.TrimSpace trims (str.strip() would trim U+001C..1F too)."""


def is_letter(char: str) -> bool:
    """unicode.IsLetter of one character; a surrogate (an undecodable byte) is none."""
    return _within(_ranges(LETTERS), ord(char))


def is_print(char: str) -> bool:
    """unicode.IsPrint of one character; an undecodable byte counts as U+FFFD, which Go prints."""
    return _within(_ranges(PRINTABLE), ord(char)) or "\ud800" <= char <= "\udfff"


def printable_ranges() -> list[tuple[int, int]]:
    """First and last rune of each run for which unicode.IsPrint holds."""
    return list(zip(*_ranges(PRINTABLE), strict=True))


def fold_key(text: str) -> str:
    """Equal for two names exactly when Go's strings.EqualFold holds (x/mod/zip strToFold)."""
    if text.isascii():
        return text.lower()
    return text.translate(_folds())


def _within(ranges: tuple[list[int], list[int]], rune: int) -> bool:
    starts, ends = ranges
    place = bisect_right(starts, rune) - 1
    return place >= 0 and rune <= ends[place]


@cache
def _ranges(packed: str) -> tuple[list[int], list[int]]:
    """First and last runes of each run of a packed table."""
    starts: list[int] = []
    ends: list[int] = []
    end = 0
    for word in packed.split():
        gap, _, more = word.partition("+")
        start = end + int(gap, 36)
        end = start + int(more or "0", 36)
        starts.append(start)
        ends.append(end)
    return starts, ends


@cache
def _folds() -> dict[int, int]:
    """Rune -> smallest rune that folds to the same."""
    folds: dict[int, int] = {}
    start = 0
    for word in FOLDS.split():
        gap, count, step, delta = word.split(".")
        start += int(gap, 36)
        runes = range(start, start + int(count) * int(step), int(step))
        folds.update((rune, rune + int(delta, 36)) for rune in runes)
    return folds
