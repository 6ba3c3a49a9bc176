"""A world for the git door's tests: real bare repositories, served by the real git over HTTP from this machine."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pydantic import SecretStr

from app.adapters.git import Credential, GitDoor, GitOptions
from app.domain.errors import SyncError
from app.services.ports import Checkpoint
from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.processes import git_environment, run
from tests.sandbox.repositories import Repositories
from tests.sandbox.serve import LoopbackServer

TOKEN = "glpat-S3cr3t/Value+With~Signs"
SOURCE, MIRROR = "team/lib", "mirror/lib"


def nothing(*_: object) -> None:
    """A checkpoint or fence that always agrees."""


def overtaken_after(times: int) -> Checkpoint:
    """A fence that holds so often; from then on another worker has the run."""
    left = [times]

    def fence() -> None:
        if not left[0]:
            raise SyncError("overtaken", "another worker has this run")
        left[0] -= 1

    return fence


class Front:
    """Passes requests on to git; `answers` (by path prefix) come first, and `wants_token` prefixes need TOKEN."""

    def __init__(self, root: Path) -> None:
        self._git = GitHttpBackend(root, receive_pack=True)
        self.answers: dict[str, WSGIApplication] = {}
        self.wants_token: tuple[str, ...] = ()
        self.seen: list[tuple[str, str]] = []  # path, Authorization header

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        given = str(environ.get("HTTP_AUTHORIZATION", ""))
        self.seen.append((path, given))
        for prefix, answer in self.answers.items():
            if path.startswith(prefix):
                return answer(environ, start_response)
        if path.startswith(self.wants_token or ("\0",)) and given != _basic(TOKEN):
            return status("401 Unauthorized", ("WWW-Authenticate", 'Basic realm="GitLab"'))(environ, start_response)
        return self._git(environ, start_response)


def status(line: str, *headers: tuple[str, str], body: bytes = b"") -> WSGIApplication:
    """An application with one answer."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response(line, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
        return [body]

    return answer


class World:
    """Repositories below `root`, a server for them, and doors with a cache beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repositories = Repositories(root / "served")
        for name in (SOURCE, MIRROR):
            self.repositories.make_repository(name)
        self.front = Front(root / "served")
        self.server = LoopbackServer(self.front)
        self.options = GitOptions(
            root / "cache", timeout_seconds=60, protocols=("file", "http"), beat_seconds=0.05, cache_wait_seconds=60
        )  # fmt: skip

    def url(self, name: str) -> str:
        """Over HTTP."""
        return f"{self.server.url}/{name}.git"

    def file_url(self, name: str) -> str:
        """Without the server: faster."""
        return f"file://{self.repositories.path(name)}"

    def door(self, credentials: Callable[[str], Credential | None] = lambda url: None, **options: Any) -> GitDoor:
        """A door with this world's cache."""
        return GitDoor(replace(self.options, **options), credentials)

    def release(self, tag: str, *, annotated: bool = False, name: str = SOURCE) -> tuple[str, str]:
        """Commit go.mod and a text, tag it; (commit, the tag's object)."""
        files = {"go.mod": b"module corp.example/lib\n", "version.txt": f"{tag}\n".encode()}
        commit = self.repositories.commit(name, files, f"Release {tag}")
        return commit, self.repositories.tag(name, tag, commit, annotated=annotated)

    def git(self, name: str, *args: str, stdin: bytes = b"") -> str:
        """Run git in a served repository."""
        return git(self.repositories.path(name), *args, stdin=stdin)

    def refs(self, name: str) -> dict[str, str]:
        """Every ref of a served repository and its object."""
        lines = self.git(name, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def hook(self, name: str, script: str) -> None:
        """Install a pre-receive hook."""
        path = self.repositories.path(name) / "hooks" / "pre-receive"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def git(directory: Path, *args: str, stdin: bytes = b"") -> str:
    """Run git in `directory`; its output. Raises CalledProcessError."""
    done: subprocess.CompletedProcess[bytes] = run(
        ["git", *args], env=git_environment(directory), cwd=directory, stdin=stdin, check=True
    )
    return done.stdout.decode().strip()


def credential(username: str = "oauth2") -> Credential:
    """TOKEN as modsync would hold it."""
    return Credential(username, SecretStr(TOKEN))


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"oauth2:{password}".encode()).decode()
