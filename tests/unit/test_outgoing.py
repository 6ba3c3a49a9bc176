"""Which connections go by way of the HTTP proxy, and that every door keeps to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bootstrap import Container
from app.bootstrap_sources import registry_options
from app.domain.outgoing import proxy_for
from tests.integration.web_world import write_settings

PROXY = "http://proxy.corp.example:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://git.corp.example/x", "", False),
        ("https://git.corp.example/x", "git.corp.example", True),
        ("https://git.corp.example:8443/x", " other.example , .Corp.Example ", True),
        ("https://mycorp.example/x", "corp.example", False),
        ("https://corp.example/x", ".corp.example", True),
        ("https://anywhere.example/x", "*", True),
        ("http://127.0.0.1:1/x", "127.0.0.1", True),
        ("http://[::1/x", "*", False),
        ("", "corp.example", False),
    ],
)
def test_hosts_and_the_domains_below_them(url: str, no_proxy: str, direct: bool) -> None:
    assert proxy_for(url, PROXY, no_proxy) == (None if direct else PROXY)
    assert proxy_for(url, None, no_proxy) is None


def test_each_door_keeps_to_it(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    outgoing = settings.outgoing.model_copy(update={"http_proxy": PROXY, "no_proxy": "gitlab.corp.example"})
    gitlab = settings.gitlab.model_copy(update={"url": "https://gitlab.corp.example"})
    container = Container(settings.model_copy(update={"outgoing": outgoing, "gitlab": gitlab}))
    assert container._gitlab_options().http_proxy is None
    assert container.git._options.no_proxy == "gitlab.corp.example"
    asked = [door._session() for door in container.proxies.values()]  # type: ignore[attr-defined]
    assert {each.proxies["https"] for each in asked} == {PROXY}
    outside, inside = (
        registry_options(container.settings, f"https://{host}/go", None, None)
        for host in ("registry.example", "gitlab.corp.example")
    )
    assert (outside.http_proxy, inside.http_proxy) == (PROXY, None)
