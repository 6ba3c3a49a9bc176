"""modsync's real processes in a world of their own, for tests that kill, pause and stop them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import redis
from rq import Queue, Worker
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.adapters.database import connect, reading
from app.adapters.embedded_redis import socket_url
from app.adapters.job_queue import LIVE
from app.adapters.tables import duties, runs
from tests.chaos.session import PIPELINE
from tests.sandbox.gitlab import faults
from tests.sandbox.modules import Release, make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World

PUSH = r"POST .*git-receive-pack"
BEFORE_PUSH = r"GET .*service=git-receive-pack"
RECOVERY_SECONDS = 10.0


class Stage:
    """A world with its service: what the tests look at, and what they do to it."""

    def __init__(self, world: World, service: Service) -> None:
        self.world, self.service = world, service
        self.engine = connect(f"sqlite:///{world.root}/data/modsync.db")
        self.redis = redis.Redis.from_url(socket_url(world.root / "data"), socket_timeout=2)
        self.queue = Queue(LIVE, connection=self.redis)
        self._made = 0

    def release(self) -> tuple[Release, str]:
        """A new module's v1.0.0, announced; the release and its run."""
        self._made += 1
        repository = self.world.mirrored(f"recovery/mod{self._made}-{os.getpid()}")
        release = make_plain(self.world.platform, repository, "v1.0.0").releases["v1.0.0"]
        delivered = self.world.platform.webhook(f"{self.world.url}/webhooks/platform", self.world.secret, release)
        assert delivered.status in (200, 202), delivered.text
        return release, str(delivered.json["runs"][0]["id"])

    @contextmanager
    def slow_push(self, seconds: float, match: str = PUSH) -> Iterator[tuple[Release, str]]:
        """A release whose first push hangs at GitLab for `seconds`, at the request that matches; entered while it does."""
        fault = self.world.gitlab.faults.add(match, faults.slow(seconds))
        release, run = self.release()
        until(lambda: fault.used == 1, 30, "the push to begin")
        yield release, run

    def row(self, run: str) -> Any:
        """The run's row."""
        with reading(self.engine) as connection:
            return connection.execute(select(runs).where(runs.c.id == run)).one()

    def sweeper(self) -> str | None:
        """Who sweeps now, as the database says."""
        with suppress(OperationalError), reading(self.engine) as connection:
            return connection.execute(select(duties.c.owner).where(duties.c.name == "sweep")).scalar_one_or_none()
        return None

    def horse(self, run: str) -> psutil.Process:
        """The process that has the run in hand, by the lease's owner."""
        return psutil.Process(int(self.row(run).lease_owner.rpartition(":")[2]))

    def first(self, role: str) -> psutil.Process:
        """The role's first process."""
        return psutil.Process(self.service.processes[role].pid)

    def family(self, role: str) -> list[psutil.Process]:
        """The role's processes, also those of git."""
        return [self.first(role), *self.first(role).children(recursive=True)]

    def start_again(self, role: str) -> None:
        """As a process manager does when a role has ended."""
        self.service.processes[role].wait(RECOVERY_SECONDS)
        self.service.start_role(role)

    def web_is_up(self) -> bool:
        """True when it is ready."""
        return self.service._get("/readyz") == 200

    def redis_is_up(self) -> bool:
        """True when it answers."""
        with suppress(redis.RedisError):
            return bool(self.redis.ping())
        return False

    def registered_workers(self) -> set[int]:
        """The process ids of the workers that RQ knows."""
        with suppress(redis.RedisError):
            return {worker.pid for worker in Worker.all(connection=self.redis) if worker.pid}
        return set()

    def working_processes(self) -> set[int]:
        """The process ids of the workers that there are."""
        return {child.pid for role in ("worker", "backfill") for child in self.first(role).children()}

    def jobs_taken(self) -> list[str]:
        """What RQ takes for running, or for about to run."""
        started = [job for job, _ in self.queue.started_job_registry.get_job_and_execution_ids(cleanup=False)]
        return [*started, *self.queue.intermediate_queue.get_job_ids()]

    def ends_well(self, release: Release, run: str) -> None:
        """The run gets done, with one pipeline, its tag and `ci-sync` at the released commit."""
        self.service.wait_for(run, "done", seconds=60)
        path = f"{MIRRORS}/{release.repository}"
        refs = self.world.gitlab.refs(path)
        assert refs[f"refs/tags/{release.tag}"] == refs["refs/heads/ci-sync"] == release.commit
        ours = [each for each in self.world.gitlab.pipelines(path) if each.source == "api"]
        assert len(ours) == 1, ours  # a push with ci.skip leaves skipped ones, too


@contextmanager
def staged(root: Path) -> Iterator[Stage]:
    """A world below `root` with modsync running in it, and with pipelines that cost little."""
    with (
        World(root, pipeline=PIPELINE) as world,
        Service(world.url, world.environment, root / "logs", world.admin_token) as service,
    ):
        stage = Stage(world, service)
        yield stage
        stage.redis.close()
        stage.engine.dispose()


def until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for a condition; how long it took in seconds. AssertionError when it does not come true in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def paused(*processes: psutil.Process) -> Iterator[None]:
    """These processes stand still meanwhile."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
