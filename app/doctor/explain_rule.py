"""A rule over one line of go's output."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.doctor.findings import Finding, found
from app.doctor.settings import shown

Fix = Callable[[re.Match[str]], tuple[str, ...]]
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Rule:
    """When the expression is found in a line, `code` is the cause; `fix` gets the match."""

    code: str
    expression: re.Pattern[str]
    fix: Fix

    def apply(self, line: str) -> Finding | None:
        """The finding, or None when the line says something else."""
        match = self.expression.search(line)
        return found(self.code, shown(line.strip()[:_LONGEST]), *self.fix(match)) if match else None


def rule(code: str, expression: str, fix: Fix | str) -> Rule:
    """A rule; a fix that is text has `{name}` for the expression's named groups."""
    return Rule(code, re.compile(expression), fix if callable(fix) else _text(fix))


def lines_of(output: str) -> Iterator[str]:
    """The lines, with the continued ones (indented by a tab after a colon, or checksum blocks) joined to their first."""
    held = ""
    for line in output.splitlines():
        if held and line.startswith(("\t", "        ", "SECURITY ERROR")):
            held += " " + line.strip()
            continue
        yield from _held(held)
        held = line
    yield from _held(held)


def _held(line: str) -> Iterator[str]:
    if line.strip():
        yield line


def _text(template: str) -> Fix:
    return lambda match: (template.format(**{name: value or "" for name, value in match.groupdict().items()}),)
