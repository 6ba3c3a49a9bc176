"""Many jobs for little more than the price of one: RQ makes the first, the others are copies of it under other names.

RQ spends most of an enqueue on objects that it takes apart again. What a job consists of stays RQ's own matter: the commands
that it says for one job are looked at, and said again for the others. What they do not fit (another RQ), RQ does itself.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError
from rq import Queue
from rq.job import Job
from rq.queue import EnqueueData

Named = tuple[str, str]
"""A job's id and its one argument."""
Command = tuple[Any, ...]


def enqueue_copies(queue: Queue, jobs: Sequence[Named], prepare: Callable[[str, str], EnqueueData]) -> None:
    """Enqueue all in one exchange, as queue.enqueue_many() does. Errors: redis-py's; then none is enqueued.

    `prepare` puts the id and the argument into a job, the argument also at its description's end, and nothing else.
    """
    if not jobs:
        return
    first, *rest = dict.fromkeys(jobs)
    with queue.connection.pipeline() as pipe:
        queue.enqueue_many([prepare(*first)], pipeline=pipe)
        template = _template([command for command, _ in pipe.command_stack], first)
        if template is None:
            queue.enqueue_many([prepare(*job) for job in rest], pipeline=pipe)
        else:
            for command in template.copies(rest):
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        try:
            pipe.execute()
        except ResponseError:
            # Nothing was done. A Redis that lets nobody copy (an old one, a list of allowed commands) takes RQ's own way.
            queue.enqueue_many([prepare(*job) for job in (first, *rest)])


@dataclass(frozen=True, slots=True)
class _Template:
    """What RQ said for one job: where it put it, and how it names the job's argument (`data` around it)."""

    key: str
    queue: str
    description: str
    data: tuple[bytes, bytes]

    def copies(self, jobs: Sequence[Named]) -> Iterator[Command]:
        """The commands for other jobs: each one's hash, then all onto the queue, in order."""
        head, tail = self.data
        for job_id, argument in jobs:
            key = Job.key_for(job_id)
            # Level 0: to shrink a hundred bytes costs more than to keep them. Whoever reads it does not notice.
            data = zlib.compress(head + json.dumps(argument).encode() + tail, 0)
            yield "COPY", self.key, key, "REPLACE"
            yield "HSET", key, "description", self.description + argument, "data", data
        if jobs:
            yield "RPUSH", self.queue, *[job_id for job_id, _ in jobs]


def _template(commands: Iterable[Command], job: Named) -> _Template | None:
    """None when the commands are not one job's hash, its push, and the queue's own name."""
    fields: dict[str, Any] = {}
    pushed = []
    for name, key, *values in commands:
        if name == "HSET" and key == Job.key_for(job[0]):
            fields |= zip(values[::2], values[1::2], strict=True)
        elif name == "RPUSH" and values == [job[0]]:
            pushed.append(key)
        elif name != "SADD":
            return None
    return _of_fields(fields, pushed[0], job) if len(pushed) == 1 else None


def _of_fields(fields: dict[str, Any], queue: str, job: Named) -> _Template | None:
    """None when something but data and description speaks of the job."""
    job_id, argument = job
    try:
        head, tail = zlib.decompress(fields.pop("data")).split(json.dumps(argument).encode())
        description = fields.pop("description").removesuffix(argument)
    except (KeyError, ValueError, zlib.error):
        return None
    if argument in description or any(argument in str(value) for value in fields.values()):
        return None
    return _Template(Job.key_for(job_id), queue, description, (head, tail))
