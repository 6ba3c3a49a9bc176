"""One page of a queue's or registry's jobs for the RQ dashboard, in the place of its own function, which counts wrongly."""

from __future__ import annotations

from typing import Any

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq_dashboard import web


def jobs_of_page(
    queue_name: str, registry_name: str, offset: int, per_page: int, order: str, connection: Redis
) -> tuple[int, list[dict[str, Any]]]:
    """How many jobs are there in all, and those of the page; what Redis forgot meanwhile is left out."""
    queue = Queue(queue_name, serializer=JSONSerializer, connection=connection)
    total = _count(queue, registry_name)
    descending = order == "dsc"
    start, end = _bounds(total, offset, per_page, descending=descending)
    ids = _ids(queue, registry_name, start, end) if start < end else []
    jobs = map(queue.fetch_job, reversed(ids) if descending else ids)
    return total, [web.serialize_job(job) for job in jobs if job]


def _bounds(total: int, offset: int, per_page: int, *, descending: bool) -> tuple[int, int]:
    """The page's first position and the one behind its last."""
    if descending:
        return max(total - offset - per_page, 0), total - offset
    return offset, min(offset + per_page, total)


def _count(queue: Queue, registry_name: str) -> int:
    if registry_name == "queued":
        return int(queue.count)
    return int(getattr(queue, f"{registry_name}_job_registry").get_job_count(cleanup=False))


def _ids(queue: Queue, registry_name: str, start: int, end: int) -> list[str]:
    """A queue wants a length, a registry the last position."""
    if registry_name == "queued":
        return list(queue.get_job_ids(start, end - start))
    return list(getattr(queue, f"{registry_name}_job_registry").get_job_ids(start, end - 1, cleanup=False))
