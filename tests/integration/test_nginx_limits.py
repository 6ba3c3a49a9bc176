"""Limits of the shipped nginx configuration: requests, connections, sizes; and who sees health and status."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore

import pytest

from tests.integration.nginx_world import PRIVATE, SHIPPED, Front, needs_nginx, nginx, wait_for
from tests.sandbox.bad_servers import Listener

pytestmark = needs_nginx

LIST = f"/{PRIVATE}/@v/list"
QUERY = f"{PRIVATE}@v1.0.0"
OTHER = "127.0.0.2"


def shipped(name: str, *changes: tuple[str, str]) -> str:
    """A shipped file with changes, each of which must find its place."""
    text = (SHIPPED / f"goproxy/{name}.conf").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


BOTH_ADDRESSES = shipped("access", ("allow 127.0.0.1;", "allow 127.0.0.0/8;"))
FOUR_REQUESTS = {
    "zones": shipped("zones", ("rate=200r/s", "rate=1r/m")),  # so slow that none is given back while the test runs
    "limits": shipped("limits", ("burst=2000", "burst=3")),
    "access": BOTH_ADDRESSES,
}


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Front]:
    """An address has four requests, and no more."""
    with nginx(tmp_path, **FOUR_REQUESTS) as front:
        yield front


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with nginx(tmp_path_factory.mktemp("front"), access=BOTH_ADDRESSES) as front:
        yield front


def test_an_address_with_too_many_requests_waits_and_others_do_not(limited: Front) -> None:
    assert [limited.get(f"/{PRIVATE}/@v/v1.0.{n}.info").status for n in range(4)] == [200, 404, 404, 404]
    asked = list(limited.private.asked)
    refused = limited.get(f"/{PRIVATE}/@v/v1.0.9.info")
    assert (refused.status, refused.headers["retry-after"], refused.headers["cache-control"]) == (429, "5", "no-store")
    assert limited.private.asked == asked, "refused before any upstream is asked"
    allowed = limited.get(LIST, source=OTHER)
    assert (allowed.status, "retry-after" in allowed.headers) == (200, False)
    wait_for(lambda: limited.log.read_text().count("\n") == 6)
    assert json.loads(limited.log.read_text().splitlines()[4])["status"] == "429"


def test_go_that_is_limited_says_so_and_the_doctor_knows_it(limited: Front) -> None:
    for _ in range(4):
        limited.get(LIST)
    machine = limited.machine()
    output = machine.download(QUERY)
    assert "429 Too Many Requests" in output
    assert "rate-limited" in machine.codes("--module", QUERY)
    assert machine.explained(output) == ["rate-limited"]


def test_what_go_asks_for_is_far_below_the_shipped_limits(shared: Front) -> None:
    for _ in range(3):
        assert shared.machine().go("mod", "download", QUERY).returncode == 0


def test_an_address_with_too_many_connections_waits_and_others_do_not(tmp_path: Path) -> None:
    """Three fetches that do not end hold what an address may have; another file is refused, and comes after they end."""
    came, go_on = Semaphore(0), Event()

    def slow(connection: socket.socket, stopping: Event) -> None:
        connection.recv(65536)
        came.release()
        go_on.wait()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with Listener(slow) as upstream:
        changed = {
            "upstreams": shipped("upstreams", ("server 127.0.0.1:3000", f"server 127.0.0.1:{upstream.port}")),
            "limits": shipped("limits", ("goproxy_connections 200", "goproxy_connections 3")),
            "access": BOTH_ADDRESSES,
        }
        with nginx(tmp_path, **changed) as front, ThreadPoolExecutor(3) as pool:
            held = [pool.submit(front.get, f"/{PRIVATE}/@v/v1.0.{n}.info") for n in range(3)]
            try:
                assert all(came.acquire(timeout=20) for _ in held)
                refused = front.get("/github.com/!public/lib/@v/list")
                assert (refused.status, refused.headers["retry-after"]) == (429, "5")
                assert front.get("/github.com/!public/lib/@v/list", source=OTHER).status == 200
            finally:
                go_on.set()
            assert [each.result().status for each in held] == [200, 200, 200]
            assert front.get("/github.com/!public/lib/@v/list").status == 200


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [(LIST, 1024, 200), (LIST, 1025, 413), (f"/{PRIVATE}/{'x' * 9000}/@v/list", 0, 414)],
    ids=["body fits", "body too large", "path too long"],
)
def test_sizes(shared: Front, path: str, size: int, status: int) -> None:
    before = len(shared.private.asked)
    assert shared.get(path, body=b"x" * size, X_Goproxy_Refresh="1").status == status
    told = shared.private.headers[before:]
    assert [headers.get("CONTENT_LENGTH", "0") for headers in told] == (["0"] if status == 200 else [])


def test_a_header_that_is_too_long(shared: Front) -> None:
    before = list(shared.private.asked)
    assert shared.get(LIST, X_Long="x" * 9000).status == 400
    assert shared.private.asked == before


def test_health_is_for_everybody_and_status_for_this_machine_only(tmp_path: Path) -> None:
    with nginx(tmp_path, access=shipped("access", ("allow 127.0.0.1;", ""))) as front:
        assert front.get("/healthz", source=OTHER).body == b"ok\n"
        assert front.get(LIST, source=OTHER).status == 403
        assert front.get("/nginx-status", source=OTHER).status == 403
        assert front.get("/nginx-status").status == 200
