"""The article's form: what is read out of a good body, and which field a bad one is refused for."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.errors import SyncError
from app.domain.events import Ignored, Policy, ReleaseEvent, parse
from app.domain.modules import ModulePath, RuleBroken, Version, split_tag

SHA = "0123456789abcdef0123456789abcdef01234567"
SHA256 = SHA + "0123456789abcdef01234567"
MODULE = "go.corp.example/billing/ledger"
BODY = {"ref": "refs/tags/v1.2.3", "commit_id": SHA, "module_path": MODULE}
H1 = "h1:" + "A" * 43 + "="


def one(policy: Policy | None = None, /, **fields: Any) -> ReleaseEvent:
    parsed = parse("article", {}, BODY | fields, policy or Policy())
    assert isinstance(parsed, tuple)
    (event,) = parsed
    return event


def test_the_three_fields_of_the_article_are_enough() -> None:
    assert one() == ReleaseEvent(ModulePath.parse(MODULE), "v1.2.3", True, SHA, Version.parse("v1.2.3"), subdir="")


def test_every_field() -> None:
    event = one(
        ref="sdk/v1.2.3",
        module_path=MODULE + "/sdk",
        version="v1.2.3",
        repo_url="https://git.corp.example/billing/ledger.git",
        subdir="sdk",
        delivery_id="d-1",
        h1=H1,
        extra={"left": "alone"},
    )
    url = "https://git.corp.example/billing/ledger.git"
    path, version = ModulePath.parse(MODULE + "/sdk"), Version.parse("v1.2.3")
    assert event == ReleaseEvent(path, "sdk/v1.2.3", True, SHA, version, url, "sdk", "d-1", H1)


@pytest.mark.parametrize(
    ("ref", "module", "name", "is_tag", "version", "subdir"),
    [
        ("refs/tags/v1.2.3", MODULE, "v1.2.3", True, "v1.2.3", ""),
        ("v1.2.3", MODULE, "v1.2.3", True, "v1.2.3", ""),
        ("v1.2.3-rc.1", MODULE, "v1.2.3-rc.1", True, "v1.2.3-rc.1", ""),
        ("sdk/v1.2.3", MODULE + "/sdk", "sdk/v1.2.3", True, "v1.2.3", "sdk"),
        ("refs/tags/sdk/metric/v0.1.0", MODULE + "/sdk/metric", "sdk/metric/v0.1.0", True, "v0.1.0", "sdk/metric"),
        ("v2.0.0", MODULE + "/v2", "v2.0.0", True, "v2.0.0", ""),
        ("sdk/v2.0.0", MODULE + "/sdk/v2", "sdk/v2.0.0", True, "v2.0.0", "sdk"),
        ("v2.1.0", "gopkg.in/yaml.v2", "v2.1.0", True, "v2.1.0", ""),
        # without go.mod Go knows the tag by this name, with one the worker refuses it
        ("v2.0.0", MODULE, "v2.0.0", True, "v2.0.0+incompatible", ""),
        ("main", MODULE, "main", None, None, None),
        ("refs/heads/main", MODULE, "main", False, None, None),
        ("refs/heads/v1.2.3", MODULE, "v1.2.3", False, None, None),
        ("refs/tags/nightly", MODULE, "nightly", True, None, None),
        ("refs/tags/v1", MODULE, "v1", True, None, None),
        ("release/2026.10", MODULE, "release/2026.10", None, None, None),
        ("v1.2.3.4", MODULE, "v1.2.3.4", None, None, None),
    ],
)
def test_refs(ref: str, module: str, name: str, is_tag: bool | None, version: str | None, subdir: str | None) -> None:
    event = one(ref=ref, module_path=module)
    assert (event.ref, event.is_tag, event.subdir) == (name, is_tag, subdir)
    assert event.version == (Version.parse(version) if version else None)


@pytest.mark.parametrize("ref", ["main", "refs/heads/main", "refs/tags/nightly"])
def test_a_version_that_is_told_stands_beside_any_ref(ref: str) -> None:
    assert one(ref=ref, version="v1.2.3").version == Version.parse("v1.2.3")


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"version": "v2.0.0", "ref": "main"}, "v2.0.0+incompatible"),
        ({"version": "v2.0.0+incompatible", "ref": "v2.0.0"}, "v2.0.0+incompatible"),
        ({"version": "v2.0.0", "ref": "v2.0.0", "subdir": ""}, "v2.0.0+incompatible"),
        ({"version": "v2.0.0", "ref": "v2.0.0", "subdir": "v2", "module_path": MODULE + "/v2"}, "v2.0.0"),
    ],
)
def test_versions_above_one(fields: dict[str, str], version: str) -> None:
    assert one(**fields).version == Version.parse(version)


def test_a_subdir_that_is_told_is_kept_with_its_major_directory() -> None:
    event = one(ref="sdk/v2.0.0", module_path=MODULE + "/sdk/v2", subdir="sdk/v2")
    assert (event.subdir, event.version) == ("sdk/v2", Version.parse("v2.0.0"))


def test_a_module_whose_path_does_not_show_its_directory_can_tell_it() -> None:
    assert one(ref="go/ledger/v1.0.0", subdir="go/ledger").subdir == "go/ledger"


@pytest.mark.parametrize("commit", [SHA, SHA.upper(), SHA256])
def test_commits_are_full_and_lower_case(commit: str) -> None:
    assert one(commit_id=commit).commit == commit.lower()


@pytest.mark.parametrize("name", ["version", "repo_url", "subdir", "delivery_id", "h1"])
def test_null_is_absent(name: str) -> None:
    assert one(**{name: None}) == one()


BAD_TEXTS: list[Any] = [None, "", 7, [], {}, "a\x00b", "a\x1bb", "\ud800", "x" * 9999]
BAD: list[tuple[str, dict[str, Any]]] = [
    *[(name, {name: value}) for name in BODY for value in BAD_TEXTS],
    *[(name, {name: ""}) for name in ("version", "repo_url", "delivery_id", "h1")],
    *[(name, {name: 7}) for name in ("version", "repo_url", "subdir", "delivery_id", "h1")],
    ("commit_id", {"commit_id": SHA[:12]}),
    ("commit_id", {"commit_id": SHA[:39] + "g"}),
    ("commit_id", {"commit_id": SHA[:39] + "٣"}),
    ("commit_id", {"commit_id": " " + SHA}),
    ("commit_id", {"commit_id": "0" * 40}),
    ("module_path", {"module_path": "ledger"}),
    ("module_path", {"module_path": "go.corp.example/x/v1"}),
    ("module_path", {"module_path": "go.corp.example:8080/x"}),
    ("module_path", {"module_path": "go.corp.example/../x"}),
    *[
        ("ref", {"ref": ref})
        for ref in (
            "refs/pull/1/head",
            "a..b",
            "-x",
            "a b",
            "a/",
            "/a",
            "a//b",
            "x.lock",
            "a~1",
            "a@{1}",
            "@",
            "refs/tags/",
        )
    ],
    ("ref", {"ref": "v1.2.3+meta"}),
    ("ref", {"ref": "v01.2.3"}),
    ("ref", {"ref": "refs/tags/v1.2.3+incompatible"}),
    ("ref", {"ref": "v0.0.0-20260102030405-0123456789ab"}),
    ("ref", {"ref": "sdk/v1.2.3"}),
    ("ref", {"ref": "edger/v1.2.3"}),
    ("ref", {"ref": "sdk/v1.2.3", "subdir": ""}),
    ("ref", {"ref": "v1.2.3", "subdir": "sdk"}),
    ("ref", {"ref": "v1.2.3", "module_path": MODULE + "/v2"}),
    ("ref", {"ref": "v3.0.0", "module_path": MODULE + "/v2"}),
    ("ref", {"ref": "ledger/v2.0.0"}),
    ("ref", {"ref": "v3.0.0", "module_path": "gopkg.in/yaml.v2"}),
    ("version", {"version": "1.2.3"}),
    ("version", {"version": "v1.2"}),
    ("version", {"version": "v1.2.4"}),
    ("version", {"version": "v1.2.3+meta"}),
    ("version", {"version": "v1.2.3+incompatible"}),
    ("version", {"version": "v2.0.0+incompatible", "ref": "v2.0.0", "module_path": MODULE + "/v2"}),
    ("version", {"version": "v2.0.0", "ref": "main", "subdir": "sdk", "module_path": MODULE + "/sdk"}),
    ("version", {"version": "v1.0.0", "ref": "main", "module_path": MODULE + "/v2"}),
    ("version", {"version": "v0.0.0-20260102030405-0123456789ab", "ref": "main"}),
    *[("subdir", {"subdir": subdir, "ref": "main"}) for subdir in ("/sdk", "sdk/", "../x", "a b", "a//b", ".git")],
    *[
        ("repo_url", {"repo_url": url})
        for url in ("ledger", "https://", "https://u:p@h/x", "https://h:x/y", "http://[::1", "https://h/a b", "/etc")
    ],
    *[("h1", {"h1": h1}) for h1 in ("h1:", "h2:" + H1[3:], H1[:-1], "h1:" + "A" * 42 + "B=")],
]


@pytest.mark.parametrize(("field", "fields"), BAD)
def test_a_bad_field_is_named(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(SyncError) as caught:
        one(**fields)
    assert (caught.value.code, caught.value.field) == ("invalid_payload", field)
    assert caught.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize("name", list(BODY))
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(SyncError) as caught:
        parse("article", {}, {key: value for key, value in BODY.items() if key != name}, Policy())
    assert (caught.value.field, caught.value.message) == (name, f"{name}: is missing")


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"version": "v1.2.3+meta", "ref": "main"}, "version", "version_build_metadata"),
        ({"module_path": "Go.corp.example/x"}, "module_path", "path_first_char"),
        ({"module_path": "go.corp.example/con"}, "module_path", "path_windows_name"),
        ({"module_path": "go.corp.example/x/v1"}, "module_path", "path_major_suffix"),
        ({"ref": "refs/tags/sdk/v1.2.3+meta", "module_path": f"{MODULE}/sdk"}, "ref", "version_build_metadata"),
    ],
)
def test_the_broken_rule_is_told(fields: dict[str, str], field: str, rule: str) -> None:
    with pytest.raises(SyncError) as caught:
        one(**fields)
    assert (caught.value.code, caught.value.field) == ("invalid_payload", field)
    assert caught.value.message.endswith(f"({rule})")


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("go.corp.example/con/@v/v1.0.0.zip", "path_windows_name"),
        ("go.corp.example/x/@v/v1.0.0+meta.zip", "version_build_metadata"),
        ("go.corp.example/x/v2/@v/v1.0.0.zip", "version_major"),
    ],
)
def test_a_registry_is_told_the_broken_rule_too(path: str, rule: str) -> None:
    body = {"domain": "artifact", "event_type": "deployed", "data": {"path": path}}
    with pytest.raises(SyncError) as caught:
        parse("artifactory", {}, body, Policy())
    assert (caught.value.code, caught.value.field) == ("invalid_payload", "data.path")
    assert caught.value.message.endswith(f"({rule})")


@pytest.mark.parametrize("tag", ["v1.2.3+meta", "con/v1.2.3", "v0.0.0-20260301120000-0123456789ab"])
def test_a_platforms_tag_that_breaks_a_rule_is_recorded_with_it(tag: str) -> None:
    """It is no error of the platform's: not every tag is a module's version."""
    repository = {"full_name": "billing/ledger", "clone_url": "https://git.corp.example/billing/ledger.git"}
    body = {"ref": f"refs/tags/{tag}", "after": SHA, "before": "0" * 40, "repository": repository}
    found = parse("github", {"X-GitHub-Event": "push"}, body, Policy())
    assert isinstance(found, Ignored)
    assert found.reason == "not_a_version_tag"
    with pytest.raises(RuleBroken) as broken:
        split_tag(tag)
    assert broken.value.message in found.message


@pytest.mark.parametrize(
    "url", ["git@git.corp.example:billing/ledger.git", "ssh://git@git.corp.example:2222/billing/ledger"]
)
def test_ssh_clone_urls(url: str) -> None:
    assert one(repo_url=url).repo_url == url


def test_prereleases_by_policy() -> None:
    assert one(Policy(prereleases=True), ref="v1.2.3-rc.1").version == Version.parse("v1.2.3-rc.1")
    ignored = parse("article", {}, BODY | {"ref": "v1.2.3-rc.1"}, Policy(prereleases=False))
    assert isinstance(ignored, Ignored)
    assert ignored.reason == "prerelease"
    assert one(Policy(prereleases=False)).version == Version.parse("v1.2.3")


def many(**fields: Any) -> tuple[ReleaseEvent, ...]:
    parsed = parse("article", {}, fields, Policy())
    assert isinstance(parsed, tuple)
    return parsed


def test_several_releases_share_what_stands_around_the_list() -> None:
    items = [{"module_path": f"{MODULE}/{name}", "ref": f"{name}/v1.2.3"} for name in ("sdk", "log")]
    found = many(commit_id=SHA, repo_url="https://git.corp.example/x.git", releases=items)
    assert [(str(each.module), each.ref, each.commit) for each in found] == [
        (f"{MODULE}/sdk", "sdk/v1.2.3", SHA), (f"{MODULE}/log", "log/v1.2.3", SHA),
    ]  # fmt: skip
    assert {each.repo_url for each in found} == {"https://git.corp.example/x.git"}


def test_a_release_that_stands_twice_counts_once() -> None:
    assert len(many(releases=[BODY, BODY])) == 1


@pytest.mark.parametrize(
    ("releases", "field"),
    [
        ([], "releases"),
        ("x", "releases"),
        ([BODY] * 101, "releases"),
        ([BODY, 7], "releases[1]"),
        ([BODY, {"ref": "v1.2.3", "module_path": MODULE}], "releases[1].commit_id"),
    ],
)
def test_a_list_that_is_wrong_is_refused_as_a_whole(releases: Any, field: str) -> None:
    with pytest.raises(SyncError) as caught:
        many(releases=releases)
    assert (caught.value.code, caught.value.field) == ("invalid_payload", field)
