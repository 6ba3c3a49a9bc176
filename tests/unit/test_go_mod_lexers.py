"""go.mod has two lexers, one for ASCII alone: they read the same, and the other's large tables are seldom needed."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import gomod_syntax
from app.domain.gomod_syntax import Line, parse_lines
from app.domain.rules import RuleBroken

# Whatever stands before it, the comment is a line of its own.
BEYOND_ASCII = "\n// é\n".encode()
PIECES = st.sampled_from(
    ["//", "/*", "*/", "/", "(", ")", "[", "]", "{", "}", ",", '"', "`", "\\", "\n", "\r", "\t", " ", "=>"]
)
TEXTS = st.lists(PIECES | st.text(string.printable, max_size=4) | st.characters(max_codepoint=127), max_size=12).map(
    "".join
)


def read(data: bytes) -> list[Line] | tuple[str, str]:
    """The lines, or what stops the reader."""
    try:
        return list(parse_lines(data))
    except RuleBroken as broken:
        return broken.rule, broken.message


@given(TEXTS)
def test_both_read_the_same(text: str) -> None:
    assert read(text.encode() + b"\n//\n") == read(text.encode() + BEYOND_ASCII)


def test_an_ordinary_go_mod_needs_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise AssertionError("700 ranges take a tenth of a second in each job's process")

    for each in (gomod_syntax._lexer, gomod_syntax._word):
        each.cache_clear()
    monkeypatch.setattr(gomod_syntax, "printable_ranges", none)
    assert list(parse_lines(b"module a.b/c // here\ngo 1.24\n")) == [Line(["module", "a.b/c"]), Line(["go", "1.24"])]
    with pytest.raises(AssertionError):
        read(BEYOND_ASCII)
