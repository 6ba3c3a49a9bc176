"""What differs between a release and what is served, and what that means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.gomod import string_of
from app.domain.gomod_syntax import parse_lines
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import FileHash
from app.domain.purge import purge_steps
from app.domain.retractions import retracted, retracts
from app.domain.semver import semver_compare, semver_is_valid
from app.domain.served import difference, follows_other_rules, latest_fault, latest_note, listed_fault, newest

V = Version.parse("v1.2.0")
MOD = b"module example.com/x\n"


def _files(**named: str) -> list[FileHash]:
    return [FileHash(name, digest) for name, digest in named.items()]


def test_a_difference_names_each_file_once_and_by_its_kind() -> None:
    found = difference(_files(same="1", other="1", gone="1"), _files(same="1", other="2", new="1"))
    assert (found.changed, found.extra, found.missing) == (("other",), ("new",), ("gone",))
    assert str(found) == "changed: other; only in the proxy's: new; only in the release: gone"
    assert not difference(_files(a="1"), _files(a="1"))


def test_many_differing_files_are_counted() -> None:
    found = difference([], [FileHash(f"f{number:02}", "1") for number in range(12)])
    assert str(found).endswith("f09 and 2 more")


def test_a_name_from_outside_cannot_break_the_message() -> None:
    assert "\n" not in str(difference([], [FileHash("a\nb\udcff", "1")]))


@pytest.mark.parametrize(
    ("released", "served", "blobs", "expected"),
    [
        ({"a": "1"}, {"a": "1", "vendor/x/x.go": "2"}, {"vendor/x/x.go": "blob-v"}, True),  # vendored packages
        ({"a": "1"}, {"a": "2"}, {"a": "blob-a"}, True),  # a raw blob, without attributes
        ({"a": "1", "LICENSE": "3"}, {"a": "1"}, {}, True),  # the inherited LICENSE
        ({"a": "1"}, {"a": "2"}, {"a": "blob-other"}, False),
        ({"a": "1"}, {"a": "1", "b": "2"}, {"b": "blob-b"}, False),  # not of this commit
        ({"a": "1", "b": "1"}, {"a": "1"}, {}, False),  # a file is missing
        ({"a": "1"}, {"a": "1"}, {}, False),  # nothing differs
    ],
)
def test_other_rules_are_told_from_other_content(
    released: dict[str, str], served: dict[str, str], blobs: dict[str, str], expected: bool
) -> None:
    tree = {"a": "blob-a", "vendor/x/x.go": "blob-v"}
    assert follows_other_rules(difference(_files(**released), _files(**served)), tree, blobs) is expected


@pytest.mark.parametrize(
    ("line", "version", "expected"),
    [
        ("retract v1.2.0", "v1.2.0", True),
        ("retract v1.2.0 // wrong", "v1.2.1", False),
        ('retract "v1.2.0"', "v1.2.0", True),
        ('retract ["v1.0.0", v1.2.0]', "v1.1.5", True),
        ("retract [v1.0.0, v1.2.0]", "v1.1.5", True),
        ("retract [v1.0.0, v1.2.0]", "v1.2.1", False),
        ("retract (\n\tv1.0.0\n\t[v1.1.0, v1.2.0] // both\n)", "v1.2.0", True),
        ("retract (\n\tv1.0.0\n)", "v1.2.0", False),
        ("require example.com/y v1.2.0", "v1.2.0", False),
        ("retract (", "v1.2.0", False),
        ("retract", "v1.2.0", False),
    ],
)
def test_retractions(line: str, version: str, expected: bool) -> None:
    assert retracts(MOD + line.encode() + b"\n", Version.parse(version)) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [  # what golang.org/x/mod says, read by ParseLax as go reads other modules' files
        ("retract v1.0.0 v1.1.0", {"v1.0.0"}),
        ("retract v1.0.0 v1.1.0 v1.2.0", {"v1.0.0"}),
        ("retract v1.0.0, v1.1.0", {"v1.0.0"}),
        ("retract v1.0.0 junk", {"v1.0.0"}),
        ("retract junk v1.0.0", set()),
        ("retract [v1.0.0, v1.1.0] v1.2.0", {"v1.0.0", "v1.0.1", "v1.1.0"}),
        ("retract [v1.0.0, v1.1.0", set()),
        ("retract [v1.0.0 v1.1.0]", set()),
        ("retract [v1.0.0, v1.0.1, v1.1.0]", set()),
        ("retract [v1.0.0]", set()),
        ("retract [v1.0.0,]", set()),
        ("retract [,v1.0.0]", set()),
        ("retract [v1.1.0, v1.0.0]", set()),
        ("retract [v1.0.1, junk]", set()),
        ("retract [junk, v1.0.0]", {"v0.9.0", "v1.0.0"}),
        ("retract (v1.0.0)", set()),
        ("retract (\n\tv1.0.0 v1.1.0\n\t[v1.1.0, v1.2.0] junk\n)", {"v1.0.0", "v1.1.0", "v1.2.0"}),
        ("retract x (\n\tv1.0.0\n)", set()),
        ("x retract (\n\tv1.0.0\n)", set()),
    ],
)
def test_odd_retractions_are_read_as_go_reads_them(line: str, expected: set[str]) -> None:
    versions = map(Version.parse, ("v0.9.0", "v1.0.0", "v1.0.1", "v1.1.0", "v1.2.0"))
    assert {version.text for version in retracted(MOD + line.encode() + b"\n", versions)} == expected


def _retracts_as_read_for_each(go_mod: bytes, version: Version) -> bool:
    """The plain way: the whole file for one version."""
    found = False
    try:
        for line in parse_lines(go_mod):
            if line.tokens[0] == "retract" and (line.within is None or len(line.tokens) == 1):
                tokens = line.tokens[1:] if line.within is None else line.within
                marks = tokens[0:1], tokens[2:3], tokens[4:5]
                ends = [tokens[1], tokens[3]] if marks == (["["], [","], ["]"]) else [*tokens[:1], *tokens[:1]]
                low, high = (string_of(ends[0]), string_of(ends[1])) if ends and ends[0] != "[" else (None, None)
                known = low is not None and high is not None and semver_is_valid(high)
                found |= known and semver_compare(low or "", version.text) <= 0 <= semver_compare(
                    high or "", version.text
                )
    except RuleBroken:
        return False
    return found


_NUMBERS = st.integers(0, 3)
_TEXTS = st.builds(
    "v{}.{}.{}{}".format, _NUMBERS, _NUMBERS, _NUMBERS, st.sampled_from(["", "-rc.1", "-rc.2", "+incompatible"])
)
_SPOILT = st.sampled_from(
    ["v1", "v1.2", "x", "", '"v1.0.0"', '"v1.0.0', "`v1.0.0`", "v01.0.0", "[", "]", "v1.0.0, v1.2.0"]
)
_ENDS = st.integers(0, 9).flatmap(lambda dice: _TEXTS if dice else _SPOILT)  # most files are no nonsense
_TAKEN = _ENDS | st.builds("[{}, {}]".format, _ENDS, _ENDS) | st.builds("[{}, {}, {}]".format, _ENDS, _ENDS, _ENDS)
_LINES = (
    st.builds("retract {}".format, _TAKEN)
    | st.lists(_TAKEN, max_size=4).map(lambda taken: "\n\t".join(["retract (", *taken]) + "\n)")
    | st.sampled_from(["// v1.0.0", "require a.b/c v1.0.0", "exclude (\n\ta.b/c v1.0.0\n)", "retract"])
)


_LAST = st.sampled_from(["", "", "", "retract (", "/* */"])


@given(st.lists(_LINES, max_size=6), _LAST, st.lists(_TEXTS.map(Version), max_size=12))
def test_one_reading_says_of_many_versions_what_one_of_each_would(
    lines: list[str], last: str, versions: list[Version]
) -> None:
    go_mod = MOD + "\n".join([*lines, last]).encode() + b"\n"
    expected = {version for version in versions if _retracts_as_read_for_each(go_mod, version)}
    assert retracted(go_mod, versions) == expected
    assert {version for version in versions if retracts(go_mod, version)} == expected


@pytest.mark.parametrize(
    ("version", "go_mod", "listed", "newest", "fine"),
    [
        ("v1.2.0", MOD, ["v1.1.0", "v1.2.0"], None, True),
        ("v1.2.0", MOD, ["v1.1.0"], None, False),
        ("v1.2.0", MOD, [], None, False),
        ("v1.2.0", MOD + b"retract v1.2.0\n", [], None, True),
        ("v1.2.0", MOD, ["v1.3.0"], MOD + b"retract [v1.0.0, v1.2.9]\n", True),
        ("v1.2.0", MOD, ["v1.3.0"], MOD + b"retract v1.1.0\n", False),
        ("v0.0.0-20260301120000-0123456789ab", MOD, [], None, True),
        ("v2.0.0+incompatible", MOD, [], None, True),
        (
            "v2.0.0+incompatible",
            MOD,
            ["v1.2.0", "v3.0.0+incompatible"],
            None,
            True,
        ),  # of that major go lists all or none
        ("v2.0.0+incompatible", MOD, ["v2.1.0+incompatible"], None, False),
        ("v2.0.0+incompatible", MOD, ["v2.0.0+incompatible"], None, True),
    ],
)
def test_what_list_has_to_name(
    version: str, go_mod: bytes, listed: list[str], newest: bytes | None, fine: bool
) -> None:
    assert (listed_fault(Version.parse(version), go_mod, listed, newest) is None) is fine


@pytest.mark.parametrize(
    ("latest", "go_mod", "listed", "fine"),
    [
        (None, MOD, ["v1.2.0"], True),
        ("v1.2.0", MOD, ["v1.2.0"], True),
        ("v1.3.0", MOD, ["v1.2.0"], True),
        ("v1.1.0", MOD, ["v1.1.0", "v1.2.0"], False),
        ("v1.1.0", MOD, ["v1.1.0", "v1.2.0", "v1.3.0"], True),  # not ours to judge: a newer one decides
        ("v1.1.0", MOD, ["v1.2.0", "v1.3.0-rc.1"], False),
        ("v1.1.0", MOD, ["v1.2.0", "v2.0.0+incompatible"], False),
        ("v1.1.0", MOD + b"retract v1.2.0\n", ["v1.2.0"], True),
        ("main", MOD, ["v1.2.0"], False),
        ("", MOD, [], False),
    ],
)
def test_what_latest_may_name(latest: str | None, go_mod: bytes, listed: list[str], fine: bool) -> None:
    assert (latest_fault(V, go_mod, listed, latest) is None) is fine


@pytest.mark.parametrize(
    ("latest", "listed", "note"),
    [
        ("v1.5.0", ["v1.2.0", "v1.5.0"], None),
        ("v1.6.0", ["v1.2.0", "v1.5.0"], None),
        ("v0.1.0", ["v1.2.0", "v1.5.0"], "@latest names v0.1.0, list has v1.5.0"),
        ("v1.5.0", ["v1.5.0", "v1.6.0-rc.1", "v2.0.0+incompatible"], None),
        ("v1.0.0-rc.1", ["v1.0.0-rc.1", "v1.0.0-rc.2"], "@latest names v1.0.0-rc.1, list has v1.0.0-rc.2"),
        ("v1.0.0", [], None),
    ],
)
def test_what_is_odd_about_latest_and_no_fault(latest: str, listed: list[str], note: str | None) -> None:
    assert latest_note(listed, latest) == note


@pytest.mark.parametrize("kind", ["athens", "artifactory", "goproxy", "gitlab", "static", "any", "new-kind"])
def test_purge_steps_name_the_place_and_what_comes_after(kind: str) -> None:
    steps = purge_steps(kind, ModulePath.parse("example.com/Big/x"), Version.parse("v1.0.0-RC1"))
    assert "{" not in steps.replace("{info,mod,zip}", "")
    assert "stage verify" in steps or kind == "static"
    if kind == "athens":  # it stores a path without its `!`
        assert "example.com/Big/x/v1.0.0-RC1/; " in steps
        assert "example.com/Big/x/@v/v1.0.0-RC1.{info,mod,zip}" in steps
    if kind in ("artifactory", "goproxy", "any", "new-kind"):
        assert "example.com/!big/x/@v/v1.0.0-!r!c1.{info,mod,zip}" in steps


def test_an_incompatible_version_is_not_the_latest_where_another_has_a_go_mod() -> None:
    """What `go list -m` says, and Athens with it, though both are in its list."""
    version, listed = Version.parse("v2.0.0+incompatible"), ["v1.9.1", "v2.0.0+incompatible"]
    assert latest_fault(version, b"module x\n", listed, "v1.9.1") is None
    assert latest_fault(version, b"module x\n", ["v1.9.1+incompatible", "v2.0.0+incompatible"], "v1.9.1+incompatible")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (["v1.4.1", "v1.5.0", "v1.6.0-rc.1"], "v1.5.0"), (["v1.5.0", "v2.0.0+incompatible"], "v1.5.0"),
        (["v2.0.0+incompatible", "v1.0.0-rc.1"], "v2.0.0+incompatible"), (["v1.0.0-a", "v1.0.0-b", "x"], "v1.0.0-b"), ([], None),
    ],
)  # fmt: skip
def test_whose_retractions_count(listed: list[str], expected: str | None) -> None:
    found = newest(listed)
    assert (found.text if found else None) == expected
