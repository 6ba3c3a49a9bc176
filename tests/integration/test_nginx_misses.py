"""What is no file, through the shipped nginx configuration: misses are told for a few seconds at most, web pages never kept."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket
from threading import Event, Semaphore

import pytest

from tests.integration.nginx_world import PRIVATE, SHIPPED, Front, Reply, needs_nginx, nginx, wait_for
from tests.sandbox.bad_servers import LOGIN, Listener, Page, text

pytestmark = needs_nginx

INFO = f"/{PRIVATE}/@v/v1.4.0.info"
UPSTREAMS = (SHIPPED / "goproxy/upstreams.conf").read_text()
MISS = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
THERE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Fetching:
    """A proxy that lacks a version at first, and fetches it at the second question until `done` is set."""

    def __init__(self) -> None:
        self.came, self.done, self.released = Semaphore(0), Event(), Event()

    def __call__(self, connection: socket, stopping: Event) -> None:
        connection.recv(65536)
        if not self.released.is_set():
            connection.sendall(MISS)
            return
        self.came.release()
        self.done.wait()
        connection.sendall(THERE)


def asked_until_not_kept(front: Front) -> Reply:
    while (reply := front.get(INFO)).cache == "HIT":
        time.sleep(0.05)
    return reply


def test_a_version_that_is_being_fetched_is_not_denied(tmp_path: Path) -> None:
    """Somebody asked before the release; then the pre-cache asks, and others meanwhile: modsync's verify among them."""
    proxy = Fetching()
    with Listener(proxy) as upstream:
        changed = UPSTREAMS.replace("server 127.0.0.1:3000", f"server 127.0.0.1:{upstream.port}")
        with nginx(tmp_path, upstreams=changed) as front, ThreadPoolExecutor(2) as pool:
            assert front.get(INFO).status == 404
            proxy.released.set()
            try:
                replies = [pool.submit(asked_until_not_kept, front) for _ in range(2)]
                assert all(proxy.came.acquire(timeout=20) for _ in replies), "one of them was told the old miss"
            finally:
                proxy.done.set()
            assert [reply.result().status for reply in replies] == [200, 200]


def test_an_outage_is_no_miss(tmp_path: Path) -> None:
    """go takes a 404 for an answer, and looks elsewhere; at a 502 it stops."""
    with nginx(tmp_path) as front:
        assert front.get(INFO).status == 404
        front.servers["private"].stop()
        wait_for(lambda: front.get(INFO).cache != "HIT")
        assert front.get(INFO).status == 502
        assert "502 Bad Gateway" in front.machine().download(f"{PRIVATE}@v1.4.0")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with nginx(tmp_path_factory.mktemp("front")) as front:
        yield front


PAGES = [
    LOGIN,
    text("<html>blocked</html>", kind="Text/HTML; charset=utf-8"),
    text("<html/>", kind="application/xhtml+xml"),
]


@pytest.mark.parametrize("page", PAGES, ids=["login", "capitals", "xhtml"])
@pytest.mark.parametrize("name", ["@v/v1.5.0.info", "@v/v1.5.0.mod", "@v/v1.5.0.zip", "@v/list", "@latest"])
def test_a_web_page_is_not_kept_in_place_of_a_file(shared: Front, name: str, page: Page) -> None:
    """A filter that looks into TLS blocks one download with a 200: the file must come when the filter lets it."""
    path = f"/{PRIVATE}/{PAGES.index(page)}/{name}"
    shared.private.pages[path] = page
    for _ in range(2):
        reply = shared.get(path)
        assert (reply.status, reply.headers["cache-control"], reply.cache) == (200, "no-store", "MISS")
    shared.private.pages[path] = text("the file")
    assert (shared.get(path).body, shared.get(path).cache) == (b"the file", "HIT")


def test_a_web_page_does_not_replace_what_is_kept(shared: Front) -> None:
    path = f"/{PRIVATE}/@v/v1.6.0.mod"
    shared.private.pages[path] = text("module m\n")
    assert shared.get(path).cache == "MISS"
    shared.private.pages[path] = LOGIN
    assert shared.get(path, X_Goproxy_Refresh="1").headers["cache-control"] == "no-store"
    assert (shared.get(path).cache, shared.get(path).body) == ("HIT", b"module m\n")
