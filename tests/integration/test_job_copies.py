"""A job that was copied is what RQ itself would have written, and RQ takes it as its own: with a real Valkey and worker."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.queue import EnqueueData
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from app.adapters.job_copies import enqueue_copies
from app.adapters.job_queue import RqJobQueue, _prepared
from tests.integration.embedded import embedded_redis

TIMES = ("created_at", "enqueued_at")
JOBS = [(f"r000000000000000000{number}-1-1", f"r000000000000000000{number}") for number in range(5)]


@pytest.fixture
def redis() -> Iterator[Redis]:
    with embedded_redis() as url:
        yield Redis.from_url(url)


def stored(redis: Redis, job_id: str) -> dict[str, Any]:
    """A job's hash as RQ reads it."""
    found: dict[bytes, bytes] = redis.hgetall(f"rq:job:{job_id}")  # type: ignore[assignment]
    fields: dict[str, Any] = {name.decode(): value for name, value in found.items()}
    fields["data"] = zlib.decompress(fields["data"])
    return fields | {name: datetime.fromisoformat(fields[name].decode()) for name in TIMES}


def shape(redis: Redis) -> dict[str, object]:
    """Every key but for its value: kind and time to live."""
    keys: list[bytes] = redis.keys()  # type: ignore[assignment]
    return {key.decode(): (redis.type(key), redis.ttl(key)) for key in keys}


def test_field_by_field_what_rq_writes(redis: Redis) -> None:
    mine = RqJobQueue(f"unix://{redis.connection_pool.connection_kwargs['path']}")
    rq = Queue("live", connection=redis, serializer=JSONSerializer, default_timeout=1)
    rq.enqueue_many([_prepared(*job) for job in JOBS])
    expected, keys, order = [stored(redis, job) for job, _ in JOBS], shape(redis), rq.get_job_ids()
    redis.flushall()
    begun = datetime.now(UTC)
    mine.enqueue_all(JOBS)
    copied = [stored(redis, job) for job, _ in JOBS]
    assert (shape(redis), rq.get_job_ids()) == (keys, order)
    for fields in copied:
        assert all(begun <= fields[name] <= begun + timedelta(seconds=20) for name in TIMES)
    without = [
        [{name: each[name] for name in each if name not in TIMES} for each in all_] for all_ in (copied, expected)
    ]
    assert without[0] == without[1]


def prepare(job_id: str, argument: str) -> EnqueueData:
    """A job of this module."""
    description = f"note {argument}"
    return Queue.prepare_data(
        f"{__name__}.note", args=(argument,), job_id=job_id, description=description, result_ttl=60
    )


def note(argument: str) -> str:
    """What the worker does."""
    return f"noted {argument}"


def test_a_worker_runs_them_in_order(redis: Redis) -> None:
    queue = Queue("live", connection=redis, serializer=JSONSerializer)
    enqueue_copies(queue, JOBS, prepare)
    worker = SimpleWorker([queue], connection=redis, serializer=JSONSerializer)
    assert worker.work(burst=True)
    assert queue.finished_job_registry.get_job_ids() == [job for job, _ in JOBS]
    assert StartedJobRegistry(queue=queue).count == queue.failed_job_registry.count == queue.count == 0
    done = Job.fetch_many([job for job, _ in JOBS], connection=redis, serializer=JSONSerializer)
    assert [job and job.return_value() for job in done] == [f"noted {run}" for _, run in JOBS]


class Labelled(Job):
    """A job of an RQ that writes more than today's."""

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """With a field that names the argument."""
        return {**super().to_dict(include_meta, include_result), "label": f"for {self.args[0]}"}


def test_what_is_not_understood_rq_does_itself(redis: Redis) -> None:
    queue = Queue("live", connection=redis, serializer=JSONSerializer, job_class=Labelled)
    enqueue_copies(queue, JOBS, prepare)
    assert [stored(redis, job)["label"] for job, _ in JOBS] == [f"for {run}".encode() for _, run in JOBS]
    assert queue.get_job_ids() == [job for job, _ in JOBS]


def test_one_twice_none_at_all(redis: Redis) -> None:
    queue = Queue("live", connection=redis, serializer=JSONSerializer)
    enqueue_copies(queue, [], prepare)
    assert redis.keys() == []
    enqueue_copies(queue, [JOBS[0], JOBS[1], JOBS[0], JOBS[1]], prepare)
    assert queue.get_job_ids() == [JOBS[0][0], JOBS[1][0]]


def test_a_job_that_was_there_is_written_anew(redis: Redis) -> None:
    queue = Queue("live", connection=redis, serializer=JSONSerializer)
    redis.hset(f"rq:job:{JOBS[1][0]}", mapping={"description": "old", "status": "failed"})
    enqueue_copies(queue, JOBS[:2], prepare)
    assert stored(redis, JOBS[1][0])["description"] == f"note {JOBS[1][1]}".encode()
    assert stored(redis, JOBS[1][0])["status"] == b"queued"


def test_a_redis_that_lets_nobody_copy_takes_them_all_the_same(redis: Redis) -> None:
    redis.acl_setuser("limited", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-copy"])
    path = redis.connection_pool.connection_kwargs["path"]
    limited = Redis(unix_socket_path=path, username="limited", password="any")
    queue = Queue("live", connection=limited, serializer=JSONSerializer)
    enqueue_copies(queue, JOBS, prepare)
    assert queue.get_job_ids() == [job for job, _ in JOBS]
    assert [stored(redis, job)["description"].decode() for job, _ in JOBS] == [f"note {run}" for _, run in JOBS]
