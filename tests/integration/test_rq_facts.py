"""What modsync leaves in Redis, and how its workers take it: with a real Valkey."""

import json
import signal
import zlib
from collections.abc import Iterator
from typing import cast

import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from app.adapters.job_queue import FAILURE_SECONDS, RESULT_SECONDS, RqJobQueue, redis_for_worker
from tests.integration.embedded import embedded_redis
from workers.worker import SyncWorker

JOB, RUN = "r0000000000000000001-1-1", "r0000000000000000001"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_redis() as served:
        yield served


def test_a_job_is_json_with_an_id_and_nothing_that_rq_would_do_by_itself(url: str) -> None:
    RqJobQueue(url).enqueue(JOB, RUN)
    stored = cast(dict[bytes, bytes], Redis.from_url(url).hgetall(f"rq:job:{JOB}"))
    kept = {name.decode(): value for name, value in stored.items()}
    assert json.loads(zlib.decompress(kept["data"])) == ["workers.jobs.advance_run", None, [RUN], {}]
    assert kept["description"] == f"advance {RUN}".encode()
    assert (int(kept["result_ttl"]), int(kept["failure_ttl"])) == (RESULT_SECONDS, FAILURE_SECONDS)
    assert RESULT_SECONDS > 500  # RQ's own, too short for whoever looks the next morning
    # Its retries want a scheduler, a callback that raises can end a worker: modsync's own are in the database.
    assert not [name for name, value in kept.items() if value and ("retr" in name or "callback" in name)]


def test_the_same_job_of_another_attempt_has_another_id(url: str) -> None:
    queue = RqJobQueue(url)
    for job in ("r0000000000000000002-1-1", "r0000000000000000002-1-2", "r0000000000000000002-2-1"):
        queue.enqueue(job, "r0000000000000000002")
        assert queue.waiting([job]) == {job}


def test_a_worker_has_one_queue_and_reads_json(url: str) -> None:
    worker = SyncWorker("live", redis_for_worker(url))
    assert [queue.name for queue in worker.queues] == ["live"]
    assert {worker.serializer, *(queue.serializer for queue in worker.queues)} == {JSONSerializer}
    assert (worker.maintenance_interval, worker.worker_ttl < 60, worker.job_monitoring_interval < 5) == (10, True, True)


def test_a_signal_that_came_while_a_worker_was_made_ends_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a parent's death comes once: without it the worker would go on for ever, and nobody would know it."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    worker = SyncWorker("live", redis_for_worker(url), asked=lambda: True)
    assert worker.work(logging_level="WARNING") is False  # at once, not when a job comes
    assert worker.stopping


def test_the_embedded_server_loses_no_job_for_want_of_memory_or_by_a_restart(url: str) -> None:
    server = Redis.from_url(url, decode_responses=True)
    told = {name: server.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "port")}
    assert told == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "port": "0"}
