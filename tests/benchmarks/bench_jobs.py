"""job-overhead: a run whose stages do nothing, through RQ, against an empty RQ job; one worker each, same Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import func, select

from app.adapters.database import reading
from app.adapters.embedded_redis import server_command, socket_path, socket_url
from app.adapters.tables import runs
from tests.benchmarks.harness import Line, compared, wait_until
from tests.benchmarks.idle_worker import PLAIN
from tests.benchmarks.mirror_stage import SECRETS, Ours
from tests.integration.web_world import ROOT
from tests.sandbox.processes import end_group

JOBS, ROUNDS = 60, 7


def lines(root: Path) -> Iterator[Line]:
    """One line: milliseconds for each job."""
    ours = Ours(root / "jobs", "http://127.0.0.1:1", "http://127.0.0.1:1")
    data = ours.container.settings.data_dir
    started = [_start(server_command(data))]
    try:
        wait_until(lambda: _answers(data))
        started.append(_start([sys.executable, "-m", "tests.benchmarks.idle_worker", PLAIN, socket_url(data)]))
        config = str(ours.container.settings.path)
        started.append(_start([sys.executable, "-m", "tests.benchmarks.idle_worker", config]))
        yield compared("job-overhead", lambda: _ours(ours), lambda: _bare(socket_url(data)), 1.5, rounds=ROUNDS)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            _ended(process)


def _answers(data: Path) -> bool:
    """The socket is there a moment before anybody listens."""
    try:
        return socket_path(data).exists() and bool(redis.Redis.from_url(socket_url(data)).ping())
    except redis.ConnectionError:
        return False


def _ours(world: Ours) -> float:
    ids = [world.release(f"idle/n{time.monotonic_ns()}", "v1.0.0", "a" * 40) for _ in range(JOBS)]
    begun = time.perf_counter()
    world.container.queue.enqueue_all([(f"{run}-1-1", run) for run in ids])
    wait_until(lambda: _done(world, ids) == JOBS)
    return (time.perf_counter() - begun) / JOBS


def _done(world: Ours, ids: list[str]) -> int:
    query = select(func.count()).where(runs.c.id.in_(ids), runs.c.status == "done")
    with reading(world.container.engine) as connection:
        return int(connection.execute(query).scalar_one())


def _bare(url: str) -> float:
    queue = Queue(PLAIN, connection=redis.Redis.from_url(url), serializer=JSONSerializer)
    registry = queue.finished_job_registry
    before = registry.get_job_count(cleanup=False)
    begun = time.perf_counter()
    queue.enqueue_many([Queue.prepare_data("tests.benchmarks.idle_worker.nothing", args=("x",)) for _ in range(JOBS)])
    wait_until(lambda: registry.get_job_count(cleanup=False) == before + JOBS)
    return (time.perf_counter() - begun) / JOBS


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **SECRETS}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        end_group(process)
