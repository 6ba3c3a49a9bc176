"""One pace for all processes on all hosts: Redis holds when the next request may be made."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from app.services.pace import Paced

log = logging.getLogger(__name__)

_KEY = "modsync:pace"
# Takes the next free moment on Redis' own clock, in milliseconds; what is not asked for is not saved up.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local mine = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local left = mine - now + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.3f', now + left), 'PX', math.ceil(left) + 1000)
return string.format('%.3f', mine - now)
"""


class SharedPace:
    """Spreads the requests of everybody with this Redis evenly; `alone` paces this process while it is away."""

    def __init__(
        self, redis: Redis, per_second: float, alone: Paced, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._take = redis.register_script(_TAKE)
        self._step, self._alone, self._sleep = 1000 / per_second, alone, sleep

    def wait(self) -> None:
        """See Paced."""
        try:
            milliseconds = float(self._take(keys=[_KEY], args=[self._step]))
        except RedisError as error:
            log.warning("pace_alone", extra={"error": type(error).__name__})
            self._alone.wait()
            return
        if milliseconds > 0:
            self._sleep(milliseconds / 1000)
