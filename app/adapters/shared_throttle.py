"""A brake that all web processes on all hosts share: counters in Redis, and one in this process for when Redis is away."""

from __future__ import annotations

import hashlib
import logging
from math import ceil

from redis import Redis
from redis.exceptions import RedisError

from app.services.throttle import Brake

log = logging.getLogger(__name__)


class SharedThrottle:
    """At most `limit` failures by address in `seconds`; `alone` counts the same in this process. Redis keeps digests."""

    def __init__(self, redis: Redis, limit: int, seconds: float, alone: Brake) -> None:
        self._redis, self._limit, self._seconds, self._alone = redis, limit, seconds, alone

    def wait(self, address: str) -> float:
        """See Brake."""
        return max(self._alone.wait(address), self._shared(address))

    def failed(self, address: str) -> None:
        """See Brake."""
        self._alone.failed(address)
        key = _key(address)
        try:
            with self._redis.pipeline(transaction=True) as together:
                together.set(key, 0, ex=ceil(self._seconds), nx=True)
                together.incr(key)
                together.execute()
        except RedisError as error:
            self._away(error)

    def _shared(self, address: str) -> float:
        key = _key(address)
        try:
            with self._redis.pipeline(transaction=False) as together:
                together.get(key)
                together.pttl(key)
                count, left = together.execute()
        except RedisError as error:
            self._away(error)
            return 0.0
        return max(left, 0) / 1000 if count is not None and int(count) >= self._limit else 0.0

    def _away(self, error: RedisError) -> None:
        log.warning("throttle_alone", extra={"error": type(error).__name__})


def _key(address: str) -> str:
    return f"modsync:login:{hashlib.sha256(address.encode()).hexdigest()[:32]}"
