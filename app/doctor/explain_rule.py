"""A rule over one line of go's output."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.doctor.findings import Finding, found
from app.doctor.settings import shown

Fix = Callable[[re.Match[str]], tuple[str, ...]]
_LONGEST = 500
_LONGEST_LINE = 4000  # characters; some rules take the square of a line's length
_SERVER_SAID = " server response:"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of go's: `text` is all of it, `said` without what a server said of its own troubles, `answer` that of a proxy."""

    text: str
    said: str
    answer: str


@dataclass(frozen=True, slots=True)
class Rule:
    """When the expression is found in what go and git themselves said, `code` is the cause; `fix` gets the match.

    `answered`: and this in the proxy's answer. `whole`: what the server said counts, too.
    """

    code: str
    expression: re.Pattern[str]
    fix: Fix
    answered: str = ""
    whole: bool = False

    def apply(self, line: Line) -> Finding | None:
        """The finding, or None when the line says something else."""
        match = self.expression.search(line.text if self.whole else line.said)
        if not match or self.answered not in line.answer:
            return None
        return found(self.code, shown(line.text.strip())[:_LONGEST], *self.fix(match))


def rule(code: str, expression: str, fix: Fix | str, *, answered: str = "", whole: bool = False) -> Rule:
    """A rule; a fix that is text has `{name}` for the expression's named groups."""
    return Rule(code, re.compile(expression), fix if callable(fix) else _text(fix), answered, whole)


def lines_of(output: str) -> Iterator[Line]:
    """The lines, with the continued ones (indented by a tab after a colon, or checksum blocks) joined to their first.

    None is longer than some thousand characters: what is continued further begins a line anew.
    """
    held: list[str] = []
    size = 0
    for line in map(_cut, output.splitlines()):
        size += len(line) + 1
        if size > _LONGEST_LINE or not line.startswith(("\t", "        ", "SECURITY ERROR")):
            yield from _line(held)
            held, size = [], len(line) + 1
        if held or line.strip():
            held.append(line.strip() if held else line)
    yield from _line(held)


def _cut(line: str) -> str:
    """Passwords first: of half an address nobody could tell that one is in it."""
    return line if len(line) <= _LONGEST_LINE else shown(line)[:_LONGEST_LINE]


def _line(parts: list[str]) -> Iterator[Line]:
    """`remote:` is what git was told by the server."""
    if parts:
        own = " ".join(part for part in parts if not part.lstrip().startswith("remote: "))
        said, there, answer = own.partition(_SERVER_SAID)
        yield Line(" ".join(parts), said + there, answer)


def _text(template: str) -> Fix:
    return lambda match: (template.format(**{name: value or "" for name, value in match.groupdict().items()}),)
