"""The go.mod and go.sum here: what go would fetch for them, and with which go; what it need not verify any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from app.domain.gomod_syntax import parse_lines
from app.domain.rules import RuleBroken


def read_requirements(directory: Path) -> tuple[str, ...]:
    """`path@version` of what go fetches for the go.mod here, in its order: as required, or what replaces it.

    A replacement by a directory is not fetched. Empty without a go.mod, or with one that go cannot read.
    """
    lines = [*_lines(directory)]
    replaced = dict(_replacement(line[1:]) for line in lines if line[0] == "replace" and "=>" in line)
    required = ((line[1], line[2]) for line in lines if line[0] == "require" and len(line) == 3)
    found = (replaced.get(each, replaced.get((each[0], ""), each)) for each in required)
    return tuple(f"{path}@{version}" for path, version in found if version)


def read_go(directory: Path) -> tuple[tuple[str, str], ...]:
    """(verb, version) of the go.mod's `go` and `toolchain` lines."""
    return tuple((line[0], line[1]) for line in _lines(directory) if line[0] in ("toolchain", "go") and len(line) == 2)


def read_sums(directory: Path) -> frozenset[str]:
    """`path@version` of each zip whose h1 the go.sum here has, and `path@version/go.mod` of each go.mod."""
    words = (line.split() for line in _text(directory / "go.sum").splitlines())
    return frozenset(f"{line[0]}@{line[1]}" for line in words if len(line) == 3)


def _replacement(words: list[str]) -> tuple[tuple[str, str], tuple[str, str]]:
    """What is replaced, by what; no version: any one, or a directory."""
    at = words.index("=>")
    old, new = [*words[:at], "", ""], [*words[at + 1 :], "", ""]
    return (old[0], old[1]), (new[0], new[1])


def _lines(directory: Path) -> Iterator[list[str]]:
    """Each directive with its verb, quotes taken off."""
    try:
        lines = list(parse_lines(_text(directory / "go.mod").encode()))
    except RuleBroken:
        return
    for line in lines:
        yield [word.strip('"`') for word in (*line.tokens, *(line.within or ()))]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
