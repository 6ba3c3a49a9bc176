"""Which hosts cannot be paused: those that releases only go to."""

from pathlib import Path

from app.paused_hosts import targets
from tests.unit.test_config import GOOD, changed, here, load

__all__ = ["here"]


def test_gitlab_and_proxies_are_named(here: Path) -> None:
    assert targets(load(here, GOOD)) == {
        "gitlab.corp.example": "GitLab's host", "goproxy.corp.example": "the proxy default's host",
    }  # fmt: skip


def test_a_host_that_sources_are_cloned_from_can_be_paused_whatever_it_is_besides(here: Path) -> None:
    allow = 'allow = ["https://git.corp.example/**", "https://gitlab.corp.example/platform/**"]'
    both = changed('allow = ["https://git.corp.example/**"]', allow)
    assert set(targets(load(here, both))) == {"goproxy.corp.example"}
