"""modsync's real processes beside the stand-in platform and GitLab, and what the benches of whole releases need of them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from sqlalchemy import func, select, update

from app.adapters.database import connect, reading, writing
from app.adapters.tables import releases, runs
from tests.benchmarks.harness import wait_until
from tests.benchmarks.mirror_stage import bare_environment
from tests.sandbox.modules import HOST, Release
from tests.sandbox.platform import basic
from tests.sandbox.service import Service
from tests.sandbox.webhook import signature
from tests.sandbox.world import MIRRORS, World

BARE_GROUP = "bare-mirrors"
_NO_HOOK: Mapping[str, str] = {}
SCRIPT = Path(__file__).with_name("bare_sync.sh")


class Bench:
    """The world, its service with two workers, and git's own way into the same GitLab."""

    def __init__(self, world: World, service: Service) -> None:
        self.world, self.service = world, service
        self.engine = connect(f"sqlite:///{world.root}/data/modsync.db")
        self.environment = bare_environment(**_logins(world))

    def request(self, sent: Sequence[Release]) -> bytes:
        """A signed webhook of these releases as it goes over the wire."""
        bodies = [self.world.platform.payload(each) for each in sent]
        payload = bodies[0] if len(bodies) == 1 else {**bodies[0], "subdir": None, "releases": bodies}
        body = json.dumps(payload).encode()
        lines = ["POST /webhooks/platform HTTP/1.1", "Host: bench", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", f"X-Gitlab-Token: {signature(self.world.secret, body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def wait_for_mirrored(self, count: int) -> None:
        """Until so many releases in all are in their mirrors."""
        query = select(func.count()).where(releases.c.pushed_at.is_not(None))

        def reached() -> bool:
            with reading(self.engine) as connection:
                return int(connection.execute(query).scalar_one()) >= count

        wait_until(reached, every=0.02)

    def forget_the_rest(self) -> None:
        """End all runs: nobody polls for their pipelines while the next round is measured."""
        with writing(self.engine) as connection:
            ended = {"active": False, "status": "failed", "due_at": None, "lease_until": None, "lease_owner": None}
            connection.execute(update(runs).where(runs.c.active).values(ended))

    def bare(self, repository: str, tag: str) -> list[str]:
        """The script's command line for one release; its cache is made when it is missing."""
        name = repository.rpartition("/")[2]
        cache = self.world.root / "bare-caches" / f"{name}.git"
        if not cache.exists():
            subprocess.run(["git", "init", "--quiet", "--bare", str(cache)], env=self.environment, check=True)
        mirror = f"{self.world.gitlab.url}/{BARE_GROUP}/{name}.git"
        return [str(SCRIPT), str(cache), self.world.platform.clone_url(repository), mirror, tag]

    def run_bare(self, commands: Sequence[Sequence[str]], processes: int) -> None:
        """`xargs -P` over the script's command lines."""
        words = "".join(f"{' '.join(command[1:])}\n" for command in commands)
        xargs = ["xargs", "-P", str(processes), "-L", "1", str(SCRIPT)]
        subprocess.run(xargs, input=words.encode(), env=self.environment, check=True, capture_output=True)


@contextmanager
def bench(root: Path, *, runner: bool, pipeline: str = "", hook: Mapping[str, str] = _NO_HOOK) -> Iterator[Bench]:
    """Everything up; without the runner pipelines are made and wait, so that only the mirror stage works.

    `hook`: the environment variable with the secret of GitLab's pipeline webhook.
    """
    root.mkdir(parents=True)
    with World(root, pipeline=pipeline, more="[worker]\nlive = 2\nbackfill = 0\n") as world:
        _set_up(world.config, hook)
        world.gitlab.create_group(BARE_GROUP)
        if not runner:
            world.runner.stop()
        roles = ("redis", "web", "worker", "sweeper")
        with Service(
            world.url, {**world.environment, **hook}, root / "logs", world.admin_token, roles=roles
        ) as service:
            yield Bench(world, service)


def _set_up(config: Path, hook: Mapping[str, str]) -> None:
    """No rate limit; and the pipeline webhook where there is one."""
    text = config.read_text().replace("[[rules]]", "rate_per_minute = 0\n\n[[rules]]", 1)
    secrets = "".join(f'hook_secrets = [{{ id = "one", env = "{name}" }}]\n' for name in hook)
    config.write_text(text.replace("[[proxies]]", f"{secrets}\n[[proxies]]", 1))


class Peaks(threading.Thread):
    """Watches the largest resident size, in MB, that a Python process below `pid` ever had."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._end, self.most = pid, threading.Event(), 0.0

    def run(self) -> None:
        """Look ten times a second: a job's process lives longer than that."""
        while not self._end.wait(0.1):
            for process in [psutil.Process(self._pid), *psutil.Process(self._pid).children(recursive=True)]:
                self.most = max(self.most, _peak(process.pid))

    def stop(self) -> float:
        """The peak."""
        self._end.set()
        self.join()
        return self.most


def _peak(pid: int) -> float:
    with suppress(OSError):
        if "python" in Path(f"/proc/{pid}/exe").readlink().name:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
    return 0.0


def _logins(world: World) -> dict[str, str]:
    """git's configuration with both sides' credentials."""
    pairs = ((world.platform.url, basic(world.clone_token)), (world.gitlab.url, basic(world.gitlab_token, "oauth2")))
    login = {"GIT_CONFIG_COUNT": "2"}
    for number, (url, value) in enumerate(pairs):
        login |= {f"GIT_CONFIG_KEY_{number}": f"http.{url}/.extraHeader"}
        login |= {f"GIT_CONFIG_VALUE_{number}": f"Authorization: {value}"}
    return login


def module(repository: str) -> str:
    """The path of the module at a repository's root."""
    return f"{HOST}/{repository}"


__all__ = ["MIRRORS", "Bench", "Peaks", "bench", "module"]
