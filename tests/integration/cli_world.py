"""The installed `modsync` command as people run it: a process of its own, with a configuration and a database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODSYNC = Path(sys.executable).with_name("modsync")
SECRET = "correct-horse-battery-staple"
TIMEOUT = 150.0

CONFIGURATION = """
data_dir = "var"
[web]
listen = "127.0.0.1:{port}"
base_url = "http://127.0.0.1:{port}"
[access]
admin_token_env = "TEST_ADMIN"
[store]
url = "{database}"
[queue]
url = "{redis}"
[gitlab]
url = "https://gitlab.corp.example"
token_env = "TEST_GITLAB"
[[proxies]]
url = "https://goproxy.corp.example"
[[sources]]
name = "platform"
scheme = "article"
secrets = [{{ id = "2026-11", env = "TEST_HOOK" }}]
allow = ["https://git.corp.example/**"]
[[sources]]
name = "forge"
scheme = "github"
secrets = [{{ id = "2026-11", env = "TEST_HOOK" }}]
[[rules]]
modules = "go.corp.example/{{team}}/{{repo}}"
clone = "https://git.corp.example/{{team}}/{{repo}}.git"
mirror = "go-mirrors/{{team}}/{{repo}}"
source = "platform"
"""


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as JSON; a test fails where it is none."""
        return json.loads(self.out)


class Cli:
    """Runs `modsync` in `home`, where its configuration is."""

    def __init__(self, home: Path, database: str, *, redis: str = "", port: int = 8080) -> None:
        self.home = home
        text = CONFIGURATION.format(database=database, redis=redis, port=port)
        (home / "modsync.toml").write_text(text, encoding="utf-8")
        secrets = {name: f"{SECRET}-{name.lower()}" for name in ("TEST_ADMIN", "TEST_GITLAB", "TEST_HOOK")}
        kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        self.environment: dict[str, str] = {**kept, "HOME": str(home), "TZ": "UTC", "LC_ALL": "C.UTF-8", **secrets}

    def __call__(self, *arguments: str, **environment: str) -> Result:
        """Run to the end."""
        done = subprocess.run(
            [MODSYNC, *arguments], cwd=self.home, env=self.environment | environment, capture_output=True, text=True,
            timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run while the block lasts; it and its children are killed at its end when they are still there."""
        command: Sequence[str | Path] = [MODSYNC, *arguments]
        process = subprocess.Popen(
            command, cwd=self.home, env=self.environment | dict(environment or {}), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(TIMEOUT)
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
