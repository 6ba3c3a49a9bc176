"""Answers that end in their middle, as content filters and proxies in a hurry give them: what a real `go` makes of each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.doctor_world import MODULE, QUERY
from tests.integration.test_doctor_network import ZIP, World, network
from tests.sandbox.bad_servers import Listener, in_place_of, tls_front
from tests.sandbox.web_proxies import egress

INFO = f"/{MODULE}/@v/v1.0.0.info"
PLAIN = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\n%s\r\n\r\n"


def half(body: bytes, status: bytes = b"200 OK") -> bytes:
    return PLAIN % (status, b"Content-Length: %d" % len(body)) + body[: len(body) // 2]


def chunk(body: bytes) -> bytes:
    """A chunk and no end."""
    return PLAIN % (b"200 OK", b"Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(body), body)


def half_a_chunk(body: bytes) -> bytes:
    return chunk(body)[: -len(body) // 2]


def without_a_length(body: bytes) -> bytes:
    """Where only the end of the connection tells the end, an archive itself must say that something is missing."""
    return PLAIN % (b"200 OK", b"Connection: close") + body[: len(body) // 2]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with network(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "cut", "said", "explained"),
    [
        (ZIP, half, 'read "{url}": unexpected EOF', "connection-cut"),
        (ZIP, chunk, 'read "{url}": unexpected EOF', "connection-cut"),
        (ZIP, half_a_chunk, 'read "{url}": unexpected EOF', "connection-cut"),
        (ZIP, without_a_length, "not a valid zip file", "html-zip"),
        (INFO, half, 'read "{url}": unexpected EOF', "connection-cut"),
    ],
)
def test_an_answer_that_ends_in_its_middle(world: World, path: str, cut: object, said: str, explained: str) -> None:
    assert callable(cut)
    url = world.listen(in_place_of(path, cut(world.good.pages[path][2]), world.port)).url
    machine = world.machine(url)
    output = machine.download()
    assert said.format(url=url + path) in output
    assert machine.codes("--module", QUERY) == ["connection-cut"]
    assert machine.explained(output) == [explained]


def test_of_a_miss_nothing_is_read(world: World) -> None:
    missing = half(b"not found: " + b"x" * 100, b"404 Not Found")
    first = world.listen(in_place_of(INFO, missing, int(world.serve().rpartition(":")[2]))).url
    machine = world.machine(f"{first},http://127.0.0.1:{world.port}")
    done = machine.go("mod", "download", QUERY)
    assert done.returncode == 0, done.stderr.decode()
    assert machine.codes("--module", QUERY) == []


def test_half_a_page_is_enough_that_has_the_go_import(world: World) -> None:
    meta = f'<html><head><meta name="go-import" content="{MODULE} fossil https://git.invalid/x"></head>'.encode()
    web = world.listen(in_place_of("/misc?go-get=1", half(meta + b" " * len(meta)), 0))
    pem = world.authority.issue("go.corp.example")
    tls = world.up.enter_context(Listener(tls_front(pem, web.port)))
    machine = world.machine("direct", HTTPS_PROXY=world.listen(egress(to=tls.port)).url, GOPRIVATE="go.corp.example")
    assert "fossil" in machine.download()
    assert machine.codes("--module", QUERY) == []


def test_a_question_for_the_database_that_is_cut_off(world: World) -> None:
    """As by a filter that knows modules and not this path: go stops at it, and a 404 would let it go on."""
    supported = "/sumdb/sum.golang.org/supported"
    machine = world.machine(world.listen(in_place_of(supported, b"", world.port)).url, GONOSUMDB="")
    output = machine.download()
    assert f'{supported}": EOF' in output
    assert machine.codes("--module", QUERY) == ["sumdb-proxy-error"]
    assert machine.explained(output) == ["sumdb-proxy-error"]
