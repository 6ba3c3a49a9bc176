"""Rules: module path -> clone URL, mirror, directory; and back from a repository."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.errors import SyncError
from app.domain.mirror_path import encode, path_fault
from app.domain.modules import ModulePath, RuleBroken
from app.domain.patterns import fill, match, match_module, pattern_fault, unify
from app.domain.routing import Rule, choose, mirror_prefixes, modules_for_repository, modules_of_mirror
from app.domain.run import Target

ALLOW = ["https://git.corp.example/**"]
TEAMS = Rule(
    modules="go.corp.example/{team}/{repo}",
    mirror="go-mirrors/{team}/{repo}",
    clone="https://git.corp.example/{team}/{repo}.git",
)
MONO = Rule(
    modules="go.corp.example/mono", mirror="go-mirrors-mono/mono", clone="https://git.corp.example/all/mono.git"
)
OPEN = Rule(modules="code.corp.example/{team}/{repo}", mirror="code/{team}/{repo}", source="open", tags="make")

ELEMENT = st.text(string.ascii_letters + string.digits + "._~-", min_size=1, max_size=12)
MODULE_ELEMENT = ELEMENT.filter(lambda text: text[0] not in ".-" and text[-1] != ".")


def target(module: str, repo_url: str | None = None, subdir: str | None = None, source: str = "platform") -> Target:
    return choose([MONO, TEAMS, OPEN], source, ModulePath.parse(module), repo_url, subdir, ALLOW)


@pytest.mark.parametrize(
    ("module", "clone", "subdir"),
    [
        ("go.corp.example/infra/otel", "infra/otel", ""),
        ("go.corp.example/infra/otel/v2", "infra/otel", ""),
        ("go.corp.example/infra/otel/sdk/metric", "infra/otel", "sdk/metric"),
        ("go.corp.example/infra/otel/sdk/metric/v10", "infra/otel", "sdk/metric"),
        ("go.corp.example/mono/tools/x/v3", "all/mono", "tools/x"),
    ],
)
def test_where_a_module_comes_from(module: str, clone: str, subdir: str) -> None:
    found = target(module)
    assert (found.clone_url, found.subdir) == (f"https://git.corp.example/{clone}.git", subdir)


def test_a_target_is_complete() -> None:
    assert target("code.corp.example/a/b", "https://git.corp.example/x.git", source="open") == Target(
        clone_url="https://git.corp.example/x.git",
        mirror="code/a/b",
        tags="make",
        rule="code.corp.example/{team}/{repo}",
    )


def test_the_sandbox_clones_from_this_machine() -> None:
    rule = Rule("h.example/{x}", "m/{x}", "http://127.0.0.1:3000/{x}.git")
    found = choose([rule], "s", ModulePath.parse("h.example/a"), None, None, ["http://127.0.0.1:3000/**"], sandbox=True)
    assert found.clone_url == "http://127.0.0.1:3000/a.git"
    assert modules_for_repository([rule], "s", found.clone_url, "", 1) == ModulePath.parse("h.example/a")
    with pytest.raises(SyncError, match="clone_url_refused"):
        choose([rule], "s", ModulePath.parse("h.example/a"), None, None, ["http://127.0.0.1:3000/**"])


def test_a_mirror_path_that_is_too_long_is_no_rule() -> None:
    deep = Rule("h.example/{a}/{b}/{c}", "m/{a}/{b}/{c}", "https://git.corp.example/x.git")
    with pytest.raises(SyncError, match="longer than 255"):
        choose([deep], "s", ModulePath.parse("/".join(["h.example", *("x" * 99 for _ in range(3))])), None, None, ALLOW)


def test_the_first_rule_wins() -> None:
    assert target("go.corp.example/mono/x").rule == MONO.modules
    module = ModulePath.parse("go.corp.example/mono/x")
    assert choose([TEAMS, MONO], "s", module, None, None, ALLOW).rule == TEAMS.modules


@pytest.mark.parametrize(
    "module", ["go.corp.example/infra", "go.corp.example/infra/v2", "other.example/a/b", "go.corp.example-x/a/b"]
)
def test_no_rule(module: str) -> None:
    with pytest.raises(SyncError) as caught:
        target(module)
    assert caught.value.code == "no_rule"


def test_a_rule_for_another_source_does_not_count() -> None:
    with pytest.raises(SyncError, match="no_rule"):
        target("code.corp.example/a/b", "https://git.corp.example/x.git", source="platform")


@pytest.mark.parametrize(
    "url", [None, "", "https://evil.example/x", "file:///etc", "https://u:hunter2@git.corp.example/x"]
)
def test_a_payload_never_chooses_a_host(url: str | None) -> None:
    with pytest.raises(SyncError) as caught:
        target("code.corp.example/a/b", url, source="open")
    assert (caught.value.code, caught.value.field) == ("clone_url_refused", "repo_url")
    assert "hunter2" not in str(caught.value)


def test_a_template_is_bound_by_the_allow_list_too() -> None:
    module = ModulePath.parse("go.corp.example/a/b")
    with pytest.raises(SyncError, match="clone_url_refused"):
        choose([TEAMS], "s", module, None, None, ["https://git.corp.example/other/**"])


def test_the_rules_url_wins_over_the_payloads() -> None:
    assert target("go.corp.example/a/b", "https://evil.example/x").clone_url == "https://git.corp.example/a/b.git"


@pytest.mark.parametrize(
    ("module", "given_subdir", "subdir"),
    [
        ("go.corp.example/a/b/sdk/v2", "sdk", "sdk"),
        ("go.corp.example/a/b/sdk/v2", "/sdk/v2/", "sdk"),
        ("go.corp.example/a/b/v2", "v2", ""),
        ("go.corp.example/a/b", "lib/go", "lib/go"),  # a path that does not show the directory
        ("go.corp.example/a/b/sdk", "", "sdk"),
    ],
)
def test_the_payloads_directory(module: str, given_subdir: str, subdir: str) -> None:
    assert target(module, subdir=given_subdir).subdir == subdir


@pytest.mark.parametrize("subdir", ["other", "sdk/x", "../sdk", "sdk/..", "a//b", ".git", "a\\b", "a\nb"])
def test_a_directory_that_contradicts_the_path_is_refused(subdir: str) -> None:
    with pytest.raises(SyncError) as caught:
        target("go.corp.example/a/b/sdk", subdir=subdir)
    assert (caught.value.code, caught.value.field) == ("invalid_payload", "subdir")


@given(
    st.lists(MODULE_ELEMENT, min_size=0, max_size=4).map(lambda elements: "/".join(["h.example", *elements])),
    st.none() | st.text(max_size=20),
    st.none() | st.text(max_size=20),
)
def test_nothing_but_our_errors(module: str, url: str | None, subdir: str | None) -> None:
    try:
        path = ModulePath.parse(module)
    except RuleBroken:
        assume(False)
    for rule in (Rule("{a}/{b}", "m/{a}/{b}"), Rule("{a}/{b}", "m/{a}/{b}", "https://git.corp.example/{b}/{a}")):
        try:
            found = choose([rule], "s", path, url, subdir, ALLOW)
        except SyncError:
            continue
        assert path_fault(found.mirror) is None
        assert found.clone_url.startswith("https://git.corp.example/")


@given(MODULE_ELEMENT, MODULE_ELEMENT, MODULE_ELEMENT, MODULE_ELEMENT)
def test_two_repositories_never_share_a_mirror(a: str, b: str, c: str, d: str) -> None:
    assume((a, b) != (c, d))
    mirrors = [fill(TEAMS.mirror, {"team": team, "repo": repo}, encode) for team, repo in ((a, b), (c, d))]
    assert mirrors[0].lower() != mirrors[1].lower()
    assert all(path_fault(mirror) is None for mirror in mirrors)


@pytest.mark.parametrize("name", ["otel", "go-lib", "a.b_c", "x1"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert encode(name) == name


@pytest.mark.parametrize(
    "name", ["Otel", "OTEL", "a--b", "a~b", "_a", "a-", "a.git", "blob", "-", "~", "a.-b", "x" * 101]
)
def test_other_names_become_legal_and_stay_apart(name: str) -> None:
    plain = encode(name)
    assert plain != name.lower()
    assert path_fault(f"g/{plain}") is None
    assert encode(plain) != plain  # a repository that is called like the result gets another


def test_letter_case_does_not_collide() -> None:
    assert len({encode(name) for name in ("otel", "Otel", "OTEL", "oTel")}) == 4


@pytest.mark.parametrize(
    "path", ["one", "g/-x", "g/x-", "g/a..b", "g/a b", "g//x", "g/x.git", "g/tree", "g/" + "x" * 255]
)
def test_paths_that_gitlab_does_not_take(path: str) -> None:
    assert path_fault(path)


@pytest.mark.parametrize(
    ("repo_url", "subdir", "major", "module"),
    [
        ("https://git.corp.example/infra/otel.git", "", 1, "go.corp.example/infra/otel"),
        ("https://GIT.corp.example:443/infra/otel/", "", 0, "go.corp.example/infra/otel"),
        ("ssh://git@git.corp.example:2222/infra/otel.git", "sdk", 2, "go.corp.example/infra/otel/sdk/v2"),
        ("http://git.corp.example:3000/infra/otel.git", "", 1, "go.corp.example/infra/otel"),  # ROOT_URL, external_url
        ("https://git.corp.example/all/mono.git", "x", 1, "go.corp.example/mono/x"),
        ("https://code.corp.example/a/b.git", "", 3, "code.corp.example/a/b/v3"),
        ("https://git.corp.example/infra/otel", "sdk/v2", 1, None),  # would be read as a major suffix
        ("https://git.corp.example/infra/v2", "", 1, None),
        ("https://git.corp.example/a/b/c.git", "", 1, None),
        ("https://other.example/infra/otel.git", "", 1, None),
        ("not a url", "", 1, None),
    ],
)
def test_from_a_repository_to_its_module(repo_url: str, subdir: str, major: int, module: str | None) -> None:
    found = modules_for_repository([MONO, TEAMS, OPEN], "open", repo_url, subdir, major)
    assert found == (ModulePath.parse(module) if module else None)


def test_a_repository_whose_module_another_rule_takes_has_none() -> None:
    """go.corp.example/infra/otel is cloned from somewhere else than this repository."""
    special = Rule("go.corp.example/infra/otel", "special/otel", "https://git.corp.example/else/where.git")
    repo_url = "https://git.corp.example/infra/otel.git"
    assert modules_for_repository([special, TEAMS], "s", repo_url, "", 1) is None
    expected = ModulePath.parse("go.corp.example/infra/otel")
    assert modules_for_repository([TEAMS, special], "s", repo_url, "", 1) == expected


def test_a_repository_that_makes_no_legal_path_breaks_the_rule_that_go_has() -> None:
    with pytest.raises(RuleBroken, match="reserved name"):
        modules_for_repository([TEAMS], "s", "https://git.corp.example/LPT1/repo.git", "", 1)
    other = Rule("mine.example/{repo}", "m/{repo}", "https://git.corp.example/LPT1/{repo}.git")
    found = modules_for_repository([TEAMS, other], "s", "https://git.corp.example/LPT1/repo.git", "", 1)
    assert found == ModulePath.parse("mine.example/repo")


def test_rules_of_other_sources_know_no_repository() -> None:
    assert modules_for_repository([OPEN], "platform", "https://code.corp.example/a/b.git", "", 1) is None


def test_a_rule_that_cannot_be_read_backwards_knows_no_repository() -> None:
    rule = Rule("go.corp.example/{name}", "m/{name}", "https://git.corp.example/mono.git")
    assert modules_for_repository([rule], "s", "https://git.corp.example/mono.git", "", 1) is None


@given(MODULE_ELEMENT, MODULE_ELEMENT, st.sampled_from(["", "sdk", "sdk/metric"]), st.integers(0, 4))
def test_there_and_back(team: str, repo: str, subdir: str, major: int) -> None:
    try:
        module = modules_for_repository([TEAMS], "s", f"https://git.corp.example/{team}/{repo}.git", subdir, major)
        assume(module is not None)
        assert module is not None
        found = choose([TEAMS], "s", module, None, None, ALLOW)
    except (SyncError, RuleBroken):
        assume(False)
    assert (found.clone_url, found.subdir) == (f"https://git.corp.example/{team}/{repo}.git", subdir)


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("go.corp.example", True),
        ("go.corp.example/lib-{repo}", True),
        ("{host}/{repo}", True),
        ("", False),
        ("a//b", False),
        ("/a", False),
        ("a/*", False),
        ("a/{Repo}", False),
        ("a/{x}{y}", False),
        ("a/{x}/{x}", False),
        ("a/{x}/v2", False),
    ],
)
def test_module_patterns(pattern: str, good: bool) -> None:
    assert (pattern_fault(pattern) is None) is good


def test_a_placeholder_stands_for_one_element() -> None:
    assert match_module("h.example/lib-{x}", ModulePath.parse("h.example/lib-a/b")) == ({"x": "a"}, "b")
    assert match_module("h.example/lib-{x}", ModulePath.parse("h.example/lib-")) is None
    assert match("{a}/{a}", "x/x") == {"a": "x"}
    assert match("{a}/{a}", "x/y") is None


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("m/{a}", "m/{b}", True),
        ("m/{a}", "M/x", True),
        ("m/a", "m/b", False),
        ("m/{a}", "m/{a}/{b}", False),
        ("m/lib-{a}", "m/{b}-go", True),
        ("m/lib-{a}", "m/go-{b}", False),
        ("{a}/{a}", "x/y", False),
    ],
)
def test_where_two_templates_meet(one: str, other: str, meet: bool) -> None:
    assert (unify(one, other) is not None) is meet
    assert (unify(other, one) is not None) is meet


def test_what_mirrors_begin_with_for_certain() -> None:
    mirrors = ("go-mirrors/{team}/{repo}", "go-mirrors/{team}-x/{repo}", "one/and-only", "a/b-{x}/c", "{team}/{repo}")
    rules = [Rule("go.corp.example/{team}/{repo}/{x}", mirror) for mirror in mirrors]
    assert mirror_prefixes(rules) == ["", "a", "go-mirrors", "one/and-only"]


@pytest.mark.parametrize(
    ("path", "modules"),
    [
        ("mirrors/team/thing", ["go.corp.example/team/thing"]),
        ("mirrors/team/thing/below", []),
        ("others/team/thing", []),
        ("mirrors/team/thing-x0123456789ab", []),  # a hash of what it was
        ("fixed/lib", ["go.corp.example/fixed/lib"]),
    ],
)
def test_the_module_of_a_mirror_is_read_backwards(path: str, modules: list[str]) -> None:
    rules = [
        Rule("go.corp.example/{team}/{repo}", "mirrors/{team}/{repo}"),
        Rule("go.corp.example/fixed/lib", "fixed/lib"),
        Rule("other.corp.example/{team}/{repo}/{more}", "mirrors/{team}/{repo}"),
    ]
    assert [module.text for module in modules_of_mirror(rules, path)] == modules
