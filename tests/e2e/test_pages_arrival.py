"""An alert's link on another site, followed in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import expect

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor
from tests.e2e.pages_story import run_of, send
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(address of another site, its page): localhost and 127.0.0.1 are two sites to a browser."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/chat.html", tmp_path / "chat.html"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("script", [True, False])
def test_a_click_in_a_chat_leads_whoever_is_logged_in_to_the_run(
    world: World, service: Service, chat: tuple[str, Path], script: bool
) -> None:
    name = f"chat/{'with' if script else 'without'}"
    run = run_of(send(world, make_plain(world.platform, world.mirrored(name), "v1.0.0").releases["v1.0.0"]))
    address, page = chat
    page.write_text(f'<a href="{world.url}/runs/{run}">failed</a>', encoding="utf-8")
    with chrome.chromium() as browser, Visitor(browser, world.url, script=script) as visitor:
        visitor.page.goto(address)
        visitor.page.get_by_text("failed").click()
        visitor.page.wait_for_url(f"{world.url}/login?next=/runs/{run}")  # nobody is logged in yet: no loop
        visitor.login(world.admin_token)
        visitor.page.wait_for_url(f"{world.url}/runs/{run}")
        visitor.answers.clear()

        visitor.page.goto(address)
        visitor.page.get_by_text("failed").click()
        expect(visitor.page.get_by_role("heading", level=1)).to_contain_text(f"go.corp.example/{name}@v1.0.0")
        assert visitor.page.url == f"{world.url}/runs/{run}"
        paths = [path for path, _ in visitor.answers]
        assert (paths.count(f"/runs/{run}"), "/login" in paths) == (2, False)
        assert [each for each in visitor.complaints if address not in each and "favicon" not in each] == []
