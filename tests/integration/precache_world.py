"""The pre-cache template's script, run as a runner would, against a small scripted proxy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import yaml

from tests.sandbox.processes import run

TEMPLATE = Path(__file__).parents[2] / "deploy/gitlab/precache.gitlab-ci.yml"
TOOLS = ("sh", "cat", "cut", "date", "dd", "grep", "mkdir", "rm", "sed", "sleep", "tail", "tr", "wc")
CLIENTS = ("curl", "wget", "busybox-wget", "python3")
CONTENT = {
    "info": b'{\n "Version": "v1.2.0",\n "Time": "2026-01-02T03:04:05Z"\n}',
    "mod": b"module example.com/Widgets\n",
    "zip": b"PK\x03\x04" + bytes(range(256)) * 40,
}
VALUES = {
    "MODSYNC_MODULE": "example.com/Widgets",
    "MODSYNC_MODULE_ESCAPED": "example.com/!widgets",
    "MODSYNC_VERSION": "v1.2.0",
    "MODSYNC_VERSION_ESCAPED": "v1.2.0",
    "MODSYNC_COMMIT": "a" * 40,
    "MODSYNC_RUN": "r-1",
    "MODSYNC_WAIT": "20",
    "MODSYNC_POLL": "1",
}


@dataclass
class ScriptedProxy:
    """A WSGI proxy for one version; `answers` are [(status line, body, headers)] given before the right ones."""

    answers: list[tuple[str, bytes, list[tuple[str, str]]]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    base: str = "/example.com/!widgets/@v/v1.2.0."

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        self.paths.append(path)
        self.authorizations.append(str(environ.get("HTTP_AUTHORIZATION", "")))
        status, body, headers = self._answer(path)
        start_response(status, [("Content-Length", str(len(body))), *headers])
        return [body]

    def _answer(self, path: str) -> tuple[str, bytes, list[tuple[str, str]]]:
        if self.answers:
            return self.answers.pop(0)
        found = CONTENT.get(path.removeprefix(self.base))
        return ("404 Not Found", b"not found", []) if found is None else ("200 OK", found, [])


def script() -> str:
    """The template's script, as a runner would join it."""
    job = yaml.safe_load(TEMPLATE.read_text())["precache"]
    return "\n".join(job["script"])


def available(client: str) -> str | None:
    """The program behind a client's name, or None."""
    return sys.executable if client == "python3" else shutil.which(client.partition("-")[0])


def make_path(folder: Path, client: str, tools: str = "") -> Path:
    """A folder with the template's declared tools and one client; the client's wrapper writes its arguments down.

    `tools` names a program that stands in for all tools, as busybox can. Nobody sleeps: for how long is written down.
    """
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tools or tool) or tool)
    (folder / "sleep").unlink()
    (folder / "sleep").write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >>"{folder.parent}/slept"\n')
    (folder / "sleep").chmod(0o755)
    program = available(client) or client
    command = f"{program} wget" if client == "busybox-wget" else program
    wrapper = folder / client.removeprefix("busybox-")
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{folder.parent}/argv"\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    return folder


@dataclass(frozen=True)
class Shell:
    """A job's surroundings: `folder/build` is where it runs; `before` is what its shell does first."""

    folder: Path
    path: Path
    proxy_url: str
    command: tuple[str, ...] = ("sh", "-e")
    before: str = ""

    def run(self, **variables: str) -> "subprocess.CompletedProcess[bytes]":
        """Run the script with VALUES and these variables over them."""
        build = self.folder / "build"
        build.mkdir(exist_ok=True)
        environment = {"PATH": str(self.path), "HOME": str(build), "CI_JOB_ID": "7", "CI_PROJECT_DIR": str(build)}
        environment |= {**VALUES, "MODSYNC_PROXY_URL": self.proxy_url, **variables}
        program, *options = self.command
        found = shutil.which(program, path=f"{self.path}{os.pathsep}{os.defpath}") or program
        return run(
            [found, *options], env=environment, cwd=build, stdin=f"{self.before}\n{script()}".encode(), timeout=60
        )

    def argv(self) -> str:
        written = self.folder / "argv"
        return written.read_text() if written.exists() else ""

    def slept(self) -> list[int]:
        """The pauses between looks, in seconds."""
        written = self.folder / "slept"
        return [int(line) for line in written.read_text().split()] if written.exists() else []
