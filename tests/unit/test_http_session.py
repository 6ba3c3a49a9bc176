"""What sessions do with retries, other hosts and the parts of URLs that messages may show."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import requests

from app.adapters.http_allowance import Allowance
from app.adapters.http_session import (
    ForeignHost,
    PinnedSession,
    Transport,
    origin,
    proxy_secrets,
    reason,
    shown_url,
    wait_seconds,
)
from tests.sandbox.bad_servers import Authority, Listener, tls_front, trickling
from tests.sandbox.serve import LoopbackServer


class Flaky:
    """Breaks off the first `broken` answers."""

    def __init__(self, broken: int) -> None:
        self.broken = broken
        self.methods: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.methods.append(str(environ["REQUEST_METHOD"]))
        if len(self.methods) <= self.broken:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError("no answer")
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("POST", 1)])
def test_only_a_get_is_repeated(method: str, tries: int) -> None:
    app = Flaky(broken=tries - 1)
    with LoopbackServer(app) as server:
        session = PinnedSession(server.url, Transport(get_retries=1))
        assert session.request(method, server.url).text == "ok"
    assert app.methods == [method] * tries


@pytest.mark.parametrize(("method", "retries"), [("GET", 0), ("POST", 0), ("POST", 3)])
def test_a_broken_answer_is_not_asked_for_again(method: str, retries: int) -> None:
    app = Flaky(broken=1)
    with LoopbackServer(app) as server:
        session = PinnedSession(server.url, Transport(get_retries=retries))
        with pytest.raises(requests.ConnectionError):
            session.request(method, server.url)
    assert app.methods == [method]


@pytest.mark.parametrize("url", ["http://other.invalid/", "https://gitlab.invalid/", "http://gitlab.invalid:81/"])
def test_another_origin_is_refused_by_name(url: str) -> None:
    with pytest.raises(ForeignHost) as caught:
        PinnedSession("http://gitlab.invalid/root", Transport()).get(f"{url}?private_token=x")
    assert reason(caught.value) == f"refused to send a request to {url}"


def test_the_default_port_is_the_same_origin() -> None:
    assert (
        origin("https://gitlab.example/x")
        == origin("https://u:p@GitLab.example:443")
        != origin("http://gitlab.example")
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@host:8443/a/b?token=x#y", "https://host:8443/a/b"),
        ("/relative?x", "/relative"),
        ("http://[bad", "an address that cannot be read"),
        ("", ""),
    ],
)
def test_what_messages_show_of_a_url(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_password_of_the_http_proxy_is_a_secret() -> None:
    assert proxy_secrets(Transport(http_proxy="http://u:hidden@proxy:3128")) == ("hidden",)
    assert proxy_secrets(Transport(http_proxy="http://proxy:3128")) == proxy_secrets(Transport()) == ()


def test_a_ca_file_that_is_missing_is_named() -> None:
    session = PinnedSession("https://127.0.0.1:9", Transport(ca_file="/nowhere/ca.pem"))
    with pytest.raises(OSError, match=r"ca\.pem") as caught:
        session.get("https://127.0.0.1:9")
    assert "/nowhere/ca.pem" in reason(caught.value)


LONG = "x" * 6000
TRICKLES = {
    "the status": ("", f"HTTP/1.1 200 {LONG}\r\n\r\n"),
    "a header": ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", f"{LONG}\r\n\r\n"),
    "the body": (f"HTTP/1.1 200 OK\r\nContent-Length: {len(LONG)}\r\n\r\n", LONG),
    "a chunk": (f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{len(LONG):x}\r\n", f"{LONG}\r\n0\r\n\r\n"),
    "a refusal": (f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(LONG)}\r\n\r\n", LONG),
}  # fmt: skip
SHORT = Transport(read_seconds=30, total_seconds=0.3)


@pytest.mark.parametrize("part", TRICKLES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_trickle_ends_with_the_time_for_the_whole_answer(part: str, method: str) -> None:
    with Listener(trickling(*TRICKLES[part])) as server, pytest.raises(requests.RequestException) as caught:
        PinnedSession(server.url, SHORT).request(method, server.url)
    assert reason(caught.value) in ("no answer within the time limit", "no whole answer within the time limit")


def test_a_trickle_ends_while_it_is_read_block_by_block() -> None:
    with Listener(trickling(*TRICKLES["the body"])) as server:
        answer = PinnedSession(server.url, SHORT).get(server.url, stream=True)
        with pytest.raises(requests.RequestException) as caught:
            list(answer.iter_content(1000))
    assert "time limit" in reason(caught.value)


def test_a_trickle_through_tls_ends(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with (
        Listener(trickling(*TRICKLES["the body"])) as behind,
        Listener(tls_front(authority.issue("127.0.0.1"), behind.port)) as server,
    ):
        url = f"https://127.0.0.1:{server.port}"
        transport = Transport(read_seconds=30, total_seconds=1, ca_file=str(authority.ca_file))
        with pytest.raises(requests.RequestException) as caught:
            PinnedSession(url, transport).get(url)
    assert "time limit" in reason(caught.value)


def test_a_web_proxy_that_trickles_its_answer_to_connect_ends() -> None:
    with Listener(trickling("HTTP/1.1 200 ", LONG)) as server:
        transport = Transport(read_seconds=30, total_seconds=0.3, http_proxy=server.url)
        with pytest.raises(requests.RequestException) as caught:
            PinnedSession("https://gitlab.invalid", transport).get("https://gitlab.invalid/")
    assert "time limit" in reason(caught.value)


def test_each_request_of_a_kept_connection_has_the_whole_time() -> None:
    now = [100.0]
    with LoopbackServer(Flaky(broken=0)) as server:
        session = PinnedSession(server.url, Transport())
        session._allowance = Allowance(10, clock=lambda: now[0])
        for _ in range(3):
            assert session.get(server.url).text == "ok"
            now[0] += 60


def test_the_time_for_an_answer_is_four_waits_and_more_for_what_comes_fast_enough() -> None:
    now = [100.0]
    assert Transport(read_seconds=30).allowance.seconds == 120
    left = Allowance(10, slowest=1000, clock=lambda: now[0]).begin()
    now[0] += 9
    assert left.seconds() == 1
    left.came(5000)
    assert left.seconds() == 6
    left.came(10**9)
    assert left.seconds() == 10
    fixed = Allowance(10, clock=lambda: now[0]).begin()
    fixed.came(10**9)
    assert fixed.seconds() == 10


def test_a_large_answer_may_take_longer_than_a_small_one() -> None:
    """A second for each byte: what trickles for longer than the time for an answer is whole in the end."""
    at_once, bytewise = "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", "y" * 200
    with Listener(trickling(at_once, bytewise)) as server:
        slow = Transport(read_seconds=30, total_seconds=3, slowest=1)
        assert PinnedSession(server.url, slow).get(server.url).text == bytewise
        fast = Transport(read_seconds=30, total_seconds=0.5, slowest=10**6)
        with pytest.raises(requests.RequestException):
            PinnedSession(server.url, fast).get(server.url)


@pytest.mark.parametrize("year", ["99999999999999999999", "10000"])
def test_a_date_that_no_clock_shows_is_no_wish(year: str) -> None:
    now, odd = datetime(2026, 11, 28, tzinfo=UTC), f"Mon, 01 Jan {year} 00:00:00 GMT"
    assert wait_seconds({"Retry-After": odd}, now) is None
    assert wait_seconds({"Retry-After": "5", "Date": odd}, now) == 5.0
