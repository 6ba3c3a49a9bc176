"""The nginx between Athens and its hook that docs/athens.md shows, as it stands there: builds go on while modsync is away."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import pytest

from tests.integration.nginx_world import needs_nginx, plain_nginx
from tests.sandbox.bad_servers import Pages, text
from tests.sandbox.serve import LoopbackServer

pytestmark = needs_nginx

HOOK = "/athens/validate/s3cret"
SHOWN = re.search(
    r"^    server \{\n.*?^    \}\n",
    (Path(__file__).parents[2] / "docs/athens.md").read_text(),
    re.DOTALL | re.MULTILINE,
)


def as_shown(port: int, modsync: int) -> str:
    """Only addresses are replaced."""
    assert SHOWN, "docs/athens.md shows no server"
    shown = dedent(SHOWN[0])
    for old, new in (("127.0.0.1:8081", f"127.0.0.1:{port}"), ("modsync.corp.example:8080", f"127.0.0.1:{modsync}")):
        assert old in shown
        shown = shown.replace(old, new)
    return f"access_log off;\n{shown}"


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[str, Pages, LoopbackServer]]:
    modsync = Pages()
    with LoopbackServer(modsync) as server, plain_nginx(tmp_path, lambda port: as_shown(port, server.port)) as url:
        yield url, modsync, server


def status_of(url: str) -> int:
    """As Athens asks."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request("POST", HOOK, b'{"Module":"go.corp.example/x","Version":"v1.0.0"}')
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("status", [200, 403])
def test_modsyncs_own_answer_counts(asked: tuple[str, Pages, LoopbackServer], status: int) -> None:
    url, modsync, _ = asked
    modsync.pages[HOOK] = text("", status=status)
    assert status_of(url) == status
    assert modsync.asked == [HOOK]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_that_is_answered_lets_it_through(asked: tuple[str, Pages, LoopbackServer], status: int) -> None:
    """modsync's own, or of what stands before it."""
    url, modsync, _ = asked
    modsync.pages[HOOK] = text("", status=status)
    assert status_of(url) == 200
    assert modsync.asked == [HOOK]


def test_modsync_that_is_away_lets_it_through(asked: tuple[str, Pages, LoopbackServer]) -> None:
    url, _, server = asked
    server.stop()
    assert status_of(url) == 200
