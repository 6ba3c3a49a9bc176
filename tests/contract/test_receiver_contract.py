"""What every receiver does, the fake and the real one over HTTP; and what only the real one can get wrong."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest
import requests
from pydantic import SecretStr
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from app.adapters.receiver import HttpReceiver, ReceiverOptions
from app.domain.errors import SyncError
from app.domain.notice_forms import Notice, chat, webhook
from app.domain.notify import Event
from app.services.notify import Receiver as ReceiverPort
from tests.contract.fake_receiver import FakeReceiver
from tests.sandbox.receiver import Receiver

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BASE = "https://modsync.corp.example"
NOTICE = Notice("n0000000000000000001", Event.TEST, "", 0, (), datetime(2026, 11, 22, 12, tzinfo=UTC))


class Side(Protocol):
    """A receiver, and the hand that sets its answers."""

    port: ReceiverPort

    def answer(self, status: int, retry_after: float | None = None) -> None: ...
    def ids(self) -> list[str]: ...


class FakeSide:
    def __init__(self) -> None:
        self.fake = FakeReceiver()
        self.port: ReceiverPort = self.fake

    def answer(self, status: int, retry_after: float | None = None) -> None:
        self.fake.answer(status, retry_after)

    def ids(self) -> list[str]:
        return self.fake.tried


class RealSide:
    def __init__(self, server: Receiver) -> None:
        self.server = server
        self.port: ReceiverPort = made(server)

    def answer(self, status: int, retry_after: float | None = None) -> None:
        if status == 0:
            self.port = made(self.server, url=f"http://127.0.0.1:{free_port()}/very-secret-place")
            return
        headers = {} if retry_after is None else {"Retry-After": str(int(retry_after))}
        self.server.answers.append((status, f"no: {self.server.url} {SECRET}", headers))

    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.server.got]


def made(server: Receiver, **more: Any) -> HttpReceiver:
    given = {"url": server.url, "form": webhook, "secret": SecretStr(SECRET), **more}
    given["url"] = SecretStr(str(given["url"]))
    return HttpReceiver(ReceiverOptions(name="on-call", base_url=BASE, **given))


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture(params=["fake", "real"])
def side(request: pytest.FixtureRequest) -> Side:
    return FakeSide() if request.param == "fake" else RealSide(request.getfixturevalue("server"))


def now() -> datetime:
    return datetime.now(UTC)


def test_a_message_is_taken(side: Side) -> None:
    assert side.port.send(NOTICE, now()) == "HTTP 200 OK: ok"
    assert side.ids() == [NOTICE.id]


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "receiver_refused"), (404, "receiver_refused"), (302, "receiver_refused"), (410, "receiver_gone"),
     (0, "receiver_unreachable")],
)  # fmt: skip
def test_why_a_message_is_not_taken(side: Side, status: int, code: str) -> None:
    side.answer(status)
    with pytest.raises(SyncError) as caught:
        side.port.send(NOTICE, now())
    assert caught.value.code == code
    assert "127.0.0.1" in caught.value.message
    assert not [each for each in ("very-secret-place", SECRET, SECRET[6:]) if each in caught.value.message]


def test_the_wish_to_be_left_alone_is_told(side: Side) -> None:
    side.answer(429, 77)
    with pytest.raises(SyncError) as caught:
        side.port.send(NOTICE, now())
    assert (caught.value.code, caught.value.retry_after) == ("receiver_refused", 77)


def test_the_official_library_verifies_it(server: Receiver) -> None:
    made(server).send(NOTICE, now())
    (got,) = server.got
    body = Webhook(SECRET).verify(got.body, got.headers)
    assert (body["type"], body["data"]["id"]) == ("modsync.test", got.headers["webhook-id"])
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body + b" ", got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body, {**got.headers, "webhook-id": "n1"})
    made(server).send(NOTICE, now() - timedelta(hours=1))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(server.got[1].body, server.got[1].headers)


def test_a_chat_gets_no_signature_and_its_own_form(server: Receiver) -> None:
    made(server, form=chat, secret=None).send(NOTICE, now())
    (got,) = server.got
    assert not [name for name in got.headers if name.startswith("webhook-")]
    assert set(json.loads(got.body)) == {"text", "attachments"}


def test_a_redirect_takes_nothing_elsewhere(server: Receiver) -> None:
    with Receiver() as other:
        server.answers.append((307, "", {"Location": other.url}))
        with pytest.raises(SyncError, match="307"):
            made(server).send(NOTICE, now())
        assert other.got == []


def test_the_environments_proxy_is_not_asked(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert "200" in made(server).send(NOTICE, now())


def test_the_configured_proxy_is_asked(server: Receiver) -> None:
    with Receiver() as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        made(server, http_proxy=address).send(NOTICE, now())
        assert (len(proxy.got), len(server.got)) == (1, 0)


@pytest.mark.parametrize("how", ["hang", "trickle"])
def test_one_that_does_not_come_to_an_end_is_left(server: Receiver, how: str) -> None:
    getattr(server, how).set()
    receiver = made(server, read_seconds=30.0, total_seconds=0.5)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(SyncError, match="no whole answer within"):
            receiver.send(NOTICE, now())
        assert time.monotonic() - began < 10
    with pytest.raises(SyncError, match="still holds up 3 earlier"):
        receiver.send(NOTICE, now())
    assert len(server.got) == 3


def test_a_silent_one_is_left_by_the_sockets_own_limit(server: Receiver) -> None:
    server.hang.set()
    with pytest.raises(SyncError, match="no answer within the time limit"):
        made(server, read_seconds=0.3).send(NOTICE, now())


def test_a_long_answer_is_not_read_to_its_end(server: Receiver) -> None:
    server.answers.append((200, "x" * 5_000_000, {}))
    assert len(made(server).send(NOTICE, now())) < 300


@pytest.mark.parametrize(
    "said", ["no /hooks/T0-Key+1=x here", "T0-Key+1=x", "T0-Key%2B1%3Dx", "for qu/Value-9", "qu%2FValue-9"]
)
def test_a_part_of_the_address_that_is_repeated_is_hidden(server: Receiver, said: str) -> None:
    server.answers += [(403, said, {}), (200, said, {})]
    receiver = made(
        server, url=f"http://127.0.0.1:{server.port}/v1/hooks/T0-Key%2B1%3Dx?to=qu%2FValue-9&a=b", form=chat
    )
    with pytest.raises(SyncError) as caught:
        receiver.send(NOTICE, now())
    for told in (caught.value.message, receiver.send(NOTICE, now())):
        assert "***" in told
        assert not [each for each in ("T0-Key", "Value-9") if each in told]


BODIES = {
    "garbled": "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    "broken chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
    "cut off": "Content-Length: 100\r\n\r\nok",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_status_says_whether_it_was_taken_whatever_its_body_is(body: str) -> None:
    with raw_server(f"HTTP/1.1 200 OK\r\n{body}") as url:
        assert plain(url).send(NOTICE, now()).startswith("HTTP 200 OK")
    with raw_server(f"HTTP/1.1 429 X\r\nRetry-After: 7\r\n{body}") as url, pytest.raises(SyncError) as caught:
        plain(url).send(NOTICE, now())
    assert (caught.value.code, caught.value.retry_after) == ("receiver_refused", 7)


@pytest.mark.parametrize("limits", [{"read_seconds": 0.3}, {"total_seconds": 0.5}], ids=["socket", "total"])
def test_a_body_that_does_not_come_takes_nothing_back(limits: dict[str, float]) -> None:
    with raw_server("HTTP/1.1 204 No\r\nX: y\r\n\r\n") as url:
        assert plain(url, **limits).send(NOTICE, now()) == "HTTP 204 No Content"
    with raw_server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", stays=True) as url:
        assert plain(url, **limits).send(NOTICE, now()) == "HTTP 200 OK"


def plain(url: str, **limits: Any) -> HttpReceiver:
    return HttpReceiver(ReceiverOptions(name="on-call", base_url=BASE, url=SecretStr(url), form=webhook, **limits))


@contextmanager
def raw_server(answer: str, *, stays: bool = False) -> Iterator[str]:
    """Answers one request with these bytes, then closes; with `stays` only at the end."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as request:
            length = next(int(line.split(b":")[1]) for line in request if line.lower().startswith(b"content-length"))
            while request.readline().strip():
                pass
            request.read(length)
            connection.sendall(answer.encode())
            if stays:
                over.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/T0/very-secret-place"
        finally:
            over.set()
        thread.join(20)


def test_the_tests_own_receiver_is_a_server(server: Receiver) -> None:
    server.answers.append((503, "later", {}))
    assert requests.post(server.url, data=b"x", timeout=5).status_code == 503
