"""Answers that come in drips, each within the time limit: the doctor ends, and a long answer that comes steadily is read."""

from collections.abc import Iterator
from pathlib import Path
from socket import socket
from ssl import create_default_context
from threading import Event

import pytest

from app.doctor.observed import Answer
from app.doctor.probe_http import Client
from tests.integration.doctor_world import QUERY
from tests.integration.test_doctor_network import World, network
from tests.sandbox.bad_servers import Listener, head_of, tls_front, trickling

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
DRIPS = {"head": (HEAD, "X-More: " + "z" * 9000), "body": (f"{HEAD}\r\n", "v1.0.0\n" * 9000)}
CHUNK = 8192


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with network(tmp_path) as made:
        yield made


@pytest.mark.parametrize("part", DRIPS)
def test_a_proxy_that_drips(world: World, part: str) -> None:
    machine = world.machine(world.listen(trickling(*DRIPS[part])).url)
    assert machine.codes("--module", QUERY, "--timeout", "0.3") == ["timeout"]


def test_a_proxy_that_drips_over_tls(world: World) -> None:
    drips = world.listen(trickling(*DRIPS["body"]))
    front = world.listen(tls_front(world.authority.issue("localhost"), drips.port))
    machine = world.machine(f"https://localhost:{front.port}")
    assert machine.codes("--module", QUERY, "--timeout", "0.5") == ["timeout"]


def test_a_web_proxy_that_drips(world: World) -> None:
    drips = world.listen(trickling(*DRIPS["head"]))
    machine = world.machine("https://p.corp.example", HTTPS_PROXY=drips.url)
    assert machine.codes("--module", QUERY, "--timeout", "0.3") == ["egress-down"]


def test_a_long_answer_that_comes_steadily_is_read_to_its_end() -> None:
    body = b"x" * CHUNK * 25

    def steady(connection: socket, stopping: Event) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), CHUNK):
            stopping.wait(0.1)
            connection.sendall(body[start : start + CHUNK])

    with Listener(steady) as server:
        answer = Client(create_default_context(), timeout=0.7).fetch(server.url, limit=len(body) + 1)
    assert isinstance(answer, Answer)
    assert answer.body == body
