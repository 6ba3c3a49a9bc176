"""What the shipped nginx configuration makes of a miss that it has kept: it is never told for longer than its few seconds."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket
from threading import Event, Semaphore

from tests.integration.nginx_world import PRIVATE, SHIPPED, Front, Reply, needs_nginx, nginx, wait_for
from tests.sandbox.bad_servers import Listener

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
