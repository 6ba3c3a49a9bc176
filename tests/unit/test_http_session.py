"""What sessions do with retries, other hosts and the parts of URLs that messages may show."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import requests

from app.adapters.http_session import ForeignHost, PinnedSession, Transport, origin, proxy_secrets, reason, shown_url
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
