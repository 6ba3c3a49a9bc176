"""Redis dies, loses its memory, or a worker dies between taking a job and claiming its run: nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from rq import Worker
from rq.serializers import JSONSerializer

from tests.integration.recovery_world import RECOVERY_SECONDS, Stage, paused, staged, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("redis")) as made:
        yield made


def test_redis_killed_and_back_without_its_file(stage: Stage) -> None:
    workers = stage.first("worker").children()
    with paused(*workers):
        release, run = stage.release()
        first = stage.row(run).job
        stage.first("redis").kill()
        shutil.rmtree(stage.world.root / "data" / "redis")
        stage.start_again("redis")
        until(stage.redis_is_up, RECOVERY_SECONDS, "Redis")
        until(lambda: stage.row(run).job != first, RECOVERY_SECONDS, "a new job")
    until(lambda: stage.row(run).fence > 0, RECOVERY_SECONDS, "a worker to take the run")
    until(lambda: stage.registered_workers() == stage.working_processes(), RECOVERY_SECONDS, "RQ to know the workers")
    stage.ends_well(release, run)


def test_workers_that_wait_for_a_job_notice_that_redis_was_killed(stage: Stage) -> None:
    stage.ends_well(*stage.release())
    stage.first("redis").kill()
    stage.start_again("redis")
    until(stage.redis_is_up, RECOVERY_SECONDS, "Redis")
    release, run = stage.release()
    until(lambda: stage.row(run).fence > 0, RECOVERY_SECONDS, "a worker to take the run")
    stage.ends_well(release, run)


def test_redis_flushed(stage: Stage) -> None:
    workers = stage.first("worker").children()
    with paused(*workers):
        release, run = stage.release()
        first = stage.row(run).job
        stage.redis.flushall()
        until(lambda: stage.row(run).job != first, RECOVERY_SECONDS, "a new job")
    until(lambda: stage.row(run).fence > 0, RECOVERY_SECONDS, "a worker to take the run")
    until(lambda: stage.registered_workers() == stage.working_processes(), RECOVERY_SECONDS, "RQ to know the workers")
    assert all(worker.birth_date for worker in Worker.all(connection=stage.redis, serializer=JSONSerializer))
    stage.ends_well(release, run)


def test_a_worker_dies_between_taking_a_job_and_claiming_its_run(stage: Stage) -> None:
    workers = stage.first("worker").children()
    with paused(*workers):
        release, run = stage.release()
        first = stage.row(run).job
        # Redis hands the job to a worker that waits for one, also to one that stands still.
        until(lambda: first in stage.queue.intermediate_queue.get_job_ids(), RECOVERY_SECONDS, "the job to be taken")
        for worker in workers:
            worker.kill()
    until(lambda: stage.row(run).job != first, RECOVERY_SECONDS, "a new job")
    stage.ends_well(release, run)
    until(lambda: first not in stage.jobs_taken(), 2 * RECOVERY_SECONDS, "the lost job to be forgotten")
    assert not stage.redis.exists(f"rq:job:{first}")


def test_while_redis_hangs_webhooks_are_taken_and_afterwards_worked_off(stage: Stage) -> None:
    with paused(stage.first("redis")):
        release, run = stage.release()
    stage.ends_well(release, run)
