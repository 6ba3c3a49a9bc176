"""`modsync` against servers that answer badly, not at all, or in somebody else's name: what it says, and its exit status."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.adapters.api_session import ApiSession, Server
from app.adapters.operator_http import HttpOperator
from app.cli_output import exit_status
from app.cli_remote import server_of
from app.config_models import ConfigError
from app.domain.errors import SyncError
from tests.integration.cli_world import MODSYNC, TIMEOUT, Result
from tests.sandbox.bad_servers import Authority, Handler, Listener, answering, cutting, hanging, tls_front

TOKEN = "mst_" + "t" * 43
EMPTY = json.dumps({"runs": [], "next_cursor": None, "links": {"next": None}})


def http(status: str, body: str, *headers: str, kind: str = "application/json") -> Handler:
    """A server that says this to everything."""
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return answering("\r\n".join([*head, "", body]))


def error(code: str, message: str = "said so") -> str:
    return json.dumps({"error": {"code": code, "message": message, "advice": "Do that.", "retry": False}})


def asked(url: str, **more: float | str) -> HttpOperator:
    return HttpOperator(ApiSession(Server(url, SecretStr(TOKEN), **more)))  # type: ignore[arg-type]


def refused(ask: Callable[[], object]) -> tuple[SyncError, int]:
    with pytest.raises(SyncError) as caught:
        ask()
    return caught.value, exit_status(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "exits"),
    [
        ("401 Unauthorized", "unauthorized", 5), ("403 Forbidden", "forbidden_role", 5), ("404 Not Found", "not_found", 1),
        ("409 Conflict", "still_running", 1), ("422 Unprocessable", "bad_request", 2), ("500 Oh", "internal", 4),
        ("429 Many", "too_many_attempts", 4), ("503 Unavailable", "store_unavailable", 4), ("418 Pot", "new_code", 1),
    ],
)  # fmt: skip
def test_the_servers_own_words_and_advice_are_passed_on(status: str, code: str, exits: int) -> None:
    with Listener(http(status, error(code), "Retry-After: 7")) as server:
        said, status_ = refused(lambda: asked(server.url).runs({}, None, 1))
    waits = " (wait 7 s)" if status[:3] in ("429", "503") else ""
    assert (said.code, said.message, said.advice, status_) == (code, f"said so{waits}", "Do that.", exits)


@pytest.mark.parametrize(
    ("handler", "code", "words"),
    [
        (
            http("302 Found", "", "Location: https://sso.corp.example/login?from=x"),
            "server_wrong",
            "sso.corp.example/login:",
        ),
        (http("200 OK", "<html>Sign in</html>", kind="text/html"), "server_wrong", "text/html: a login page?"),
        (http("200 OK", "[1]"), "server_wrong", "not understood"),
        (http("200 OK", '{"runs": [{"id": 7}], "next_cursor": null}'), "server_wrong", "items.0.id: "),
        (http("403 Forbidden", "<html>", kind="text/html"), "server_wrong", "HTTP 403, and not as modsync does"),
        (http("404 Not Found", '{"error": "no such page"}'), "server_wrong", "HTTP 404"),
        (http("502 Bad Gateway", "<html>", kind="text/html"), "server_unreachable", "answers HTTP 502"),
        (cutting, "server_unreachable", "does not answer"),
    ],
)
def test_what_is_not_modsync_is_named(handler: Handler, code: str, words: str) -> None:
    with Listener(handler) as server:
        said, status = refused(lambda: asked(server.url).runs({}, None, 1))
    assert (said.code, status) == (code, 4)
    assert words in said.message
    assert TOKEN not in str(said)
    assert "from=x" not in said.message


def test_a_server_that_hangs_is_left(tmp_path: Path) -> None:
    with Listener(hanging) as server:
        said, status = refused(lambda: asked(server.url, timeout_seconds=0.3).runs({}, None, 1))
    assert (said.code, said.message.rpartition(": ")[2], status) == (
        "server_unreachable", "no answer within the time limit", 4,
    )  # fmt: skip


def test_only_what_changes_nothing_is_asked_again() -> None:
    seen: list[str] = []

    def first_cut(connection: socket.socket, _stopping: object) -> None:
        seen.append(connection.recv(65536).decode().split()[0])
        if len(seen) > 1:
            answer = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(EMPTY)}\r\n\r\n{EMPTY}"
            connection.sendall(answer.encode())

    with Listener(first_cut) as server:
        assert asked(server.url).runs({}, None, 1).items == ()
        assert seen == ["GET", "GET"]
        seen.clear()
        assert refused(lambda: asked(server.url).cancel("r" + "0" * 19))[0].code == "server_unreachable"
        assert seen == ["POST"]


def test_a_company_ca_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with (
        Listener(http("200 OK", EMPTY)) as plain,
        Listener(tls_front(authority.issue("127.0.0.1"), plain.port)) as front,
    ):
        url = f"https://127.0.0.1:{front.port}"
        said, status = refused(lambda: asked(url).runs({}, None, 1))
        assert (said.code, status) == ("server_unreachable", 4)
        assert "certificate" in said.message
        assert "MODSYNC_CA_FILE" in said.advice
        assert asked(url, ca_file=str(authority.ca_file)).runs({}, None, 1).items == ()


def test_the_environments_proxy_is_used_and_no_proxy_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def proxy(connection: socket.socket, _stopping: object) -> None:
        seen.append(connection.recv(65536).decode().splitlines()[0])
        connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with Listener(proxy) as egress_, Listener(http("200 OK", EMPTY)) as server:
        monkeypatch.setenv("http_proxy", egress_.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert asked(server.url).runs({}, None, 1).items == ()
        monkeypatch.delenv("no_proxy")
        assert refused(lambda: asked("http://modsync.corp.example").runs({}, None, 1))[0].code == "server_unreachable"
    assert len(seen) == 1
    assert seen[0].startswith("GET http://modsync.corp.example/api/runs")


def test_a_path_before_the_api_is_kept() -> None:
    seen: list[str] = []

    def look(connection: socket.socket, _stopping: object) -> None:
        seen.append(connection.recv(65536).decode().split()[1])
        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    with Listener(look) as server:
        found = server_of({"MODSYNC_URL": f"{server.url}/tools/modsync/", "MODSYNC_TOKEN": TOKEN})
        refused(lambda: HttpOperator(ApiSession(found)).run("r" + "0" * 19))
    assert seen == ["/tools/modsync/api/runs/r" + "0" * 19]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"MODSYNC_URL": "modsync.corp.example"}, "MODSYNC_URL: is not an address"),
        ({"MODSYNC_URL": "https://modsync.corp.example:x"}, "MODSYNC_URL: is not an address"),
        ({"MODSYNC_URL": "https://me:secret@modsync.corp.example"}, "MODSYNC_URL: holds more than"),
        ({"MODSYNC_TOKEN": ""}, "MODSYNC_TOKEN: is not set, and neither is MODSYNC_TOKEN_FILE"),
        ({"MODSYNC_TOKEN": "two words"}, "MODSYNC_TOKEN: holds characters"),
        ({"MODSYNC_TOKEN": "", "MODSYNC_TOKEN_FILE": "/nonexistent"}, "MODSYNC_TOKEN_FILE: cannot be read"),
        ({"MODSYNC_CA_FILE": "/nonexistent"}, "MODSYNC_CA_FILE: names no file"),
        ({"SSL_CERT_FILE": "/nonexistent"}, "SSL_CERT_FILE: names no file"),
        ({"MODSYNC_TIMEOUT": "soon"}, "MODSYNC_TIMEOUT: is no number of seconds"),
        ({"MODSYNC_TIMEOUT": "nan"}, "MODSYNC_TIMEOUT: is no number of seconds"),
    ],
)
def test_a_wrong_environment_is_told_without_the_token(given: dict[str, str], problem: str) -> None:
    usual = {"MODSYNC_URL": "https://modsync.corp.example", "MODSYNC_TOKEN": TOKEN}
    with pytest.raises(ConfigError) as caught:
        server_of(usual | given)
    text = "\n".join(str(each) for each in caught.value.problems)
    assert text.startswith(problem)
    assert TOKEN not in text
    assert "secret" not in text


def far(home: Path, *arguments: str, **environment: str) -> Result:
    """The command as a process that knows nothing but these variables."""
    kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    done = subprocess.run(
        [MODSYNC, *arguments], cwd=home, env={**kept, "HOME": str(home), **environment}, capture_output=True, text=True,
        timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def test_as_a_process(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with Listener(http("200 OK", EMPTY)) as server:
        for environment in ({"MODSYNC_TOKEN": TOKEN}, {"MODSYNC_TOKEN_FILE": str(file)}):
            found = far(tmp_path, "--server", server.url, "runs", **environment)
            assert (found.status, found.out, found.err) == (0, "no runs\n", "")
    with Listener(http("401 No", error("unauthorized", "the token is \x1b[31mwrong"))) as server:
        wrong = far(tmp_path, "runs", MODSYNC_URL=server.url, MODSYNC_TOKEN=TOKEN)
    assert (wrong.status, "\x1b" in wrong.err) == (5, False)
    none = far(tmp_path, "runs", MODSYNC_URL="https://modsync.corp.example")
    assert (none.status, none.err.startswith("error: MODSYNC_TOKEN: is not set")) == (3, True)
    both = far(tmp_path, "--config", "x.toml", "--server", "https://modsync.corp.example", "runs")
    assert (both.status, "give one of them" in both.err) == (2, True)


def test_a_token_in_the_open_is_warned_of(tmp_path: Path) -> None:
    with Listener(http("503 No", "")) as proxy:
        found = far(
            tmp_path, "runs", MODSYNC_URL="http://modsync.corp.example", MODSYNC_TOKEN=TOKEN, http_proxy=proxy.url
        )
    assert (found.status, found.err.startswith("warning: the token crosses the network")) == (4, True)
