"""Whom all processes on all hosts leave alone for now: keys in Redis that end by themselves. Redis away: each for itself."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from math import ceil

from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

_FRESH_SECONDS = 1.0  # how old another process's news may be here
_AWAY_SECONDS = 10.0  # for so long a Redis that did not answer is not asked again


class SharedHolds:
    """services.host_limits.Holds; safe for threads, and for processes forked from this one."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis, self._clock = redis, clock
        self._until: dict[str, float] = {}
        self._ask_again: dict[str, float] = {}
        self._members: dict[str, tuple[float, set[str]]] = {}  # until when they are counted
        self._lock = threading.Lock()

    def wait(self, name: str) -> float:
        """See Holds."""
        now = self._clock()
        with self._lock:
            left = self._until.get(name, now) - now
            if left > 0 or self._ask_again.get(name, now) > now:
                return max(left, 0.0)
            self._ask_again[name] = now + _FRESH_SECONDS
        left = self._shared(name)
        self._keep(name, left)
        return left

    def hold(self, name: str, seconds: float) -> None:
        """See Holds."""
        self._keep(name, seconds)
        key, milliseconds = _key(name), ceil(seconds * 1000)
        # without what stands for a login
        log.warning("host_held", extra={"host": name.partition("#")[0], "seconds": round(seconds)})
        try:
            if not self._redis.set(key, 1, px=milliseconds, nx=True):
                self._redis.pexpire(key, milliseconds, gt=True)
        except RedisError as error:
            self._away(name, error)

    def count(self, name: str, member: str, seconds: float) -> int:
        """See Holds. Two processes that come with the same member at once count it once."""
        ours, key = self._ours(name, member, seconds), _key(name)
        try:
            with self._redis.pipeline() as together:
                together.sadd(key, _hashed(member))
                together.pexpire(key, ceil(seconds * 1000), nx=True)
                together.scard(key)
                return max(ours, int(together.execute()[-1]))
        except RedisError as error:
            self._away(name, error)
            return ours

    def _ours(self, name: str, member: str, seconds: float) -> int:
        """The same of this process alone."""
        now = self._clock()
        with self._lock:
            until, members = self._members.get(name, (now, set()))
            if until <= now:
                until, members = now + seconds, set()
            members.add(member)
            self._members[name] = until, members
            return len(members)

    def _shared(self, name: str) -> float:
        try:
            left = self._redis.pttl(_key(name))
        except RedisError as error:
            self._away(name, error)
            return 0.0
        return max(float(left), 0.0) / 1000

    def _keep(self, name: str, seconds: float) -> None:
        with self._lock:
            self._until[name] = max(self._until.get(name, 0.0), self._clock() + seconds)

    def _away(self, name: str, error: RedisError) -> None:
        with self._lock:
            self._ask_again[name] = self._clock() + _AWAY_SECONDS
        log.warning("holds_alone", extra={"error": type(error).__name__})


def _key(name: str) -> str:
    return f"modsync:held:{_hashed(name)}"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
