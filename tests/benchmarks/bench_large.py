"""Reconcile of thousands of repositories that are all in step: `python -m tests.benchmarks.bench_large --repositories 2000`.

Sources and mirrors are bare repositories behind the real `git http-backend`, the proxy answers `list`. Three rounds of
`modsync reconcile --all`: the first adopts everything, the second is killed in the middle, the third goes on from there.
Status 1 when something was cloned, compared twice after the kill, or not compared at all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from sqlalchemy import Engine, func, select, update

from app.adapters import migrate
from app.adapters.database import connect, reading, writing
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.tables import repositories
from app.services.reconcile_values import Repository
from tests.benchmarks.harness import end_cleanly
from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.repositories import Repositories
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.world import PROJECT

_HOST = "large.example"
_CONFIG = """\
data_dir = "data"
[access]
admin_token_env = "MODSYNC_ADMIN_TOKEN"
[gitlab]
url = "{url}"
token_env = "MODSYNC_GITLAB_TOKEN"
[[proxies]]
url = "{url}/proxy"
[[sources]]
name = "platform"
scheme = "article"
secrets = [{{ id = "a", env = "MODSYNC_WEBHOOK_SECRET" }}]
allow = ["{url}/src/**"]
[[rules]]
modules = "{host}/{{repo}}"
clone = "{url}/src/{{repo}}.git"
mirror = "mirrors/{{repo}}"
[reconcile]
requests_per_second = {rate}
[sandbox]
enabled = true
"""
_SECRETS = ("MODSYNC_ADMIN_TOKEN", "MODSYNC_GITLAB_TOKEN", "MODSYNC_WEBHOOK_SECRET")


@dataclass(frozen=True)
class Plan:
    """How many repositories with how many version tags each; modsync's own limit of requests per second."""

    repositories: int
    tags: int
    rate: float


@dataclass
class Round:
    """One `modsync reconcile --all`: seconds, the process's peak in bytes, the requests by kind, its exit status."""

    name: str
    seconds: float
    peak: int
    requests: Counter[str]
    status: int
    compared: int

    def __str__(self) -> str:
        rate = self.requests["logical"] / self.seconds
        return (
            f"{self.name}: {self.compared} compared in {self.seconds:.1f} s, {rate:.1f} requests/s "
            f"({', '.join(f'{kind} {count}' for kind, count in sorted(self.requests.items()))}), "
            f"peak {self.peak / 1e6:.0f} MB, status {self.status}"
        )


class Large:
    """The repositories and their server, a configuration, a database that knows them."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self.requests: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._git = GitHttpBackend(root / "served")
        self._list = "".join(f"v1.{number}.0\n" for number in range(plan.tags)).encode()
        self.server = LoopbackServer(self._answer)

    def make(self) -> None:
        """One template; all others are links to its files."""
        served = Repositories(self.root / "served")
        template = served.make_repository("template")
        for number in range(self.plan.tags):
            commit = served.commit("template", {"go.mod": f"module {_HOST}/x\n", "v.txt": f"{number}\n"}, "release")
            served.tag("template", f"v1.{number}.0", commit, annotated=number % 2 == 0)
        subprocess.run(["git", "-C", template, "gc", "--quiet"], check=True)
        for side in ("src", "mirrors"):
            for name in self.names():
                _linked(template, self.root / "served" / side / f"{name}.git")

    def names(self) -> list[str]:
        """The repositories."""
        return [f"m{number:05d}" for number in range(self.plan.repositories)]

    def configure(self) -> Engine:
        """Write the configuration; the database's engine."""
        config = _CONFIG.format(url=self.server.url, host=_HOST, rate=self.plan.rate)
        (self.root / "modsync.toml").write_text(config)
        url = f"sqlite:///{self.root}/data/modsync.db"
        engine = connect(url)
        migrate.upgrade(url)
        store = SqlRepositoryStore(engine)
        for name in self.names():
            store.note(Repository(f"mirrors/{name}", "platform", f"{self.server.url}/src/{name}.git"))
        return engine

    def reconcile(self, name: str, engine: Engine, *words: str, kill_at: int = 0) -> Round:
        """Run it; with `kill_at`, until that many more repositories were compared, then kill -9."""
        self.requests, since, started, peak = Counter(), time.monotonic(), time.time(), 0
        with (self.root / "reconcile.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("modsync")), "reconcile", "--all", "--json", *words],
                cwd=PROJECT, env=self._environment(), stdout=log, stderr=log,
            )  # fmt: skip
            try:
                while process.poll() is None:
                    peak = max(peak, _peak(process.pid))
                    if kill_at and _compared(engine, since=started) >= kill_at:
                        process.kill()
                    time.sleep(0.2)
            finally:
                process.kill()
                process.wait()
        done = _compared(engine, since=started)
        return Round(name, time.monotonic() - since, peak, self.requests, process.returncode, done)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "MODSYNC_CONFIG": str(self.root / "modsync.toml"), **dict.fromkeys(_SECRETS, "s" * 32)}

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        kind = "list" if path.startswith("/proxy/") else path.rpartition("/")[2]
        with self._lock:
            self.requests[kind] += 1
            self.requests["logical"] += kind in ("list", "git-upload-pack")
        if kind != "list":
            return self._git(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(self._list)))])
        return [self._list]


def main() -> int:
    """Three rounds, and what they say."""
    options = _options()
    end_cleanly()
    with tempfile.TemporaryDirectory(prefix="modsync-large-") as directory:
        large = Large(Path(directory), Plan(options.repositories, options.tags, options.rate))
        began = time.monotonic()
        large.make()
        with large.server:
            engine = large.configure()
            print(f"set up in {time.monotonic() - began:.1f} s: {options.repositories} repositories", flush=True)
            faults = _rounds(large, engine)
            engine.dispose()
    for fault in faults:
        print(f"WRONG: {fault}")
    return 1 if faults else 0


def _rounds(large: Large, engine: Engine) -> list[str]:
    total = large.plan.repositories
    first = large.reconcile("adopt", engine)
    print(first, flush=True)
    _age(engine)
    killed = large.reconcile("killed", engine, kill_at=total // 2)
    print(killed, flush=True)
    rest = large.reconcile("resumed", engine, "--older-than", "24")
    print(rest, flush=True)
    found = json.loads((large.root / "reconcile.log").read_text())
    cloned = [path.name for path in (large.root / "data").glob("cache/*.git")]
    return [
        *([f"{len(cloned)} repositories were cloned"] if cloned else []),
        *([f"only {first.compared} of {total} were compared"] if first.compared != total else []),
        *([f"{killed.compared} and {rest.compared} are not {total}"] if killed.compared + rest.compared != total else []),
        *([f"{each['mirror']}: {each['error'] or each['counts']}" for each in found if each["error"] or each["counts"]][:5]),
    ]  # fmt: skip


def _linked(template: Path, place: Path) -> None:
    """A bare repository whose objects are the template's files."""
    for path in template.rglob("*"):
        target = place / path.relative_to(template)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def _compared(engine: Engine, since: float = 0.0) -> int:
    which = repositories.c.reconciled_at >= datetime.fromtimestamp(since, UTC)
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(repositories).where(which)).scalar_one()


def _age(engine: Engine) -> None:
    """As if all had been compared two days ago."""
    with writing(engine) as connection:
        connection.execute(update(repositories).values(reconciled_at=datetime.now(UTC) - timedelta(days=2)))


def _peak(pid: int) -> int:
    """The process's most resident memory so far, in bytes; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_large")
    parser.add_argument("--repositories", type=int, default=2000)
    parser.add_argument("--tags", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1000.0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
