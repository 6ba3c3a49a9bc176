"""How the composition root makes the door to git: sources' names are looked up and pinned, whatever is in front."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.git_resolve import SystemResolver
from app.bootstrap import Container
from tests.integration.web_world import write_settings


@pytest.mark.parametrize("http_proxy", [None, "http://proxy.corp.example:3128"])
def test_names_are_looked_up_in_production(tmp_path: Path, http_proxy: str | None) -> None:
    settings = write_settings(tmp_path)
    outgoing = settings.outgoing.model_copy(update={"http_proxy": http_proxy})
    sandbox = settings.sandbox.model_copy(update={"enabled": False})
    container = Container(settings.model_copy(update={"outgoing": outgoing, "sandbox": sandbox}))
    assert isinstance(container.git._options.resolver, SystemResolver)
    assert container.git._options.protocols == ("https", "ssh")
