"""Jobs in every registry of a real Valkey, and workers, for the RQ dashboard to show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from redis import Redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from tests.integration.web_world import WebWorld, redis_url, until

WAITING = 19  # three pages of eight, in the queue that no test adds to
_DAY = 24 * 3600


@dataclass(frozen=True)
class Told:
    """The jobs' ids by the registry that they are in, and the run whose job is the failed one."""

    run: str
    jobs: dict[str, str]


def tell(web: WebWorld) -> Told:
    """One job of each state, `WAITING` queued ones in another queue, a busy and an idle worker."""
    redis = Redis.from_url(redis_url(web))
    queue = Queue("live", connection=redis, serializer=JSONSerializer)
    run, failed = failed_run(web, queue, "v1.0.0")
    jobs = {"failed": failed} | {state: _alone(queue, state) for state in _ENTER}
    jobs["queued"] = str(queue.enqueue("builtins.print", job_id="is-queued").id)
    other = Queue("backfill", connection=redis, serializer=JSONSerializer)
    for number in range(WAITING):
        other.enqueue("builtins.print", job_id=f"waits-{number}", description=f"advance {number}")
    _workers(redis)
    return Told(run, jobs)


def failed_run(web: WebWorld, queue: Queue, version: str) -> tuple[str, str]:
    """(run, job) of a release that failed, and RQ saw it fail."""
    run, name = web.failed_run(version)
    until(lambda: queue.connection.lpos(queue.key, name) is not None)
    job = Job.fetch(name, connection=queue.connection, serializer=JSONSerializer)
    queue.remove(job)
    job.started_at = job.ended_at = datetime.now(UTC)
    job.save()
    job.set_status(JobStatus.FAILED)
    Result.create_failure(job, _DAY, 'Traceback (most recent call last):\n  File "flow.py"\nJobFailed: pipeline_failed')
    FailedJobRegistry(queue=queue).add(job, ttl=_DAY)
    return run, name


def _alone(queue: Queue, state: str) -> str:
    """A job that is in this state and in no other list."""
    job = queue.enqueue("builtins.print", job_id=f"is-{state}", description=f"is {state}")
    queue.remove(job)
    _ENTER[state](queue, job)
    job.set_status(JobStatus(state))
    return str(job.id)


def _start(queue: Queue, job: Job) -> None:
    with queue.connection.pipeline() as pipeline:
        Execution.create(job, _DAY, pipeline=pipeline, worker_name="busy")
        pipeline.execute()
    assert job.id in StartedJobRegistry(queue=queue).get_job_ids()


def _defer(queue: Queue, job: Job) -> None:
    DeferredJobRegistry(queue=queue).add(job)


def _finish(queue: Queue, job: Job) -> None:
    Result.create(job, Result.Type.SUCCESSFUL, _DAY, return_value={"done": [1, 2]})
    FinishedJobRegistry(queue=queue).add(job, ttl=_DAY)


def _schedule(queue: Queue, job: Job) -> None:
    queue.scheduled_job_registry.schedule(job, datetime.now(UTC) + timedelta(days=1))


def _cancel(queue: Queue, job: Job) -> None:
    CanceledJobRegistry(queue=queue).add(job, ttl=_DAY)


_ENTER = {
    "scheduled": _schedule,
    "deferred": _defer,
    "started": _start,
    "finished": _finish,
    "canceled": _cancel,
}


def _workers(redis: Redis) -> None:
    """Two are there; the one named as `_start` names it is at its job."""
    for name, state in (("busy", WorkerStatus.BUSY), ("idle", WorkerStatus.IDLE)):
        worker = Worker(["live"], name=name, connection=redis, serializer=JSONSerializer, worker_ttl=_DAY)
        worker.register_birth()  # type: ignore[no-untyped-call]
        worker.set_state(state)
