"""Which repository a path belongs to, and the page that says so."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from app.domain.routing import Rule
from app.services.discovery import Discovery, Found
from app.services.explain import Routing
from app.services.views import MirrorView

RULES = (
    Rule(
        "go.corp.example/{team}/{repo}", "go-mirrors/{team}/deep/{repo}", "https://git.corp.example/{team}/{repo}.git"
    ),
    Rule("vanity.example/{repo}", "vanity/{repo}"),
    Rule("only.example/{repo}", "second/{repo}", source="second"),
)
ALLOW = {"first": ["https://git.corp.example/**"], "second": ["https://git.corp.example/**"]}
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def discovery(*known: str, clone: str = "") -> Discovery:
    """Over mirrors that exist; one called `empty/...` was never made."""

    def mirrors(paths: Collection[str]) -> list[MirrorView]:
        return [_view(path) for path in known if path in paths]

    return Discovery(Routing(RULES, ALLOW), mirrors, clone)


def _view(path: str) -> MirrorView:
    return MirrorView(path, 1, f"https://gitlab.example/{path}.git", "", None, NOW)


@pytest.mark.parametrize(
    ("path", "root", "mirror"),
    [
        ("go.corp.example/pay/ledger", "go.corp.example/pay/ledger", "go-mirrors/pay/deep/ledger"),
        ("go.corp.example/pay/ledger/v2", "go.corp.example/pay/ledger", "go-mirrors/pay/deep/ledger"),
        ("go.corp.example/pay/ledger/sdk", "go.corp.example/pay/ledger", "go-mirrors/pay/deep/ledger"),
        ("go.corp.example/pay/ledger/sdk/x/v3", "go.corp.example/pay/ledger", "go-mirrors/pay/deep/ledger"),
        ("go.corp.example/pay/ledger/api/v1", "go.corp.example/pay/ledger", "go-mirrors/pay/deep/ledger"),
        ("vanity.example/log", "vanity.example/log", "vanity/log"),
        ("only.example/log", "only.example/log", "second/log"),
    ],
)
def test_a_path_below_a_mirrored_repository_is_found(path: str, root: str, mirror: str) -> None:
    found = discovery(mirror).find(path)
    assert found == Found(root, f"https://gitlab.example/{mirror}.git")


@pytest.mark.parametrize(
    "path", ["go.corp.example/pay", "go.corp.example", "", "other.example/a/b", "go.corp.example/pay/<x>", "../etc"]
)
def test_a_path_that_no_rule_knows_is_not_found(path: str) -> None:
    assert discovery("go-mirrors/pay/deep/ledger").find(path) is None


def test_a_rule_without_a_mirror_promises_nothing() -> None:
    assert discovery().find("go.corp.example/pay/ledger") is None


def test_a_mirror_that_was_leased_but_never_made_is_not_found() -> None:
    empty = MirrorView("vanity/log", None, None, None, None, NOW)
    assert Discovery(Routing(RULES, ALLOW), lambda _: [empty], "").find("vanity.example/log") is None


def test_the_configured_clone_url_wins() -> None:
    found = discovery("vanity/log", clone="ssh://git@gitlab.example/{mirror}.git").find("vanity.example/log")
    assert found == Found("vanity.example/log", "ssh://git@gitlab.example/vanity/log.git")


def test_the_page_is_one_tag_and_escaped() -> None:
    page = Found("a.example/x", 'https://git.example/"><script>.git').page()
    assert '<meta name="go-import" content="a.example/x git https://git.example/&quot;&gt;&lt;script&gt;.git">' in page
