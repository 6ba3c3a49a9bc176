"""The sandbox's HTTP server and git CGI where clients are rough: compressed, many at once, gone in the middle."""

import gzip
import os
import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.looked_at import named
from tests.sandbox.processes import git_environment, run
from tests.sandbox.repositories import Repositories
from tests.sandbox.serve import LoopbackServer

HEADERS = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": "version=2"}
LARGE = 16_000_000  # more than the pipes and sockets on the way hold


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(GitHttpBackend(tmp_path)) as running:
        yield running


def fetch_body(commit: str) -> bytes:
    """A protocol v2 request for everything that the commit needs."""
    want = f"want {commit}\n"
    return f"0011command=fetch0001{len(want) + 4:04x}{want}0009done\n0000".encode()


def large_repository(root: Path) -> bytes:
    store = Repositories(root)
    store.make_repository("large")
    return fetch_body(store.commit("large", {"blob": os.urandom(LARGE)}, "Large"))


def connect_and_send(server: LoopbackServer, body: bytes, length: int) -> socket.socket:
    head = "".join(f"{name}: {value}\r\n" for name, value in {**HEADERS, "Content-Length": str(length)}.items())
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(f"POST /large.git/git-upload-pack HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body)
    return connection


def git_processes() -> list[psutil.Process]:
    return named("git")


def test_a_compressed_request_reaches_git_as_it_is(server: LoopbackServer, tmp_path: Path) -> None:
    body = gzip.compress(large_repository(tmp_path))
    url = f"{server.url}/large.git/git-upload-pack"
    request = urllib.request.Request(url, body, {**HEADERS, "Content-Encoding": "gzip"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert len(answer.read()) > LARGE


def test_many_clients_at_once(server: LoopbackServer, tmp_path: Path) -> None:
    large_repository(tmp_path)
    command = ["git", "ls-remote", f"{server.url}/large.git"]
    with ThreadPoolExecutor(24) as pool:
        done = list(pool.map(lambda _: run(command, env=git_environment(tmp_path)), range(24)))
    assert {result.returncode for result in done} == {0}


def test_git_ends_when_the_client_leaves_during_the_answer(server: LoopbackServer, tmp_path: Path) -> None:
    body = large_repository(tmp_path)
    with connect_and_send(server, body, len(body)) as connection:
        assert connection.recv(15).startswith(b"HTTP/1.1 200")
        running = git_processes()
        assert running
    assert psutil.wait_procs(running, timeout=20)[1] == []


def test_git_ends_when_the_client_leaves_during_its_request(server: LoopbackServer, tmp_path: Path) -> None:
    body = large_repository(tmp_path)
    with connect_and_send(server, body[:4], len(body)) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    assert psutil.wait_procs(git_processes(), timeout=20)[1] == []


def test_stopping_ends_git_too(server: LoopbackServer, tmp_path: Path) -> None:
    body = large_repository(tmp_path)
    with connect_and_send(server, body, len(body)) as connection:
        assert connection.recv(15).startswith(b"HTTP/1.1 200")
        server.stop()
        assert git_processes() == []


def test_a_taken_port_is_an_error() -> None:
    with LoopbackServer(GitHttpBackend(Path("unused"))) as running, pytest.raises(OSError, match="in use"):
        LoopbackServer(GitHttpBackend(Path("unused")), running.port)
