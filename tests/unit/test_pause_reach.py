"""What a pause can hold: known sources, and hosts that something comes from."""

from pathlib import Path

from app.domain.pause import PauseKind
from app.pause_reach import pause_reach
from tests.unit.test_config import GOOD, changed, here, load

__all__ = ["here"]


def test_gitlab_and_proxies_are_named(here: Path) -> None:
    assert pause_reach(load(here, GOOD)).targets == {
        "gitlab.corp.example": "GitLab's host", "goproxy.corp.example": "the proxy default's host",
    }  # fmt: skip


def test_a_host_that_sources_are_cloned_from_can_be_paused_whatever_it_is_besides(here: Path) -> None:
    allow = 'allow = ["https://git.corp.example/**", "https://gitlab.corp.example/platform/**"]'
    both = changed('allow = ["https://git.corp.example/**"]', allow)
    assert set(pause_reach(load(here, both)).targets) == {"goproxy.corp.example"}


def test_a_source_is_one_of_the_configuration(here: Path) -> None:
    reach = pause_reach(load(here, GOOD))
    assert reach.holds_nothing(PauseKind.SOURCE, "platform") == ""
    assert reach.holds_nothing(PauseKind.SOURCE, "platfrom") == "there is no source platfrom. Did you mean platform?"
    assert reach.holds_nothing(PauseKind.MODULE, "platfrom") == ""
