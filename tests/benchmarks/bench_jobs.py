"""job-overhead: a run whose stages do nothing, through RQ, against an empty RQ job; one worker each, same Redis."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import func, select

from app.adapters.database import reading
from app.adapters.tables import runs
from tests.benchmarks.harness import Line, compared, wait_until
from tests.benchmarks.idle_worker import PLAIN
from tests.benchmarks.mirror_stage import Ours
from tests.benchmarks.own_redis import running, serving_redis

JOBS, ROUNDS = 60, 7


def lines(root: Path) -> Iterator[Line]:
    """One line: milliseconds for each job."""
    ours = Ours(root / "jobs", "http://127.0.0.1:1", "http://127.0.0.1:1")
    config = str(ours.container.settings.path)
    with serving_redis(ours.container.settings.data_dir) as url:
        worker = [sys.executable, "-m", "tests.benchmarks.idle_worker"]
        with running([[*worker, PLAIN, url], [*worker, config]]):
            yield compared("job-overhead", lambda: _ours(ours), lambda: _bare(url), 1.5, rounds=ROUNDS)


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
