"""Module paths, versions, tags: what is refused, by which rule, and what the types tell."""

from datetime import UTC, datetime

import pytest

from app.domain.modules import (
    Layout,
    ModulePath,
    PseudoVersion,
    RuleBroken,
    Version,
    check_file_path,
    check_path_major,
    parse_go_mod,
    pseudo_version,
    split_tag,
    subdir_candidates,
    synthesized_go_mod,
    tag_name,
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "path_empty"),
        ("example", "path_no_dot"),
        ("Example.com/x", "path_first_char"),
        ("-a.b/x", "path_leading_dash"),
        ("a.b//x", "path_double_slash"),
        ("a.b/", "path_trailing_slash"),
        ("/a.b", "path_element"),
        ("a.b/..", "path_element"),
        ("a.b/.x", "path_leading_dot"),
        ("a.b/x.", "path_trailing_dot"),
        ("a.b:80/x", "path_char"),
        ("a.b/é", "path_char"),
        ("a.b/con", "path_windows_name"),
        ("a.b/Aux.x", "path_windows_name"),
        ("a.b/x~1", "path_short_name"),
        ("a.b/v1", "path_major_suffix"),
        ("a.b/v02", "path_major_suffix"),
        ("a.b/v2.1", "path_major_suffix"),
        ("gopkg.in/yaml", "path_major_suffix"),
        ("a.b/\udcff", "path_utf8"),
        ("gopkg.in/yaml.v0-unstable", "path_major_suffix"),
        ("a.b/x\n", "path_char"),
    ],
)
def test_illegal_paths(text: str, rule: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        ModulePath.parse(text)
    assert caught.value.rule == rule
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("text", "prefix", "suffix", "escaped"),
    [
        ("example.com/x", "example.com/x", "", "example.com/x"),
        ("github.com/Azure/SDK/v12", "github.com/Azure/SDK", "/v12", "github.com/!azure/!s!d!k/v12"),
        ("gopkg.in/yaml.v2", "gopkg.in/yaml", ".v2", "gopkg.in/yaml.v2"),
        ("gopkg.in/x/y.v3-unstable", "gopkg.in/x/y", ".v3-unstable", "gopkg.in/x/y.v3-unstable"),
        ("a.b", "a.b", "", "a.b"),
    ],
)
def test_legal_paths(text: str, prefix: str, suffix: str, escaped: str) -> None:
    path = ModulePath.parse(text)
    assert (path.prefix, path.major_suffix, path.escaped, str(path)) == (prefix, suffix, escaped, text)
    assert ModulePath.unescape(escaped) == path


@pytest.mark.parametrize("escaped", ["a.b/!", "a.b/!!a", "a.b/!A", "a.b/A", "a.b/!1", "a.b/é"])
def test_broken_escapes(escaped: str) -> None:
    with pytest.raises(RuleBroken, match="escaped") as caught:
        ModulePath.unescape(escaped)
    assert caught.value.rule == "path_escape"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("1.2.3", "version_not_semver"),
        ("v1.2.3.4", "version_not_semver"),
        ("v01.2.3", "version_not_semver"),
        ("v1.2.3-01", "version_not_semver"),
        ("main", "version_not_semver"),
        ("v1.2.3\n", "version_not_semver"),
        ("v1", "version_not_canonical"),
        ("v1.2", "version_not_canonical"),
        ("v1.1.0+meta", "version_build_metadata"),
        ("", "version_not_semver"),
        ("v1-rc", "version_not_semver"),
        ("v٣.0.0", "version_not_semver"),
    ],
)
def test_illegal_versions(text: str, rule: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        Version.parse(text)
    assert (caught.value.rule, repr(text) in str(caught.value)) == (rule, True)


def test_what_a_version_tells() -> None:
    version = Version.parse("v2.1.0-Rc.1+incompatible")
    assert (version.major, version.prerelease, version.tag_part) == ("v2", "-Rc.1", "v2.1.0-Rc.1")
    assert (version.escaped, version.is_incompatible, version.is_pseudo) == ("v2.1.0-!rc.1+incompatible", True, False)
    assert Version.unescape(version.escaped) == version
    assert Version.parse("v2.1.0").with_incompatible().text == "v2.1.0+incompatible"


def test_order_is_total() -> None:
    texts = [
        "v0.0.0-20200101000000-abcdefabcdef",
        "v1.0.0-9",
        "v1.0.0-10",
        "v1.0.0-a",
        "v1.0.0-a.b",
        "v1.0.0",
        "v1.9.0",
        "v1.10.0",
        "v2.0.0",
        "v2.0.0+incompatible",
    ]
    assert [version.text for version in sorted(map(Version.parse, reversed(texts)))] == texts
    assert Version.parse("v1.0.0") >= Version.parse("v1.0.0")


@pytest.mark.parametrize(
    ("older", "text"),
    [
        ("", "v2.0.0-20200102030405-abcdefabcdef"),
        ("v2.1.9", "v2.1.10-0.20200102030405-abcdefabcdef"),
        ("v2.1.99+incompatible", "v2.1.100-0.20200102030405-abcdefabcdef+incompatible"),
        ("v2.1.0-pre", "v2.1.0-pre.0.20200102030405-abcdefabcdef"),
        ("v2.1.0-pre+incompatible", "v2.1.0-pre.0.20200102030405-abcdefabcdef+incompatible"),
    ],
)
def test_pseudo_versions_there_and_back(older: str, text: str) -> None:
    time = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert pseudo_version("v2", older, time, "abcdefabcdef") == text
    assert PseudoVersion.parse(text) == PseudoVersion(older, time, "abcdefabcdef")
    assert Version.parse(text).is_pseudo


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("v1.2.3", "pseudo_syntax"),
        ("v0.0.0-20200230000000-abcdefabcdef", "pseudo_time"),
        ("v0.0.0-20200101006060-abcdefabcdef", "pseudo_time"),
        ("v1.0.0-0.20200101000000-abcdefabcdef", "pseudo_base"),
        ("v2.0.0-20200101000000-abcdefabcdef+incompatible", "pseudo_base"),
    ],
)
def test_illegal_pseudo_versions(text: str, rule: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        PseudoVersion.parse(text)
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("v1.0.0", "a.b/c"),
        ("v0.1.0", "a.b/c"),
        ("v2.0.0+incompatible", "a.b/c"),
        ("v2.0.0", "a.b/c/v2"),
        ("v2.0.0", "gopkg.in/c.v2-unstable"),
        ("v0.0.0-20200101000000-abcdefabcdef", "gopkg.in/c.v1"),
        ("v0.1.0", "gopkg.in/c.v0"),
    ],
)
def test_suitable_majors(version: str, path: str) -> None:
    check_path_major(Version.parse(version), ModulePath.parse(path))


@pytest.mark.parametrize(
    ("version", "path", "wanted"),
    [
        ("v2.0.0", "a.b/c", "v0 or v1"),
        ("v1.0.0", "a.b/c/v2", "v2"),
        ("v3.0.0", "gopkg.in/c.v2-unstable", "v2"),
        ("v0.0.0-20200101000000-abcdefabcdef", "gopkg.in/c.v2", "v2"),
    ],
)
def test_unsuitable_majors(version: str, path: str, wanted: str) -> None:
    with pytest.raises(RuleBroken, match=f"should be {wanted}, not") as caught:
        check_path_major(Version.parse(version), ModulePath.parse(path))
    assert caught.value.rule == "version_major"


@pytest.mark.parametrize(
    ("tag", "subdir", "version"),
    [("v1.2.3", "", "v1.2.3"), ("sdk/metric/v1.2.3-rc.1", "sdk/metric", "v1.2.3-rc.1"), ("v2/v2.0.0", "v2", "v2.0.0")],
)
def test_tags_there_and_back(tag: str, subdir: str, version: str) -> None:
    assert split_tag(tag) == (subdir, Version.parse(version))
    assert tag_name(subdir, Version.parse(version)) == tag


@pytest.mark.parametrize(
    ("tag", "rule"),
    [
        ("release-1", "version_not_semver"),
        ("v1.1.0+meta", "version_build_metadata"),
        ("v2.0.0+incompatible", "version_build_metadata"),
        ("sub/v1", "version_not_canonical"),
        ("v0.0.0-20200101000000-abcdefabcdef", "tag_pseudo"),
        ("a b/v1.0.0", "path_char"),
        ("/v1.0.0", "path_element"),
        (".x/v1.0.0", "path_leading_dot"),
    ],
)
def test_tags_of_no_module(tag: str, rule: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        split_tag(tag)
    assert caught.value.rule == rule


def test_incompatible_is_not_part_of_the_tag() -> None:
    assert tag_name("", Version.parse("v2.0.0+incompatible")) == "v2.0.0"


@pytest.mark.parametrize(
    ("path", "root", "layouts"),
    [
        ("a.b/r", "a.b/r", [Layout("", "")]),
        ("a.b/r/v2", "a.b/r", [Layout("", ""), Layout("v2", "")]),
        ("a.b/r/v2", "a.b/r/v2", [Layout("", "")]),
        ("a.b/r/s/v2", "a.b/r", [Layout("s", "s"), Layout("s/v2", "s")]),
        ("a.b/r/s/t", "a.b/r", [Layout("s/t", "s/t")]),
        ("gopkg.in/yaml.v2", "gopkg.in/yaml.v2", [Layout("", "")]),
    ],
)
def test_layouts(path: str, root: str, layouts: list[Layout]) -> None:
    assert subdir_candidates(ModulePath.parse(path), root) == layouts


@pytest.mark.parametrize("root", ["a.b/other", "a.b/r/s", "a.b/rr", ""])
def test_path_outside_the_repository(root: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        subdir_candidates(ModulePath.parse("a.b/r"), root)
    assert caught.value.rule == "path_not_in_repo"


@pytest.mark.parametrize(
    ("data", "module", "go_version"),
    [
        (b"module a.b/c\n\ngo 1.24\n", "a.b/c", "1.24"),
        (b'// Deprecated: x\nmodule "a.b/c" // x\r\ngo 1.23.4\r\n', "a.b/c", "1.23.4"),
        (b"module `a.b/c`", "a.b/c", ""),
        (b"module (\n\ta.b/c\n)\ngo 1.24\n", "a.b/c", "1.24"),
        (b"module a.b/c\ngo 1.24\nretract [v1.0.0, v1.2.0] // bad\nretract v1.3.0\n", "a.b/c", "1.24"),
        (b"module a.b/c\ngo 1.24\nrequire x\n", "a.b/c", ""),
        (b"module a.b/c // \xff\ngo 1.24\n", "a.b/c", "1.24"),
    ],
)
def test_go_mod(data: bytes, module: str, go_version: str) -> None:
    parsed = parse_go_mod(data)
    # Go's parser refuses backquotes; its scan for the path takes them
    assert (parsed.module, parsed.go_version) == (module, go_version)


@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbfmodule a.b/c\n", b"go 1.24\n", b"module\n", b'module "a.b\n', b"modulea.b/c\n"]
)
def test_go_mod_without_module_line(data: bytes) -> None:
    with pytest.raises(RuleBroken) as caught:
        parse_go_mod(data)
    assert caught.value.rule == "go_mod_no_module"


def test_synthesised_go_mod() -> None:
    assert synthesized_go_mod("a.b/c") == b"module a.b/c\n"
    assert synthesized_go_mod("a b\x01") == b'module "a b\\x01"\n'


@pytest.mark.parametrize("name", ["a.go", "日本/語.go", "a b!#$%&()+,-.=@[]^_{}~", "-x", "x~1", ".git"])
def test_legal_file_names(name: str) -> None:
    check_file_path(name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a:b", "file_char"),
        ("a\nb", "file_char"),
        ("x/con.txt", "file_windows_name"),
        ("..", "file_element"),
        ("\udcff", "file_utf8"),
    ],
)
def test_illegal_file_names(name: str, rule: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        check_file_path(name)
    assert caught.value.rule == rule
