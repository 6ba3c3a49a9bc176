"""What Redis knows for the metrics: sums of all workers, what each host reported, queues and workers. One client each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from app.adapters.job_queue import redis_for_enqueue, where
from app.domain.errors import SyncError
from app.services.standing import HostReport, Shared

T = TypeVar("T")

SUMS = "modsync:sums"
HOSTS = "modsync:hosts"
# A host that says nothing for so long is gone, or has no workers any more.
HOST_SECONDS = 300.0

# A Redis that restarts may have lost the last second. Sums that went back a little look to Prometheus like a counter that
# began anew and was counted up to here at once, so with each start of Redis they do begin anew.
_SCRIPT = """
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
if redis.call('HGET', KEYS[1], 'server') ~= server then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'server', server)
end
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return #ARGV == 0 and redis.call('HGETALL', KEYS[1]) or {}
"""


class RedisSums:
    """See measuring.SharedSums. `queues` are RQ's names. Errors everywhere: queue_unavailable, within a second."""

    def __init__(self, url: str, queues: Sequence[str]) -> None:
        self._url, self._queues = url, tuple(queues)
        self._redis: Redis = redis_for_enqueue(url)

    def add(self, fields: Mapping[str, int]) -> None:
        """See SharedSums: one exchange. A host that hangs costs half a second."""
        words = [str(word) for pair in fields.items() for word in pair]
        self._ask(lambda: self._redis.eval(_SCRIPT, 1, SUMS, *words))

    def report(self, host: str, report: HostReport) -> None:
        """Say how a host is."""
        text = json.dumps({"at": time.time(), **asdict(report)})
        self._ask(lambda: self._redis.hset(HOSTS, host, text))

    def hosts(self) -> dict[str, HostReport]:
        """What hosts with workers reported within the last minutes, in one exchange."""
        return self._ask(lambda: self._hosts(cast("Mapping[bytes, bytes]", self._redis.hgetall(HOSTS))))

    def read(self) -> Shared:
        """Everything, in two exchanges."""
        return self._ask(self._read)

    def _read(self) -> Shared:
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.eval(_SCRIPT, 1, SUMS)
            pipeline.hgetall(HOSTS)
            for name in self._queues:
                pipeline.llen(f"{Queue.redis_queue_namespace_prefix}{name}")
                pipeline.smembers(WORKERS_BY_QUEUE_KEY % name)
            flat, hosts, *rest = pipeline.execute()
        depths = dict(zip(self._queues, map(int, rest[::2]), strict=True))
        known = dict(zip(self._queues, rest[1::2], strict=True))
        return Shared(_numbers(flat), depths, self._workers(known), self._hosts(hosts))

    def _workers(self, known: Mapping[str, set[bytes]]) -> dict[tuple[str, ...], int]:
        """The workers that live: RQ forgets a dead one's key within half a minute, its name in the list much later."""
        named = [(queue, name) for queue, names in known.items() for name in names]
        with self._redis.pipeline(transaction=False) as pipeline:
            for _, name in named:
                pipeline.hget(name.decode(), "state")
            states = pipeline.execute() if named else []
        found: dict[tuple[str, ...], int] = {(queue, state): 0 for queue in self._queues for state in ("idle", "busy")}
        for (queue, _), state in zip(named, states, strict=True):
            if state is not None:
                found[queue, "busy" if state == b"busy" else "idle"] += 1
        return found

    def _hosts(self, texts: Mapping[bytes, bytes]) -> dict[str, HostReport]:
        found, gone = {}, []
        for name, text in texts.items():
            told = json.loads(text)
            silent = time.time() - told.pop("at")
            if silent > HOST_SECONDS:
                gone.append(name)
            else:
                found[name.decode()] = _report(told)
        if gone:
            self._redis.hdel(HOSTS, *gone)
        return found

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (RedisError, ValueError, TypeError) as error:
            what = f"Redis at {where(self._url)} does not answer: {type(error).__name__}"
            raise SyncError("queue_unavailable", what) from error


def _report(told: Mapping[str, Any]) -> HostReport:
    """Of whatever version the host's modsync is."""
    return HostReport(**{name: told.get(name, 0) for name in HostReport.__dataclass_fields__})


def _numbers(flat: Sequence[bytes]) -> dict[str, int]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): int(number) for name, number in pairs if name != b"server"}
