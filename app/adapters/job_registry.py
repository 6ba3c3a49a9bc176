"""RQ's lists of jobs that were taken from the queue: read, and rid of what is no longer true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from app.adapters.job_queue import LIVE, redis_for_enqueue, where
from app.domain.errors import SyncError
from app.domain.run import Lane
from app.services.tidy import Place

_FAILED_AT_ONCE = 1000


class RqJobRegistries:
    """JobRegistry on the queues of all lanes."""

    def __init__(self, url: str) -> None:
        self._each = [RqJobRegistry(url, lane.value) for lane in Lane]

    def held(self) -> Mapping[str, Place]:
        """See JobRegistry."""
        return {job: place for each in self._each for job, place in each.held().items()}

    def begun(self, job_ids: Sequence[str]) -> Mapping[str, datetime]:
        """See JobRegistry; a job's record is the same for every queue."""
        return self._each[0].begun(job_ids)

    def forget(self, job_ids: Sequence[str]) -> None:
        """See JobRegistry."""
        for each in self._each:
            each.forget(job_ids)


class RqJobRegistry:
    """JobRegistry on RQ. The failed list may be long: each look reads its next part."""

    def __init__(self, url: str, name: str = LIVE) -> None:
        self._url = url
        self._redis = redis_for_enqueue(url)
        self._queue = Queue(name, connection=self._redis, serializer=JSONSerializer)
        self._offset = 0

    def held(self) -> Mapping[str, Place]:
        """See JobRegistry."""
        try:
            taken = [*self._queue.intermediate_queue.get_job_ids(), *(job for job, _ in self._started())]
            failed = self._some_failed()
        except RedisError as error:
            raise self._unavailable(error) from error
        return {**dict.fromkeys(failed, "failed"), **dict.fromkeys(taken, "taken")}

    def begun(self, job_ids: Sequence[str]) -> Mapping[str, datetime]:
        """See JobRegistry."""
        try:
            found = Job.fetch_many(list(job_ids), connection=self._redis, serializer=JSONSerializer)
        except RedisError as error:
            raise self._unavailable(error) from error
        return {job.id: job.started_at for job in found if job and job.started_at}

    def forget(self, job_ids: Sequence[str]) -> None:
        """See JobRegistry."""
        try:
            entries = [f"{job}:{execution}" for job, execution in self._started() if job in job_ids]
            for job_id in job_ids:
                self._delete(job_id)
            if entries:
                self._redis.zrem(self._queue.started_job_registry.key, *entries)
        except RedisError as error:
            raise self._unavailable(error) from error

    def _started(self) -> list[tuple[str, str]]:
        # Without RQ's own clean-up: it would call the jobs of dead workers failed.
        return list(self._queue.started_job_registry.get_job_and_execution_ids(cleanup=False))

    def _some_failed(self) -> list[str]:
        end = self._offset + _FAILED_AT_ONCE - 1
        found = list(self._queue.failed_job_registry.get_job_ids(self._offset, end, cleanup=False))
        self._offset = self._offset + _FAILED_AT_ONCE if len(found) == _FAILED_AT_ONCE else 0
        return found

    def _delete(self, job_id: str) -> None:
        with suppress(NoSuchJobError):
            Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer).delete()
        # Last: whoever does not find it in the lists any more may rely on its being gone.
        self._queue.intermediate_queue.remove(job_id)
        self._queue.failed_job_registry.remove(job_id)

    def _unavailable(self, error: RedisError) -> SyncError:
        return SyncError("queue_unavailable", f"Redis at {where(self._url)} does not answer: {type(error).__name__}")
