"""Rules whose content comes from a registry: where each module comes from and goes to."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import SyncError
from app.domain.mirror_path import path_fault
from app.domain.modules import ModulePath, RuleBroken
from app.domain.routing import Rule, choose
from app.domain.run import Target

BASE = "https://registry.corp.example/api/go/local"
RULE = Rule("go.corp.example/{team}/{repo}", "go-mirrors/{team}/{repo}", BASE, content="goproxy")
ALLOW = ["https://registry.corp.example/**"]


def target(module: str) -> Target:
    return choose([RULE], "platform", ModulePath.parse(module), "https://evil.example/x.git", "ignored", ALLOW)


def test_a_module_comes_from_its_address_in_the_registry_whatever_the_payload_says() -> None:
    found = target("go.corp.example/team/lib")
    assert found == Target(
        f"{BASE}/go.corp.example/team/lib", "go-mirrors/team/lib", tags="make", rule=RULE.modules, content="goproxy"
    )  # fmt: skip


def test_upper_case_is_escaped_in_the_address() -> None:
    assert target("go.corp.example/Team/lib").clone_url == f"{BASE}/go.corp.example/!team/lib"


def test_modules_of_one_place_have_mirrors_of_their_own_that_do_not_collide() -> None:
    paths = ["x", "X", "x/sub", "x/Sub", "x/sub/v2", "x/v2", "x/v3", "x-sub", "x-v2", "x/sub-v2", "x/a/b", "x/a-b"]
    mirrors = [target(f"go.corp.example/t/{path}").mirror for path in paths]
    assert len({mirror.lower() for mirror in mirrors}) == len(paths)
    assert all(path_fault(mirror) is None for mirror in mirrors)
    # None is a group above another: GitLab has either a project or a group at a path.
    assert {mirror.count("/") for mirror in mirrors} == {2}


_ELEMENT = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,3}(-x[0-9a-f]{12})?", fullmatch=True)


def _module(elements: list[str]) -> str:
    return "/".join(["go.corp.example/t", *elements])


def _is_legal(path: str) -> bool:
    """Not `.../v0`, for one."""
    try:
        return bool(ModulePath.parse(path))
    except RuleBroken:
        return False


_MODULES = st.lists(_ELEMENT, min_size=1, max_size=3).map(_module).filter(_is_legal)


@given(st.sets(_MODULES, min_size=2, max_size=6))
@example({"go.corp.example/t/a", "go.corp.example/t/a/v2", "go.corp.example/t/A"})
def test_no_two_modules_share_a_mirror(paths: set[str]) -> None:
    modules = [ModulePath.parse(path) for path in paths]
    assert len({target(module.text).mirror.lower() for module in modules}) == len(paths)


def test_a_registry_at_its_hosts_root() -> None:
    rule = Rule(RULE.modules, RULE.mirror, "https://registry.corp.example", content="goproxy")
    found = choose([rule], "platform", ModulePath.parse("go.corp.example/t/x"), None, None, ALLOW)
    assert found.clone_url == "https://registry.corp.example/go.corp.example/t/x"


def test_the_allow_list_is_for_registries_too() -> None:
    module = ModulePath.parse("go.corp.example/t/x")
    with pytest.raises(SyncError) as caught:
        choose([RULE], "platform", module, None, None, ["https://git.corp.example/**"])
    assert caught.value.code == "clone_url_refused"
