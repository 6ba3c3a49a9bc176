"""Paths, versions and go.mod against golang.org/x/mod itself: hypothesis asks, a real Go judges."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.domain.gofold import GO_SPACE, fold_key, is_letter, is_print
from app.domain.gomod import go_line, scan_module_path, synthesized_go_mod
from app.domain.modules import (
    ModulePath,
    PseudoVersion,
    RuleBroken,
    Version,
    check_file_path,
    check_path_major,
    parse_go_mod,
    pseudo_version,
    semver_build,
    semver_canonical,
    semver_compare,
    semver_is_valid,
    semver_major,
    semver_prerelease,
)
from tests.integration.go_oracle import GoOracle

EXAMPLES = settings(
    max_examples=int(os.environ.get("MODSYNC_RULE_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoOracle]:
    oracle = GoOracle(tmp_path_factory.mktemp("oracle"))
    yield oracle
    oracle.close()


def refused(parse: Callable[[], object]) -> bool:
    """Whether `parse` raises RuleBroken with a code and a message; any other error fails the test."""
    try:
        parse()
    except RuleBroken as error:
        return bool(error.rule and error.message)
    return False


ODD_CHARS = st.sampled_from(
    [*"abzAZ019.-_~/!+@ vV(),\"'`\\:", "é", "K", "ſ", "İ", "\x00", "\n", "\x7f", "\udc80", "\udcff", "世", "\u0345"]
)
ODD_TEXT = st.text(ODD_CHARS, max_size=12)
ELEMENTS = st.sampled_from(
    [
        "example.com",
        "a.b",
        "github.com",
        "gopkg.in",
        "A-b",
        "x_y",
        "v1",
        "v2",
        "v02",
        "v10",
        "v2.3",
        "v.",
        "con",
        "CON.txt",
        "aux.go",
        "com1",
        "lpt9.x",
        "com0",
        "a~1",
        "a~b1",
        "~1",
        "a~",
        ".",
        "..",
        ".git",
        "x.",
        "yaml.v2",
        "yaml.v0",
        "yaml.v0-unstable",
        "yaml.v1-unstable",
        "check.v1",
        "x.v01",
        "-a",
        "a+b",
        "é",
        "nul",
        "nul.x.y",
        "K~12",
        "v",
        "a..b",
    ]
)
PATHS = st.one_of(ODD_TEXT, st.lists(st.one_of(ELEMENTS, ELEMENTS, ODD_TEXT), min_size=1, max_size=4).map("/".join))
NUMBERS = st.sampled_from(["0", "1", "2", "9", "10", "19", "99", "100", "01", "00", "", "18446744073709551616"])
IDENTIFIERS = st.sampled_from(
    ["0", "1", "01", "10", "rc", "rc1", "alpha", "-", "0-", "", "a.b", "20200101120000-abcdefabcdef", "é"]
)
SUFFIXES = st.one_of(st.just(""), st.lists(IDENTIFIERS, min_size=1, max_size=3).map(".".join))
TIMES = st.sampled_from(
    ["20200229235959", "20210229000000", "00010101000000", "20201301000000", "20200101006000", "2020010112000"]
)


@st.composite
def versions(draw: st.DrawFn) -> str:
    """Mostly well-formed versions, all pseudo forms, and near misses."""
    numbers = ".".join(draw(st.lists(NUMBERS, min_size=1, max_size=4)))
    plain = draw(st.sampled_from(["v", "v", "v", "V", ""])) + numbers
    before = draw(
        st.sampled_from(
            ["", "-" + draw(SUFFIXES), "-0." + draw(TIMES), f"-{draw(SUFFIXES)}.0.{draw(TIMES)}", "-" + draw(TIMES)]
        )
    )
    revision = draw(st.sampled_from(["", "-abcdefabcdef", "-ABC", "-é"]))
    return plain + before + revision + draw(st.sampled_from(["", "", "+incompatible", "+meta.1", "+", "+a..b"]))


@EXAMPLES
@given(PATHS)
@example("gopkg.in/yaml.v0-unstable")
@example("a.b/x\n")
@example("a.b/v2\n")
def test_paths(go: GoOracle, text: str) -> None:
    answer = go.ask("path", text)
    assert refused(lambda: ModulePath.parse(text)) == bool(answer.error), answer.error
    if not answer.error:
        path = ModulePath.parse(text)
        assert [path.prefix, path.major_suffix, path.escaped] == answer.text
        assert ModulePath.unescape(path.escaped) == path


@EXAMPLES
@given(st.one_of(PATHS, PATHS.map(lambda text: "".join(f"!{c.lower()}" if c.isupper() else c for c in text))))
@example("a.b/!")
@example("a.b/!!a")
@example("a.b/!A")
def test_unescape(go: GoOracle, text: str) -> None:
    answer = go.ask("unescape", text)
    assert refused(lambda: ModulePath.unescape(text)) == bool(answer.error), answer.error
    if not answer.error:
        assert [ModulePath.unescape(text).text] == answer.text


@EXAMPLES
@given(st.one_of(PATHS, st.text(max_size=8)))
def test_file_names(go: GoOracle, text: str) -> None:
    encodable = (
        text.encode("utf-8", "replace").decode()
        if any("\ud800" <= c < "\udc80" or "\udcff" < c <= "\udfff" for c in text)
        else text
    )
    answer = go.ask("file", encodable)
    assert refused(lambda: check_file_path(encodable)) == bool(answer.error), answer.error


@EXAMPLES
@given(st.one_of(versions(), ODD_TEXT))
@example("v1.2.3\n")
@example("v1.0.0-٣")
def test_versions(go: GoOracle, text: str) -> None:
    canonical, major, prerelease, build, full, valid, pseudo, escaped = go.ask("version", text).text
    assert [semver_canonical(text), semver_major(text), semver_prerelease(text), semver_build(text)] == [
        canonical,
        major,
        prerelease,
        build,
    ]
    assert str(semver_is_valid(text)).lower() == valid
    assert refused(lambda: Version.parse(text)) == (valid == "false" or full != text)
    if valid == "true" and full == text:
        version = Version.parse(text)
        assert [str(version.is_pseudo).lower(), version.escaped] == [pseudo, escaped]


@EXAMPLES
@given(versions(), versions())
def test_version_order(go: GoOracle, left: str, right: str) -> None:
    assert [str(semver_compare(left, right))] == go.ask("compare", left, right).text


@EXAMPLES
@given(versions())
def test_pseudo_versions(go: GoOracle, text: str) -> None:
    answer = go.ask("pseudo", text)
    assert refused(lambda: PseudoVersion.parse(text)) == bool(answer.error), answer.error
    if not answer.error:
        parsed = PseudoVersion.parse(text)
        # strftime does not pad years below 1000
        assert [parsed.base, parsed.time.isoformat().replace("+00:00", "Z"), parsed.rev] == answer.text


@EXAMPLES
@given(st.sampled_from(["", "v0", "v1", "v2"]), versions(), st.datetimes(timezones=st.timezones()))
def test_building_pseudo_versions(go: GoOracle, major: str, older: str, time: datetime) -> None:
    if not 1 < time.year < 9999:
        return
    whole = time.astimezone(UTC).replace(microsecond=0)
    stamp = whole.isoformat().replace("+00:00", "Z")
    assert [pseudo_version(major, older, whole, "abcdefabcdef")] == go.ask(
        "build-pseudo", major, older, stamp, "abcdefabcdef"
    ).text


@EXAMPLES
@given(versions(), PATHS)
@example("v0.0.0-20200101120000-abcdefabcdef", "gopkg.in/check.v1")
@example("v2.0.0+incompatible", "a.b/c")
@example("v2.0.0+incompatible", "a.b/c/v3")
def test_major_versions(go: GoOracle, version_text: str, path_text: str) -> None:
    if refused(lambda: ModulePath.parse(path_text)) or refused(lambda: Version.parse(version_text)):
        return
    answer = go.ask("path-major", version_text, path_text)
    version, path = Version.parse(version_text), ModulePath.parse(path_text)
    assert refused(lambda: check_path_major(version, path)) == bool(answer.error), answer.error


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
