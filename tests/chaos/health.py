"""What is down now, and how soon work goes on when nothing is down any more, or after a single process was killed.

All by looking from outside: at the database's rows, Redis' and the web server's answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
import requests
from rq.utils import as_text
from sqlalchemy import Engine, func, select

from app.adapters.database import reading
from app.adapters.tables import runs, steps
from app.domain.errors import SyncError
from app.domain.run import Lane

_LOOK_SECONDS = 0.1
_NOTABLE_SECONDS = 0.3
LIMIT_SECONDS = 10.0
_MOST_ACTIVE = 8


@dataclass(frozen=True)
class Hurt:
    """A run whose worker was killed or stands still, and how it was then: its fence, its last outcome."""

    run: str
    state: tuple[int, datetime]
    at: float


@dataclass(frozen=True)
class Jobless:
    """A run that is due, that nobody holds, and whose job is not in Redis; how it was when that was seen first."""

    state: tuple[int, datetime]
    at: float


@dataclass
class Waiting:
    """Since when everything has been up, and what the work's progress was then."""

    since: float
    progress: tuple[int, ...]


class Health:
    """Outages by name. `samples`: seconds and what it was about, for each recovery."""

    def __init__(self, engine: Engine, redis_url: str, web_url: str) -> None:
        self._engine, self._web_url = engine, web_url
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._lock = threading.Lock()
        self._outages: dict[str, int] = {}
        self._all_up_at = time.monotonic()
        self._active = 0
        self._waiting: Waiting | None = None
        self._hurt: list[Hurt] = []
        self._jobless: dict[str, Jobless] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)
        self.samples: list[tuple[float, str]] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def down(self, name: str) -> None:
        """Something that a run needs is not there."""
        with self._lock:
            self._outages[name] = self._outages.get(name, 0) + 1
            self._end_waiting()

    def up(self, name: str) -> None:
        """It is there again."""
        with self._lock:
            self._outages.pop(name, None)
            if not self._outages:
                self._all_up_at = time.monotonic()

    def hurt(self, pids: list[int]) -> None:
        """These processes, with whatever runs they hold, were killed just now, or stand still."""
        with suppress(SyncError), reading(self._engine) as connection:
            held = (runs.c.active) & (runs.c.lease_until > datetime.now(UTC))
            rows = connection.execute(
                select(runs.c.id, runs.c.fence, runs.c.updated_at, runs.c.lease_owner).where(held)
            ).all()
            mine = [row for row in rows if any(row.lease_owner.endswith(f":{pid}") for pid in pids)]
            with self._lock:
                self._hurt += [Hurt(row.id, (row.fence, row.updated_at), time.monotonic()) for row in mine]

    def settled(self) -> bool:
        """True when nothing is down and no recovery is being measured."""
        with self._lock:
            return not self._outages and not self._hurt and not self._jobless and self._waiting is None

    def busy(self) -> bool:
        """True when more runs are in flight than two workers on two cores can follow."""
        return self._active >= _MOST_ACTIVE

    @property
    def outages(self) -> list[str]:
        """What is down now."""
        with self._lock:
            return sorted(self._outages)

    def web_answers(self) -> bool:
        """True when /readyz is 200."""
        with suppress(requests.RequestException):
            return requests.get(f"{self._web_url}/readyz", timeout=2).status_code == 200
        return False

    def redis_answers(self) -> bool:
        """True when PING is answered (not while it loads its file)."""
        with suppress(redis.RedisError):
            return bool(self._redis.ping())
        return False

    def _watch(self) -> None:
        up_since = 0.0
        while not self._stop.wait(_LOOK_SECONDS):
            with suppress(SyncError):
                look = self._look()
                with self._lock:
                    if not self._outages:
                        up_since = self._begin(look, up_since)
                        self._check(look)

    def _begin(self, look: dict[str, Any], up_since: float) -> float:
        """Everything is up since a moment: with work to do, wait for it to go on."""
        if self._all_up_at > up_since and look["due"]:
            self._waiting = Waiting(self._all_up_at, look["progress"])
        return self._all_up_at

    def _check(self, look: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._waiting and look["progress"] != self._waiting.progress:
            self.samples.append((now - self._waiting.since, "all up again"))
            self._waiting = None
        for hurt in list(self._hurt):
            if look["states"].get(hurt.run) != hurt.state:
                self.samples.append((now - max(hurt.at, self._all_up_at), f"run {hurt.run} of a hurt worker"))
                self._hurt.remove(hurt)
        self._check_jobs(look, now)

    def _check_jobs(self, look: dict[str, Any], now: float) -> None:
        """Each run without a job gets one again, whatever others do meanwhile."""
        jobless = look["jobless"]
        for run, since in list(self._jobless.items()):
            if jobless.get(run) != since.state:
                self._sample_job(run, since, now)
        for run, state in jobless.items():
            self._jobless.setdefault(run, Jobless(state, max(now, self._all_up_at)))

    def _sample_job(self, run: str, since: Jobless, now: float) -> None:
        del self._jobless[run]
        if now - since.at >= _NOTABLE_SECONDS:  # most were only on their way between two looks
            self.samples.append((now - since.at, f"run {run} had no job"))

    def _end_waiting(self) -> None:
        """The next outage came first: what was not back by then counts only when it was too late already."""
        if self._waiting and time.monotonic() - self._waiting.since > LIMIT_SECONDS:
            self.samples.append((time.monotonic() - self._waiting.since, "not back before the next outage"))
        self._waiting = None
        for run, since in list(self._jobless.items()):
            if time.monotonic() - since.at > LIMIT_SECONDS:
                self._sample_job(run, since, time.monotonic())
        self._jobless.clear()

    def _look(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(
                    *(runs.c[name] for name in ("id", "fence", "updated_at", "active", "due_at", "lease_until", "job"))
                )
            ).all()
            done = connection.execute(select(func.count()).select_from(steps)).scalar_one()
        free: Callable[[Any], bool] = lambda row: row.lease_until is None or row.lease_until < now  # noqa: E731
        due = [row for row in rows if row.active and row.due_at and row.due_at <= now and free(row)]
        ended = sum(not row.active for row in rows)
        self._active = len(rows) - ended
        return {
            "due": len(due), "progress": (sum(row.fence for row in rows), ended, done),
            "states": {row.id: (row.fence, row.updated_at) for row in rows}, "jobless": self._without_job(due),
        }  # fmt: skip

    def _without_job(self, due: Sequence[Any]) -> dict[str, tuple[int, datetime]]:
        """Those of the due runs whose job is in no queue; none while Redis does not say."""
        try:
            queued = {as_text(job) for lane in Lane for job in self._redis.lrange(f"rq:queue:{lane}", 0, -1)}
        except redis.RedisError:
            return {}
        return {row.id: (row.fence, row.updated_at) for row in due if row.job not in queued}
