"""The proxy adapter against servers that are no proxy, deny, lie, break off or have gone."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from pydantic import SecretStr

from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from tests.integration.keep_alive import keep_alive_server
from tests.integration.test_go_info import REFUSED, TAKEN, of_version
from tests.sandbox.bad_servers import Listener, trickling
from tests.sandbox.serve import LoopbackServer

MODULE, VERSION = ModulePath("example.com/x"), Version("v1.0.0")
LOGIN = b"<!DOCTYPE html><title>Log in</title>"
SECRET = "known-proxy-secret"


@dataclass
class Answers:
    """Answers every request with the same, and keeps what it was asked. `missing` bytes of the body are never sent."""

    status: str = "200 OK"
    body: bytes = b'{"Version":"v1.0.0"}'
    headers: list[tuple[str, str]] = field(default_factory=list)
    missing: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.append({key: value for key, value in environ.items() if isinstance(value, str)})
        length = ("Content-Length", str(len(self.body) + self.missing))
        start_response(self.status, [length, *self.headers])
        return self._sent()

    def _sent(self) -> Iterator[bytes]:
        yield self.body
        if self.missing:
            raise ConnectionAbortedError("the rest is withheld")


Ask = Callable[[GoProxyClient], object]


def read_zip(client: GoProxyClient) -> bytes:
    with client.zip(MODULE, VERSION) as file:
        return file.read()


def read_info(client: GoProxyClient) -> object:
    return client.info(MODULE, VERSION)


def read_mod(client: GoProxyClient) -> bytes:
    return client.mod(MODULE, VERSION)


EACH = pytest.mark.parametrize("ask", [read_info, read_mod, read_zip])


def refusal(app: Answers, ask: Ask, directory: Path | None = None, **options: Any) -> SyncError:
    """The error of `ask` when a server answers with `app`."""
    with LoopbackServer(app) as server, pytest.raises(SyncError) as caught:
        ask(GoProxyClient(ProxyOptions("corp", server.url, **options), directory))
    return caught.value


@EACH
@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", "proxy_not_goproxy"),
        ("401 Unauthorized", "proxy_denied"),
        ("403 Forbidden", "proxy_denied"),
        ("404 Not Found", "not_cached_yet"),
        ("405 Method Not Allowed", "proxy_not_goproxy"),
        ("407 Proxy Authentication Required", "proxy_denied"),
        ("408 Request Timeout", "proxy_unreachable"),
        ("410 Gone", "not_cached_yet"),
        ("425 Too Early", "proxy_unreachable"),
        ("429 Too Many Requests", "proxy_unreachable"),
        ("500 Internal Server Error", "proxy_unreachable"),
        ("504 Gateway Timeout", "proxy_unreachable"),
        ("206 Partial Content", "proxy_not_goproxy"),
    ],
)
def test_each_status_has_its_code(ask: Ask, status: str, code: str) -> None:
    error = refusal(Answers(status, b"some reason"), ask)
    assert error.code == code
    assert "corp" in error.message
    assert f"{MODULE}@{VERSION}: {status[:3]}, some reason" in error.message


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_the_wish_to_wait_is_passed_on(status: str) -> None:
    error = refusal(Answers(status, headers=[("Retry-After", "21")]), read_info)
    assert (error.code, error.retry_after) == ("proxy_unreachable", 21.0)


@EACH
def test_a_redirect_is_named_and_not_followed(ask: Ask) -> None:
    stranger = Answers()
    with LoopbackServer(stranger) as elsewhere:
        place = f"{elsewhere.url}/login?SAMLRequest=abc"
        error = refusal(Answers("302 Found", b"", [("Location", place)]), ask, token=SecretStr(SECRET))
    assert error.code == "proxy_not_goproxy"
    assert f"{elsewhere.url}/login, which modsync does not follow" in error.message
    assert "SAMLRequest" not in error.message
    assert stranger.asked == []


@EACH
def test_a_login_page_is_no_proxy(ask: Ask) -> None:
    error = refusal(Answers(body=LOGIN, headers=[("Content-Type", "text/html")]), ask)
    assert (error.code, "HTML page" in error.message) == ("proxy_not_goproxy", True)


def test_a_page_for_not_found_is_said_to_be_one() -> None:
    assert "404, an HTML page" in refusal(Answers("404 Not Found", LOGIN), read_info).message


@pytest.mark.parametrize(
    "shown",
    [
        b"",
        b"v1.0.0",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"Time":"2026-03-01T12:00:00Z"}',
        b'{"Version":""}',
        b'{"Version":1}',
        b'{"Version":"v1.0.0","Time":5}',
        b'{"Version":"v1.0.0","Origin":"git"}',
        b'{"Version":"v1.0.0","Origin":{"Hash":["x"]}}',
    ],
)
def test_an_info_of_another_shape(shown: bytes) -> None:
    assert refusal(Answers(body=shown), read_info).code == "proxy_not_goproxy"


@pytest.mark.parametrize("shown", REFUSED.values(), ids=REFUSED)
def test_an_info_that_go_refuses(shown: bytes) -> None:
    assert refusal(Answers(body=of_version(shown, VERSION.text)), read_info).code == "proxy_not_goproxy"


@pytest.mark.parametrize("shown", TAKEN.values(), ids=TAKEN)
def test_an_info_that_go_takes(shown: bytes) -> None:
    with LoopbackServer(Answers(body=of_version(shown, VERSION.text))) as server:
        assert GoProxyClient(ProxyOptions("corp", server.url)).info(MODULE, VERSION).version == VERSION.text


@pytest.mark.parametrize("extra", [{}, {"Origin": None, "Time": None}, {"Origin": {}}, {"Origin": {"Hash": ""}}])
def test_an_info_may_say_less_or_more(extra: dict[str, Any]) -> None:
    shown = json.dumps({"Version": "v1.0.0", "Short": "abc", **extra}).encode()
    with LoopbackServer(Answers(body=shown)) as server:
        info = GoProxyClient(ProxyOptions("corp", server.url)).info(MODULE, VERSION)
    assert (info.version, info.time, info.commit) == ("v1.0.0", None, None)


@EACH
def test_a_truncated_answer_is_noticed(ask: Ask) -> None:
    error = refusal(Answers(body=b"PK" * 1000, missing=10), ask)
    assert (error.code, "cut off" in error.message) == ("proxy_unreachable", True)


LATE = "z" * 6000
DRIPS = {
    "answer": ("", f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {LATE}\r\n\r\n"),
    "body": (f"HTTP/1.1 200 OK\r\nContent-Length: {len(LATE)}\r\n\r\n", LATE),
    "refusal": (f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(LATE)}\r\n\r\n", LATE),
}


@EACH
@pytest.mark.parametrize("part", DRIPS)
def test_a_proxy_that_drips_holds_nobody_for_long(ask: Ask, part: str) -> None:
    with Listener(trickling(*DRIPS[part])) as server, pytest.raises(SyncError) as caught:
        ask(GoProxyClient(ProxyOptions("corp", server.url, total_seconds=0.3)))
    assert (caught.value.code, "time limit" in caught.value.message) == ("proxy_unreachable", True)


def test_a_large_zip_over_a_slow_line_comes_whole() -> None:
    """It takes longer than an answer may, and comes faster than a trickle."""
    with Listener(trickling("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", "z" * 200)) as server:
        client = GoProxyClient(ProxyOptions("corp", server.url, total_seconds=2, slowest=5))
        assert len(read_zip(client)) == 200


def test_a_zip_that_begins_fast_and_then_trickles_ends() -> None:
    """What came fast is no credit for hours."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {64 * 1024 + 9000}\r\n\r\n{'z' * 65536}"
    with Listener(trickling(head, "z" * 9000)) as server:
        client = GoProxyClient(ProxyOptions("corp", server.url, total_seconds=0.5, slowest=1024))
        with pytest.raises(SyncError, match="time limit"):
            read_zip(client)


@EACH
def test_nobody_listens(ask: Ask) -> None:
    with LoopbackServer(Answers()) as server:
        url = server.url
        server.stop()
        with pytest.raises(SyncError) as caught:
            ask(GoProxyClient(ProxyOptions("corp", url)))
    assert (caught.value.code, "refused" in caught.value.message) == ("proxy_unreachable", True)


@pytest.mark.parametrize(
    ("ask", "limit", "code"),
    [
        (read_info, "max_info", "proxy_not_goproxy"),
        (read_mod, "max_mod", "proxy_not_goproxy"),
        (read_zip, "max_zip", "zip_not_a_module"),
    ],
)
def test_an_answer_that_is_too_large(ask: Ask, limit: str, code: str) -> None:
    with LoopbackServer(Answers(body=b'{"Version":"v1.0.0"}')) as server:
        ask(GoProxyClient(ProxyOptions("corp", server.url, **{limit: 20})))  # type: ignore[arg-type]
    error = refusal(Answers(body=b'{"Version":"v1.0.00"}'), ask, None, **{limit: 20})
    assert (error.code, "more than 20 bytes" in error.message) == (code, True)


def test_the_zip_is_in_the_given_directory_and_then_gone(tmp_path: Path) -> None:
    with LoopbackServer(Answers(body=b"PK" * 1_000_000)) as server:
        with GoProxyClient(ProxyOptions("corp", server.url), tmp_path).zip(MODULE, VERSION) as file:
            place = Path(f"/proc/self/fd/{file.fileno()}").readlink()
        assert place.is_relative_to(tmp_path)
        assert file.closed
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_fails_leaves_no_file(tmp_path: Path) -> None:
    seen: list[BinaryIO] = []

    def failing_read(client: GoProxyClient) -> None:
        with client.zip(MODULE, VERSION) as file:
            seen.append(file)
            raise RuntimeError("by the reader")

    with LoopbackServer(Answers(body=b"PK")) as server, pytest.raises(RuntimeError, match="by the reader"):
        failing_read(GoProxyClient(ProxyOptions("corp", server.url), tmp_path))
    assert seen[0].closed
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_leaves_no_file(tmp_path: Path) -> None:
    assert refusal(Answers(body=b"PK" * 1000, missing=1), read_zip, tmp_path).code == "proxy_unreachable"
    assert list(tmp_path.iterdir()) == []


def test_a_download_ends_when_the_disk_fills_up_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [1002]

    def falling(_place: object) -> SimpleNamespace:
        left[0] -= 1
        return SimpleNamespace(free=left[0])

    monkeypatch.setattr("shutil.disk_usage", falling)
    error = refusal(Answers(body=b"x" * 500_000), read_zip, tmp_path, min_free=1000)
    assert (error.code, left) == ("disk_full", [999])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_its_own_error() -> None:
    class Full:
        def write(self, _block: bytes) -> int:
            with Path("/dev/full").open("wb", buffering=0) as device:
                return device.write(b"x") or 0

    with LoopbackServer(Answers(body=b"PK")) as server:
        client = GoProxyClient(ProxyOptions("corp", server.url))
        with pytest.raises(SyncError) as caught:
            client._download(client._file(MODULE, VERSION, "zip"), Full(), lambda: None)  # type: ignore[arg-type]
    assert caught.value.code == "disk_full"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, None),
        ({"token": SecretStr(f" {SECRET}\n")}, f"Bearer {SECRET}"),
        (
            {"username": "jörg", "password": SecretStr("ß:1")},
            "Basic " + base64.b64encode("jörg:ß:1".encode()).decode(),
        ),
    ],
)
def test_the_credentials_are_sent_as_configured(options: dict[str, Any], wanted: str | None) -> None:
    app = Answers()
    with LoopbackServer(app) as server:
        GoProxyClient(ProxyOptions("corp", server.url, **options)).info(MODULE, VERSION)
    assert app.asked[0].get("HTTP_AUTHORIZATION") == wanted
    assert app.asked[0]["HTTP_USER_AGENT"].startswith("modsync/")


@pytest.mark.parametrize("before", range(175, 205, 5))
def test_of_a_secret_that_is_cut_off_no_part_stays(before: int) -> None:
    app = Answers("500 Internal Server Error", b"x" * before + SECRET.encode() + b" and more")
    error = refusal(app, read_info, token=SecretStr(SECRET))
    assert not any(SECRET[:size] in error.message for size in range(6, len(SECRET)))


@pytest.mark.parametrize("options", [{"token": SecretStr(SECRET)}, {"username": "u", "password": SecretStr(SECRET)}])
def test_the_credentials_are_in_no_exception(options: dict[str, Any]) -> None:
    def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("403 Forbidden", [])
        return [f"no: {environ['HTTP_AUTHORIZATION']} {SECRET}".encode()]

    with LoopbackServer(echo) as server, pytest.raises(SyncError) as caught:
        GoProxyClient(ProxyOptions("corp", server.url, **options)).info(MODULE, VERSION)
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
    assert "no:" in said
    assert SECRET not in said
    assert base64.b64encode(f"u:{SECRET}".encode()).decode() not in said
    assert SECRET not in repr(ProxyOptions("corp", "http://x", **options))


def test_a_company_proxy_that_wants_a_login_denies() -> None:
    with LoopbackServer(Answers("407 Proxy Authentication Required", b"")) as company:
        client = GoProxyClient(ProxyOptions("corp", "https://goproxy.invalid", http_proxy=company.url))
        with pytest.raises(SyncError) as caught:
            client.info(MODULE, VERSION)
    assert (caught.value.code, "407" in caught.value.message) == ("proxy_denied", True)


def test_connections_are_kept_and_not_shared_with_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with keep_alive_server(b'{"Version":"v1.0.0"}') as (url, ports):
        client = GoProxyClient(ProxyOptions("corp", url))
        for _ in range(2):
            client.info(MODULE, VERSION)
        monkeypatch.setattr("os.getpid", lambda: -1)
        client.info(MODULE, VERSION)
        client.close()
        client.info(MODULE, VERSION)
    assert ports[0] == ports[1]
    assert len(set(ports)) == 3
