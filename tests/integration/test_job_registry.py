"""When RQ's jobs were begun, as RQ itself writes it: with a real Valkey and worker."""

from datetime import UTC, datetime, timedelta

from redis import Redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from app.adapters.job_registry import RqJobRegistries
from app.domain.run import Lane
from tests.integration.embedded import embedded_redis


def begun_now(url: str, job: str) -> float:
    """A job that asks when it was begun; seconds ago."""
    found = RqJobRegistries(url).begun([job, "never-heard-of"])
    assert list(found) == [job]
    return (datetime.now(UTC) - found[job]).total_seconds()


def test_a_job_is_begun_when_a_worker_takes_it_up() -> None:
    with embedded_redis() as url:
        redis = Redis.from_url(url)
        queue = Queue(Lane.BACKFILL.value, connection=redis, serializer=JSONSerializer)
        job = queue.enqueue(f"{__name__}.begun_now", url, "given", job_id="given")
        assert RqJobRegistries(url).begun(["given"]) == {}  # it waits
        assert SimpleWorker([queue], connection=redis, serializer=JSONSerializer).work(burst=True)
        ago = job.return_value(refresh=True)
        assert ago is not None
        assert timedelta(0) <= timedelta(seconds=float(ago)) < timedelta(minutes=1)
