"""go.mod files, quoting, and every Unicode rune: modsync's rules and golang.org/x/mod's, asked side by side."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.gofold import GO_SPACE, fold_key, is_letter, is_print
from app.domain.gomod import go_line, scan_module_path, synthesized_go_mod
from app.domain.modules import (
    parse_go_mod,
)
from tests.integration.go_oracle import GoOracle
from tests.integration.go_rules import EXAMPLES, ODD_TEXT, refused


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoOracle]:
    oracle = GoOracle(tmp_path_factory.mktemp("oracle"))
    yield oracle
    oracle.close()


WORDS = st.sampled_from(
    [
        "module",
        "go",
        "require",
        "retract",
        "ignore",
        "replace",
        "exclude",
        "toolchain",
        "tool",
        "example.com/x",
        '"example.com/x"',
        "`example.com/x`",
        '"a\\x41\\u00e9\\101"',
        '"a\\q"',
        "'x'",
        'a"b',
        "v1.0.0",
        "v1",
        "v2.0.0",
        "v2.0.0+incompatible",
        "v1.2.3-0",
        "1.24",
        "1.24rc1",
        "1.9",
        "v1.20.x",
        "1",
        '"1.20"',
        "(",
        ")",
        "[",
        "]",
        ",",
        "{",
        "}",
        "=>",
        "//",
        "/*",
        "x//y",
        "\ufeff",
        "\x00",
        "\xa0",
        "�",
        "a/*b",
        "example.com/x/v2",
        "gopkg.in/x.v1",
        "\\",
        '"\\\n"',
        '"\\400"',
        '"\\ud800"',
        '"é"',
        "\u200b",
    ]
)
GLUE = st.sampled_from([" ", " ", " ", "\n", "\n", "\t", "\r\n", "", "\v", " // c\n", "\n// c\n", "\u2003"])
GO_MODS = st.lists(st.tuples(WORDS, GLUE), max_size=14).map(lambda pairs: "".join(word + glue for word, glue in pairs))
LINES = st.sampled_from(
    [
        "module example.com/x",
        "module example.com/x // deprecated",
        'module "example.com/x"',
        "module `example.com/x`",
        "module (",
        ")",
        "go 1.24",
        "go 1.23.4",
        "go 1.24rc1",
        "go v1.9x",
        "require (",
        "example.com/y v1.0.0 // indirect",
        "require example.com/y v2.0.0",
        "retract v1.0.0",
        "retract [v1.0.0, v1.1.0] // bad",
        "retract (",
        "exclude example.com/y v9",
        "replace example.com/y => ../y",
        "tool example.com/y/cmd",
        "ignore ./x",
        "ignore (",
        "toolchain go1.99",
        "unknown stuff",
        "// Deprecated: no",
        "godebug x=y",
        "",
        "require example.com/y",
        "(",
        "x (",
        "module x y",
        "retract (bad",
        "module ( )",
        "x ( ) y",
        "example.com/x",
    ]
)
GO_MOD_LINES = st.tuples(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n", "\n\n"])).map(
    lambda pair: pair[1].join(pair[0])
)


@EXAMPLES
@given(st.one_of(GO_MODS, GO_MOD_LINES, GO_MOD_LINES.map(lambda text: text + "\n")))
@example("\ufeffmodule example.com/x\ngo 1.24\n")
@example("module (\n\texample.com/x\n)\ngo 1.24\n")
def test_go_mod(go: GoOracle, text: str) -> None:
    data = text.encode(errors="surrogateescape")
    answer = go.ask("go-mod", data)
    scanned, declared, go_version = answer.text
    assert [scan_module_path(data), go_line(data)] == [scanned, go_version], answer.error
    if not (scanned or declared):
        assert refused(lambda: parse_go_mod(data))
        return
    parsed = parse_go_mod(data)
    assert bool(parsed.problem) == bool(answer.error), (parsed.problem, answer.error)
    assert parsed.module == (declared or scanned)


@EXAMPLES
@given(st.one_of(ODD_TEXT, st.text(st.characters(exclude_categories=["Cs"]), max_size=8)))
def test_quoting(go: GoOracle, text: str) -> None:
    encodable = text.encode(errors="surrogateescape")
    assert synthesized_go_mod(text) == b"module " + go.ask("auto-quote", encodable).values[0] + b"\n"


def test_every_rune(go: GoOracle) -> None:
    rows = go.ask("runes").text[0].splitlines()
    assert len(rows) == 0x110000
    for rune, row in enumerate(rows):
        char = chr(rune)
        if not 0xD800 <= rune <= 0xDFFF:
            ours = f"{is_letter(char):d} {is_print(char):d} {char in GO_SPACE:d} {ord(fold_key(char))}"
            assert ours == row, hex(rune)


@EXAMPLES
@given(
    st.text(max_size=5), st.text(max_size=5), st.sampled_from([str.lower, str.upper, str.swapcase, str.casefold, str])
)
def test_folding(go: GoOracle, left: str, right: str, change: Callable[[str], str]) -> None:
    for other in (right, change(left)):
        pair = [text.encode(errors="replace").decode() for text in (left, other)]
        assert [str(fold_key(pair[0]) == fold_key(pair[1])).lower()] == go.ask("equal-fold", *pair).text
