"""RQ: a hint that there is work. JSON only, fixed descriptions, short time-outs; the database is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry
from rq import Queue
from rq.queue import EnqueueData
from rq.serializers import JSONSerializer

from app.adapters.job_copies import enqueue_copies
from app.domain.errors import SyncError
from app.domain.run import Lane

LIVE = Lane.LIVE.value
# By name, so that a web process never imports the workers.
JOB = "workers.jobs.advance_run"
# A step ends long before; git and HTTP have time-outs of their own. This ends only what hangs in spite of them.
JOB_SECONDS = 2 * 3600
RESULT_SECONDS = 24 * 3600
FAILURE_SECONDS = 30 * 24 * 3600
_REPLICAS = (b"slave", b"replica", "slave", "replica")  # text with decode_responses


# driver_info=None: for CLIENT LIST redis-py reads its package's metadata for each connection, which takes milliseconds, and
# each job's process has connections of its own.
#
# retry_on_error closes the connection, also where nothing is tried again: after a fail-over the old master says READONLY to
# whoever is still connected to it, and its address may be the new one's by now.


def redis_for_enqueue(url: str) -> Redis:
    """A client that fails within half a second instead of redis-py's several (references: measured 3.6-4.5 s)."""
    return Redis.from_url(
        url, socket_connect_timeout=0.5, socket_timeout=0.5, retry=Retry(NoBackoff(), 0),
        retry_on_error=[ReadOnlyError], driver_info=None,
    )  # fmt: skip


def redis_for_worker(url: str) -> Redis:
    """A client for RQ's workers, whose blocking reads set their own time-outs.

    One retry, at once, for a connection that Redis' restart cut; more would only delay RQ's own.
    """
    return Redis.from_url(
        url, socket_connect_timeout=2, health_check_interval=15, retry=Retry(NoBackoff(), 1), driver_info=None
    )


def where(url: str) -> str:
    """The Redis URL without its credentials, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _prepared(job_id: str, run_id: str, *, first: bool = False) -> EnqueueData:
    return Queue.prepare_data(
        JOB, args=(run_id,), job_id=job_id, description=f"advance {run_id}", timeout=JOB_SECONDS,
        result_ttl=RESULT_SECONDS, failure_ttl=FAILURE_SECONDS, at_front=first,
    )  # fmt: skip


class RqJobQueue:
    """JobQueue on RQ; a client per process, threads share it."""

    def __init__(self, url: str, *, shared: bool = False) -> None:
        """`shared`: nobody works on backfills alone, so the live queue has their jobs, too."""
        self._url = url
        self._redis = redis_for_enqueue(url)
        live = self._made(Lane.LIVE)
        self._queues = {Lane.LIVE: live, Lane.BACKFILL: live if shared else self._made(Lane.BACKFILL)}

    def enqueue(self, job_id: str, run_id: str, lane: str = Lane.LIVE, *, first: bool = False) -> None:
        """See ports.JobQueue."""
        self._send(lane, [_prepared(job_id, run_id, first=first)])

    def enqueue_all(self, jobs: Sequence[tuple[str, str]], lane: str = Lane.LIVE) -> None:
        """See ports.JobQueue: one pipeline, one round trip."""
        try:
            enqueue_copies(self._queues[Lane(lane)], jobs, _prepared)
        except RedisError as error:
            raise self._unavailable(error) from error

    def call(self, function: str, argument: str, job_id: str, lane: str) -> None:
        """Enqueue another of workers.jobs' functions with its one argument. Error: `queue_unavailable`."""
        job = Queue.prepare_data(
            f"workers.jobs.{function}", args=(argument,), job_id=job_id, description=function, timeout=JOB_SECONDS,
            result_ttl=RESULT_SECONDS, failure_ttl=FAILURE_SECONDS,
        )  # fmt: skip
        self._send(lane, [job])

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        """See ports.JobQueue: one read of each queue's list, whatever the number of ids."""
        self.ping()  # a replica would be read, and then refuse the new jobs
        try:
            held = {job for queue in self._queues.values() for job in queue.get_job_ids()}
        except RedisError as error:
            raise self._unavailable(error) from error
        return frozenset(job_ids) & held

    def ping(self) -> None:
        """Ask Redis whether it takes jobs. Error: `queue_unavailable`, also for a replica."""
        try:
            if self._role() in _REPLICAS:
                raise ReadOnlyError("a replica")
        except RedisError as error:
            raise self._unavailable(error) from error

    def depth(self, lane: str = Lane.LIVE) -> int:
        """How many jobs of the lane's queue wait. Error: `queue_unavailable`."""
        try:
            return self._queues[Lane(lane)].count
        except RedisError as error:
            raise self._unavailable(error) from error

    def _role(self) -> object:
        try:
            return self._redis.role()[0]
        except ResponseError:  # not for this user, or unknown to what is between
            return self._redis.ping()

    def _send(self, lane: str, jobs: list[EnqueueData]) -> None:
        try:
            self._queues[Lane(lane)].enqueue_many(jobs)
        except RedisError as error:
            raise self._unavailable(error) from error

    def _made(self, lane: Lane) -> Queue:
        return Queue(lane.value, connection=self._redis, serializer=JSONSerializer, default_timeout=JOB_SECONDS)

    def _unavailable(self, error: RedisError) -> SyncError:
        if isinstance(error, ReadOnlyError):
            self._redis.connection_pool.disconnect(inuse_connections=False)  # the other threads' idle ones, too
        return SyncError("queue_unavailable", f"Redis at {where(self._url)} does not answer: {type(error).__name__}")
