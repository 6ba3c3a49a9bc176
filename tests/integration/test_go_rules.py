"""Paths, versions and go.mod against golang.org/x/mod itself: hypothesis asks, a real Go judges."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.modules import (
    ModulePath,
    PseudoVersion,
    Version,
    check_file_path,
    check_path_major,
    pseudo_version,
    semver_build,
    semver_canonical,
    semver_compare,
    semver_is_valid,
    semver_major,
    semver_prerelease,
)
from tests.integration.go_oracle import GoOracle
from tests.integration.go_rules import EXAMPLES, ODD_TEXT, refused


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoOracle]:
    oracle = GoOracle(tmp_path_factory.mktemp("oracle"))
    yield oracle
    oracle.close()


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
