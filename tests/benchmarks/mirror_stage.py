"""Ours, as a worker does it: a process that was forked from a warm one, and waited, claims a run, mirrors it and records that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import select

from app.adapters import git_cache, migrate
from app.adapters.database import reading, writing
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.shared_seen import SharedSeen
from app.adapters.tables import mirrors, runs
from app.bootstrap import Container
from app.config import load_settings
from app.domain.run import Target, semantic_key
from app.services.stages import Outcome, Wait
from app.services.stages.pipeline import PipelineRequest
from app.services.stores import NewDelivery, PlannedRun
from workers import jobs, pool

_CONFIG = """\
data_dir = "data"
[web]
listen = "127.0.0.1:1"
base_url = "http://127.0.0.1:1"
[access]
admin_token_env = "BENCH_ADMIN"
[gitlab]
url = "{gitlab}"
token_env = "BENCH_TOKEN"
[[proxies]]
url = "http://127.0.0.1:1"
[[sources]]
name = "platform"
scheme = "article"
secrets = [{{ id = "one", env = "BENCH_SECRET" }}]
allow = ["{source}/**"]
[[rules]]
modules = "go.corp.example/{{team}}/{{repo}}"
clone = "{source}/{{team}}/{{repo}}.git"
mirror = "mirrors/{{team}}/{{repo}}"
[sandbox]
enabled = true
"""

SECRETS = {"BENCH_ADMIN": "a" * 30, "BENCH_TOKEN": "x" * 20, "BENCH_SECRET": "s" * 30}


class Ours:
    """modsync's settings, database and caches below `directory`, for one source server and one GitLab."""

    def __init__(self, directory: Path, source: str, gitlab: str, token: str = SECRETS["BENCH_TOKEN"]) -> None:
        directory.mkdir()
        (directory / "modsync.toml").write_text(_CONFIG.format(source=source, gitlab=gitlab))
        self.container = Container(load_settings(directory / "modsync.toml", {**SECRETS, "BENCH_TOKEN": token}))
        self.source, self.gitlab = source, gitlab
        migrate.upgrade(self.container.settings.store.url)
        pool._warm(self.container)
        self._made, self._known = 0, False

    def cache(self, repository: str) -> Path:
        """Where the repository's cache is."""
        return git_cache.directory(self.container.cache_dir.absolute(), f"{self.source}/{repository}.git")

    def know(self, repository: str, branch_at: str | None) -> None:
        """Remember the mirror, as after an earlier release."""
        path = f"mirrors/{repository}"
        url = f"{self.gitlab}/{path}"
        values = {"path": path, "project_id": 1, "clone_url": f"{url}.git", "web_url": url, "branch_at": branch_at}
        with writing(self.container.engine) as connection:
            connection.execute(mirrors.insert().values(**values, updated_at=self.container.clock.now()))
        self.container.engine.dispose()
        self._known = True

    def release(self, repository: str, tag: str, commit: str, module: str = "") -> str:
        """A release as intake records it (of the module named like its repository, where none is told); its run."""
        self._made += 1
        version = tag.rpartition("/")[2]
        module = module or f"go.corp.example/{repository}"
        target = Target(clone_url=f"{self.source}/{repository}.git", mirror=f"mirrors/{repository}")
        run = PlannedRun(
            id=f"r{self._made:019d}", source="platform", module=module, version=version, ref=f"refs/tags/{tag}",
            commit=commit, semantic=semantic_key(module, version, tag, commit), event={}, target=target,
        )  # fmt: skip
        delivery = NewDelivery(
            id=f"d{self._made:019d}", source="platform", dedupe=str(self._made), scheme="article", secret_id="one",
            received_at=self.container.clock.now(), headers={}, body=b"{}", verdict="accepted",
        )  # fmt: skip
        SqlIntakeStore(self.container.engine).record(delivery, [run])
        self.container.engine.dispose()  # SQLite's connections do not outlive a fork
        return run.id

    def seconds(self, run_id: str) -> float:
        """How long the mirror stage takes from claim to recorded, in a process of its own."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                # Redis remembers for an hour that a mirror's protections were looked at; none runs here.
                with patch.object(SharedSeen, "recently", return_value=self._known):
                    os.write(writer, json.dumps(_measured(self.container, run_id)).encode())
            except Exception:  # noqa: BLE001 - the parent sees an empty answer, the reader why
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writer)
        try:
            with os.fdopen(reader) as answer:
                told = answer.read()
        except BaseException:  # a signal: nothing goes on without us
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.waitpid(pid, 0)
        return float(json.loads(told))


def _measured(container: Container, run_id: str) -> float:
    jobs.use(container)
    jobs.prepare()
    flow, clocked = container.flow, _Clocked()
    flow._pipeline = clocked  # type: ignore[assignment]
    begun = time.perf_counter()
    flow.advance(run_id)
    assert clocked.reached, f"run {run_id} did not get through its mirror stage: {_error(container, run_id)}"
    return clocked.reached - begun


def _error(container: Container, run_id: str) -> str:
    with reading(container.engine) as connection:
        return str(connection.execute(select(runs.c.error_message).where(runs.c.id == run_id)).scalar_one())


class _Clocked:
    """The next stage: it is entered once the mirror stage is recorded."""

    reached = 0.0

    def run(self, request: PipelineRequest, extra: Mapping[str, str]) -> Outcome:
        self.reached = time.perf_counter()
        return Wait(3600)


class Bare:
    """The script with a cache of its own; `token` for a GitLab that wants one."""

    def __init__(self, cache: Path, source_url: str, mirror_url: str) -> None:
        self._words = [str(Path(__file__).with_name("bare_sync.sh")), str(cache), source_url, mirror_url]
        self.environment = bare_environment()

    def sync(self, tag: str) -> None:
        """Run the script for one tag. Raises CalledProcessError."""
        subprocess.run([*self._words, tag], env=self.environment, check=True)


def bare_environment(**more: Any) -> dict[str, str]:
    """A quiet git that reads nobody's configuration."""
    return {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", **more,
    }  # fmt: skip
