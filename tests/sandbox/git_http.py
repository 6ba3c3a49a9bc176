"""Bare repositories over HTTP, served by the real `git http-backend` (CGI)."""

import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, cast
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.sandbox.processes import ask_group_to_end, end_group, git_environment

_BLOCK = 64 * 1024
_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.5
_PASSED_ON = (
    "REQUEST_METHOD",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_CONTENT_ENCODING",
    "HTTP_GIT_PROTOCOL",
    "REMOTE_ADDR",
    "REMOTE_USER",
    "SERVER_PROTOCOL",
)
# Housekeeping would run detached and outlive the request, and with it the server.
_CONFIG = ("gc.auto=0", "receive.autogc=false", "maintenance.auto=false")


class GitHttpBackend:
    """A WSGI application for the bare repositories below `root`: PATH_INFO is `/group/project.git/info/refs` and so on.

    `receive_pack` permits pushes. `env` is added to git's environment, and so is the dict in
    `environ["sandbox.git_env"]` (what hooks need to know of one request). Authentication is the caller's: put the
    user's name into `environ["REMOTE_USER"]`. Answers as git does (404 for what does not exist); 500 when git dies
    before it has sent its headers.
    """

    def __init__(self, root: Path, *, receive_pack: bool = False, env: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._config = (*_CONFIG, f"http.receivepack={'true' if receive_pack else 'false'}")
        self._env = dict(env or {})

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> "_Answer":
        command = ["git", *(word for item in self._config for word in ("-c", item)), "http-backend"]
        process = subprocess.Popen(
            command,
            env=self._cgi_environment(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        answer = _Answer(process, environ)
        start_response(*answer.head())
        return answer

    def _cgi_environment(self, environ: WSGIEnvironment) -> dict[str, str]:
        request = {name: str(environ[name]) for name in _PASSED_ON if environ.get(name)}
        request["PATH_INFO"] = _utf8(str(environ.get("PATH_INFO", "")))
        if "HTTP_GIT_PROTOCOL" in request:
            request["GIT_PROTOCOL"] = request["HTTP_GIT_PROTOCOL"]
        backend = git_environment(self._root, GIT_PROJECT_ROOT=str(self._root), GIT_HTTP_EXPORT_ALL="1")
        extra = cast("Mapping[str, str]", environ.get("sandbox.git_env", {}))
        return {"GATEWAY_INTERFACE": "CGI/1.1", **backend, **request, **self._env, **extra}


class _Answer:
    """What git writes, block by block; git and its children are gone once this is closed, however that comes about."""

    def __init__(self, process: subprocess.Popen[bytes], environ: WSGIEnvironment) -> None:
        self._process = process
        self._stdout = cast("IO[bytes]", process.stdout)
        self._client: socket.socket | None = environ.get("werkzeug.socket")
        self._feeder = threading.Thread(target=_feed, args=(environ, process), daemon=True)
        self._feeder.start()
        self._rest = b""

    def head(self) -> tuple[str, list[tuple[str, str]]]:
        """The answer's status line and headers, from the CGI header."""
        head = b""
        while b"\r\n\r\n" not in head and (block := self._read()):
            head += block
        head, _, self._rest = head.partition(b"\r\n\r\n")
        headers = [_header(line) for line in head.decode("latin-1").splitlines()]
        status = dict(headers).get("Status", "200 OK" if headers else "500 Internal Server Error")
        return status, [(name, value) for name, value in headers if name != "Status"]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        block, self._rest = self._rest or self._read(), b""
        if block:
            return block
        self._feeder.join(_WAIT_SECONDS)
        raise StopIteration

    def close(self) -> None:
        """Give a finished git a moment to exit by itself; kill what is left of it."""
        if not self._stdout.closed and self._feeder.is_alive():
            # The client went away in the middle of its request: as Gitaly does, so that git takes its lock files along.
            ask_group_to_end(self._process, _WAIT_SECONDS)
        if self._hung_up():
            ask_group_to_end(self._process, _WAIT_SECONDS)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_WAIT_SECONDS)
        end_group(self._process)
        self._feeder.join(_WAIT_SECONDS)
        self._stdout.close()

    def _read(self) -> bytes:
        """The next bytes; none at the end, or when the client has hung up while git was thinking."""
        while not (ready := self._wait()):
            continue
        if self._stdout not in ready and self._hung_up():
            return b""
        return os.read(self._stdout.fileno(), _BLOCK)

    def _wait(self) -> set[Any]:
        """What there is to read within half a second: git's output, the client (its body is in by then: it left)."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if self._client is not None and not self._feeder.is_alive():
                selector.register(self._client, selectors.EVENT_READ)
            return {key.fileobj for key, _ in selector.select(_POLL_SECONDS)}

    def _hung_up(self) -> bool:
        if self._client is None:
            return False
        try:
            return self._client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _utf8(wsgi_text: str) -> str:
    """WSGI carries the bytes of a path as latin-1 text."""
    return wsgi_text.encode("latin-1").decode("utf-8", "replace")


def _feed(environ: WSGIEnvironment, process: subprocess.Popen[bytes]) -> None:
    """Copy the request's body to git; read it to its end even when git has stopped listening."""
    stdin = cast("IO[bytes]", process.stdin)
    with suppress(OSError, ValueError):  # the client went away
        for block in _body(environ):
            with suppress(BrokenPipeError):
                stdin.write(block)
                stdin.flush()
    with suppress(OSError):
        stdin.close()


def _body(environ: WSGIEnvironment) -> Iterator[bytes]:
    """The request's body in blocks: by its length, or to its end where the server marks that (chunked)."""
    source = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        while block := source.read(_BLOCK):
            yield block
        return
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (block := source.read(min(_BLOCK, left))):
        left -= len(block)
        yield block
