"""A few refs by one request: only those that were asked for come, and whatever is not right is left to git itself."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from pydantic import SecretStr

from app.adapters import git_resolve
from app.adapters.git import Credential
from app.adapters.git_errors import Side
from app.adapters.git_ls_refs import LoginRefusedError, _lines, ls_refs
from app.domain.errors import SyncError
from app.domain.refs import TagAt
from tests.integration.git_world import MIRROR, SOURCE, TOKEN, World, credential, nothing, status
from tests.sandbox.bad_servers import Listener, trickling
from tests.sandbox.world import free_port

_RESULT = ("Content-Type", "application/x-git-upload-pack-result")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


def asked(world: World, *prefixes: str, name: str = SOURCE) -> dict[str, str] | None:
    return ls_refs(world.url(name), prefixes, None, ca_file=None, seconds=20)


def test_one_request_brings_what_begins_so_and_nothing_else(world: World) -> None:
    commit, tag = world.release("v1.0.0", annotated=True)
    for number in range(1, 20):
        world.release(f"v1.{number}.0")
    assert asked(world, "refs/tags/v1.0.0") == {"refs/tags/v1.0.0": tag, "refs/tags/v1.0.0^{}": commit}
    assert [path for path, _ in world.front.seen] == [f"/{SOURCE}.git/git-upload-pack"]
    assert len(asked(world, "refs/tags/") or {}) == 21
    assert asked(world, "refs/tags/none") == {}
    assert asked(world, name=MIRROR) == {}


def test_the_door_needs_no_process_for_named_refs(world: World) -> None:
    commit, tag = world.release("v1.0.0", annotated=True)
    world.release("v1.0.00")  # begins so, and is another one
    found = world.door().remote_refs(world.url(SOURCE), ["refs/tags/v1.0.0", "refs/heads/none"], nothing)
    assert found == {"refs/tags/v1.0.0": TagAt(tag, commit)}
    assert [path.rpartition("/")[2] for path, _ in world.front.seen] == ["git-upload-pack"]


def test_the_credential_is_sent(world: World) -> None:
    world.release("v1.0.0")
    world.front.wants_token = ("/",)
    assert asked(world, "refs/tags/") is None  # git reads some hosts in another way, without POST
    with pytest.raises(LoginRefusedError, match="could not read Username"):
        ls_refs(world.url(SOURCE), ["refs/tags/"], Credential("x", SecretStr("no")), ca_file=None, seconds=20)
    given = ls_refs(world.url(SOURCE), ["refs/tags/"], credential(), ca_file=None, seconds=20)
    assert list(given or {}) == ["refs/tags/v1.0.0"]
    assert TOKEN not in str(given)


@pytest.mark.parametrize(
    "answer",
    [
        status("404 Not Found"),
        status("200 OK", body=b"<html>please log in</html>"),
        status("302 Found", ("Location", "http://127.0.0.1:9/elsewhere")),
        status("200 OK", _RESULT, body=b""),
        status("200 OK", _RESULT, body=b"0000trailing"),
        status("200 OK", _RESULT, body=b"003e" + b"a" * 40 + b" refs/tags/v1.0.0\n"),
        status("200 OK", _RESULT, body=b"0009oops\n0000"),
        status("200 OK", _RESULT, body=b"00010000"),
    ],
    ids=["missing", "login page", "redirect", "empty", "trailing", "cut", "no object", "delimiter"],
)
def test_any_other_answer_is_left_to_git(world: World, answer: object) -> None:
    world.release("v1.0.0")
    world.front.answers[f"/{SOURCE}.git/git-upload-pack"] = answer  # type: ignore[assignment]
    assert asked(world, "refs/tags/") is None


@pytest.mark.parametrize("side", ["source", "mirror"])
@pytest.mark.parametrize(
    "answer",
    [
        status("401 Unauthorized", ("WWW-Authenticate", 'Basic realm="GitLab"'), body=b"HTTP Basic: Access denied"),
        status("401 Unauthorized", ("Content-Type", "text/plain"), body=b"Forbidden"),
    ],
    ids=["basic", "bare"],
)
def test_a_refused_login_is_not_tried_again_by_git_and_is_the_error_that_git_would_be(
    world: World, side: Side, answer: object
) -> None:
    """Of failed logins a GitLab counts thirty."""
    world.front.answers["/"] = answer  # type: ignore[assignment]
    heard: list[str] = []

    def refused(_url: str, error: SyncError) -> SyncError:
        heard.append(str(error))
        return error

    door, url = world.door(lambda _: credential(), refused=refused), world.url(MIRROR)
    with pytest.raises(SyncError) as short:
        door.remote_refs(url, ["refs/tags/v1.0.0"], nothing, side=side)
    assert [path for path, _ in world.front.seen] == [f"/{MIRROR}.git/git-upload-pack"]
    with pytest.raises(SyncError) as gits:
        door.remote_refs(url, [], nothing, side=side)
    assert len(world.front.seen) > 1
    assert str(short.value) == str(gits.value)
    assert heard == [str(short.value)] * 2
    assert TOKEN not in heard[0]


def _files(root: Path) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = root / str(environ["PATH_INFO"]).lstrip("/")
        one = status("200 OK", body=path.read_bytes()) if path.is_file() else status("404 Not Found")
        return one(environ, start_response)

    return answer


def test_a_host_that_wants_a_login_for_post_alone_is_read_by_git(world: World) -> None:
    """A public repository as plain files: nobody sent a login, so none was refused."""
    world.release("v1.0.0")
    world.git(SOURCE, "update-server-info")
    world.front.answers[f"/{SOURCE}.git/git-upload-pack"] = status("401 Unauthorized")
    world.front.answers["/"] = _files(world.repositories.directory)
    door = world.door(lambda _: None)
    assert list(door.remote_refs(world.url(SOURCE), ["refs/tags/v1.0.0"], nothing, side="source")) == [
        "refs/tags/v1.0.0"
    ]


def test_an_answer_that_trickles_is_left_to_git() -> None:
    """Each byte in time, and the whole never."""
    head = f"HTTP/1.1 200 OK\r\n{_RESULT[0]}: {_RESULT[1]}\r\nContent-Length: 9000\r\n\r\n"
    with Listener(trickling(head, "0" * 9000)) as server:
        assert ls_refs(f"{server.url}/x.git", ["refs/tags/"], None, ca_file=None, seconds=0.5) is None


def test_a_server_that_is_away_is_left_to_git(world: World) -> None:
    world.server.stop()
    assert asked(world, "refs/tags/") is None


def test_git_asks_where_the_short_way_is_closed(world: World) -> None:
    commit, tag = world.release("v1.0.0", annotated=True)
    refusals = [status("500 Internal Server Error")]
    whole = world.front._git
    post = f"/{SOURCE}.git/git-upload-pack"

    def once(environ, start_response):  # type: ignore[no-untyped-def]
        return refusals.pop()(environ, start_response) if refusals else whole(environ, start_response)

    world.front.answers[post] = once
    assert world.door().remote_refs(world.url(SOURCE), ["refs/tags/v1.0.0"], nothing) == {
        "refs/tags/v1.0.0": TagAt(tag, commit)
    }
    assert refusals == []


# --- at addresses that were looked up before ----------------------------------------------------------------------

NAME = "git.corp.example"  # nobody knows it: it can be reached by its addresses only


def test_a_host_is_asked_at_its_addresses_by_its_name(world: World) -> None:
    world.release("v1.0.0")
    url = world.url(SOURCE).replace("127.0.0.1", NAME)
    for addresses in (["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]):  # nobody listens at the second
        found = ls_refs(url, ["refs/tags/"], None, ca_file=None, seconds=20, addresses=addresses)
        assert list(found or {}) == ["refs/tags/v1.0.0"]
    assert ls_refs(url, ["refs/tags/"], None, ca_file=None, seconds=20, addresses=["127.0.0.2"]) is None


class OneAddress:
    """A resolver whose every name stands for this machine."""

    def addresses(self, host: str, port: int) -> list[str]:
        assert (host, port > 0) == (NAME, True)
        return ["127.0.0.1"]


def test_a_pinned_source_needs_no_process_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_resolve, "is_inside", lambda _: False)
    commit, _ = world.release("v1.0.0")
    url, door = world.url(SOURCE).replace("127.0.0.1", NAME), world.door(resolver=OneAddress())
    assert door.remote_refs(url, ["refs/tags/*"], nothing, side="source") == {"refs/tags/v1.0.0": TagAt(commit, commit)}
    assert [path.rpartition("/")[2] for path, _ in world.front.seen] == ["git-upload-pack"]


def test_a_source_on_this_machine_is_refused_before_anybody_is_asked(world: World) -> None:
    door = world.door(resolver=OneAddress())
    with pytest.raises(SyncError, match="clone_url_refused"):
        door.remote_refs(world.url(SOURCE).replace("127.0.0.1", NAME), ["refs/tags/*"], nothing, side="source")
    assert world.front.seen == []


@pytest.mark.parametrize(("name", "believed"), [(NAME, True), ("other.corp.example", False)])
def test_a_certificate_has_to_be_the_names(tmp_path: Path, name: str, believed: bool) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", tmp_path / "key",
         "-out", tmp_path / "ca"],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(tmp_path / "ca", tmp_path / "key")
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://{NAME}:{server.server_port}/x.git"
        found = ls_refs(url, ["refs/"], None, ca_file=tmp_path / "ca", seconds=20, addresses=["127.0.0.1"])
        server.shutdown()
    assert found == ({"refs/tags/v1": "a" * 40} if believed else None)


class Answering(BaseHTTPRequestHandler):
    """A git server with one tag."""

    def do_POST(self) -> None:
        line = b"a" * 40 + b" refs/tags/v1\n"
        body = b"%04x" % (len(line) + 4) + line + b"0000"
        self.send_response(200)
        self.send_header(*_RESULT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_very_many_lines_are_read_once() -> None:
    """Not what is left of them for each; something behind the end is no answer of git's."""
    line = b"0009aa r\n"
    began = time.process_time()
    assert sum(1 for _ in _lines(line * 200_000 + b"0000")) == 200_000
    assert time.process_time() - began < 5
    for odd in (b"", line, line + b"000", line + b"0000" + line, line + b"00000000"):
        with pytest.raises(ValueError):
            list(_lines(odd))


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
def test_a_proxy_of_the_environment_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It would look the name up again, past what was checked."""
    commit, _ = world.release("v1.0.0")
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with world.door().source(world.url(SOURCE), nothing) as copy:
        at = copy.fetch(["v1.0.0"], [])["v1.0.0"]
        assert isinstance(at, TagAt)
        assert at.commit == commit
