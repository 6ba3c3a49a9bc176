"""What any process on any host has looked at a short while ago: keys in Redis that end by themselves.

A worker's job is a process of its own, so what it remembers would end with it. Redis away: nothing was seen, look again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from math import ceil

from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

SEEN_SECONDS = 3600.0


class SeenHere:
    """gitlab_project.Seen for one process."""

    def __init__(self, seconds: float = SEEN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: dict[str, float] = {}

    def recently(self, name: str) -> bool:
        """See Seen."""
        return self._clock() < self._until.get(name, float("-inf"))

    def now(self, name: str) -> None:
        """See Seen."""
        self._until[name] = self._clock() + self._seconds


class SharedSeen:
    """gitlab_project.Seen for all processes."""

    def __init__(self, redis: Redis, seconds: float = SEEN_SECONDS) -> None:
        self._redis, self._seconds = redis, seconds

    def recently(self, name: str) -> bool:
        """See Seen."""
        try:
            return bool(self._redis.exists(_key(name)))
        except RedisError as error:
            log.warning("seen_not_read", extra={"error": type(error).__name__})
            return False

    def now(self, name: str) -> None:
        """See Seen."""
        try:
            self._redis.set(_key(name), 1, px=ceil(self._seconds * 1000))
        except RedisError as error:
            log.warning("seen_not_written", extra={"error": type(error).__name__})


def _key(name: str) -> str:
    return f"modsync:seen:{hashlib.sha256(name.encode()).hexdigest()[:32]}"
