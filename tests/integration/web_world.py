"""A real gunicorn with its own database and Valkey in a temporary directory, for tests that ask over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from sqlalchemy import text

from app.adapters.database import connect, reading, writing
from app.adapters.embedded_redis import server_command, socket_path, socket_url
from app.config import load_settings
from app.config_models import Settings
from tests.sandbox.processes import end_group

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-the-admin-of-the-tests"
SECRET = "a-secret-for-the-hook-of-the-tests"
ENVIRONMENT = {"ADMIN_TOKEN": TOKEN, "GITLAB_TOKEN": "glpat-never-used-in-these-tests", "HOOK_SECRET": SECRET}
BODY_LIMIT = 4096
CONFIG = """
data_dir = "var"
[web]
listen = "127.0.0.1:{port}"
base_url = "http://127.0.0.1:{port}"
workers = 2
threads = 4
max_body_bytes = {limit}
[access]
admin_token_env = "ADMIN_TOKEN"
[gitlab]
url = "https://gitlab.corp.example"
token_env = "GITLAB_TOKEN"
[[proxies]]
url = "https://goproxy.corp.example"
[[sources]]
name = "platform"
scheme = "article"
secrets = [{{ id = "one", env = "HOOK_SECRET" }}]
rate_per_minute = 0
allow = ["https://git.corp.example/**"]
[[rules]]
modules = "go.corp.example/{{team}}/{{repo}}"
clone = "https://git.corp.example/{{team}}/{{repo}}.git"
mirror = "go-mirrors/{{team}}/{{repo}}"
[[rules]]
modules = "open.corp.example/{{team}}/{{repo}}"
mirror = "open-mirrors/{{team}}/{{repo}}"
"""


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` returns once it is true; AssertionError when that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_settings(directory: Path, port: int = 8080, more: str = "", **environment: str) -> Settings:
    """A configuration in `directory`, loaded; `more` is TOML that comes last."""
    (directory / "modsync.toml").write_text(CONFIG.format(port=port, limit=BODY_LIMIT) + more)
    return load_settings(directory / "modsync.toml", {**ENVIRONMENT, **environment})


def release(module: str = "go.corp.example/team/repo", version: str = "v1.2.3", **more: object) -> bytes:
    """The article's body."""
    body = {"ref": version, "commit_id": "a" * 40, "module_path": module, "version": version, **more}
    return json.dumps(body).encode()


def signed(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    """The article's header for `raw`."""
    return {"X-Gitlab-Token": "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}


BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@dataclass
class Answer:
    """An HTTP answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.raw)

    @property
    def text(self) -> str:
        """The body, decoded."""
        return self.raw.decode()


@dataclass
class WebWorld:
    """The processes and how to talk to them."""

    directory: Path
    settings: Settings
    port: int
    environment: Mapping[str, str]
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(
        self, method: str, path: str, raw: bytes | None = None, headers: Mapping[str, str] | None = None,
        *, chunked: bool = False,
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body: Any = iter([raw[i : i + 1000] for i in range(0, len(raw), 1000)]) if chunked and raw else raw
            connection.request(method, path, body, dict(headers or {}), encode_chunked=chunked)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """GET with the admin's token."""
        return self.ask("GET", path, headers={**BEARER, **headers})

    def deliver(self, raw: bytes, source: str = "platform") -> Answer:
        """A rightly signed delivery."""
        return self.ask("POST", f"/webhooks/{source}", raw, signed(raw))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        engine = connect(self.settings.store.url)
        try:
            with reading(engine) as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()

    def change(self, statement: str) -> None:
        """Change the database behind the application's back."""
        engine = connect(self.settings.store.url)
        try:
            with writing(engine) as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def failed_run(self, version: str) -> tuple[str, str]:
        """(run, job) of a release that failed at its pipeline."""
        run = str(self.deliver(release(version=version)).json["runs"][0]["id"])
        self.change(
            "UPDATE runs SET status = 'failed', stage = 'pipeline', active = 0, due_at = NULL, error = 'pipeline_failed',"
            f" error_message = '<script>alert(1)</script>' WHERE id = '{run}'"
        )
        return run, f"{run}-1-1"

    def login(self, **more: str) -> Answer:
        """POST /login as a browser does, with the admin's token unless `more` names another."""
        form = urlencode({"token": TOKEN, "next": "/", **more}).encode()
        return self.ask("POST", "/login", form, {**FORM, "Sec-Fetch-Site": "same-origin"})

    def cookie(self) -> dict[str, str]:
        """The header of a logged-in browser."""
        return {"Cookie": self.login().headers["set-cookie"].partition(";")[0]}

    def log(self) -> list[dict[str, Any]]:
        """The events that gunicorn's processes logged so far; a line that is not JSON fails here."""
        return [json.loads(line) for line in (self.directory / "web.log").read_text().splitlines()]

    def start_redis(self) -> subprocess.Popen[bytes]:
        """A Valkey on its socket in the data directory."""
        process = self._start(server_command(self.settings.data_dir), "redis.log")
        until(lambda: _answers(socket_path(self.settings.data_dir)))
        return process

    def start_web(self, *application: str) -> subprocess.Popen[bytes]:
        """gunicorn, waited for until it is ready (or only degraded); `application` is another one than modsync."""
        command = [sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_conf", *application]
        process = self._start(command, "web.log")
        until(lambda: process.poll() is not None or self._ready())
        assert process.poll() is None, (self.directory / "web.log").read_text()
        return process

    def _start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.directory / log).open("ab") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=dict(self.environment), stdout=output, stderr=output, start_new_session=True
            )
        self.children.append(process)
        return process

    def _ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """End everything: politely, so that coverage is written, and then by force."""
        for process in reversed(self.children):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    end_group(process)


def make_world(directory: Path, more: str = "", **outside: str) -> WebWorld:
    """A world whose processes do not run yet; `more` is TOML that comes last, `outside` more environment."""
    port = free_port()
    settings = write_settings(directory, port, more, **outside)
    environment = {**os.environ, **ENVIRONMENT, "MODSYNC_CONFIG": str(directory / "modsync.toml")}
    for name in ("DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR"):
        environment.pop(name, None)
    return WebWorld(directory, settings, port, environment | outside)


def running(directory: Path, more: str = "", **outside: str) -> Iterator[WebWorld]:
    """A world with Valkey and gunicorn; the body of a fixture."""
    world = make_world(directory, more, **outside)
    try:
        world.start_redis()
        world.start_web()
        yield world
    finally:
        world.stop()


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All living children of a process, at any depth."""
    return psutil.Process(process.pid).children(recursive=True)


def redis_url(world: WebWorld) -> str:
    """The world's Redis."""
    return socket_url(world.settings.data_dir)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
