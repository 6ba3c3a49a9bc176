"""A private module that was asked for and is not known: reconcile its repository, once, and never many at a time."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.ids import CallId
from app.domain.modules import ModulePath
from app.domain.run import Lane
from app.services.ports import Clock
from app.services.reconcile_schedule import JOB, CallQueue
from app.services.reconcile_values import Repository

log = logging.getLogger(__name__)

_AGAIN = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


class Noted(Protocol):
    """The repositories; see reconcile_values.RepositoryStore. Error: store_unavailable."""

    def note(self, repository: Repository) -> None:
        """Add it to the list, or correct it there."""
        ...

    def give_job(self, mirror: str, job_before: datetime, now: datetime) -> bool:
        """Mark that a job was enqueued; False when somebody else was faster."""
        ...


class Wanted:
    """`repository_of` finds a module's repository (errors: no_rule, clone_url_refused); threads may share it.

    `remember`: asked modules are remembered for an hour, at most so many; `a_minute`: jobs that this process may start.
    """

    def __init__(
        self, repository_of: Callable[[ModulePath], Repository], store: Noted, queue: CallQueue, clock: Clock,
        *, remember: int = 10_000, a_minute: int = 10,
    ) -> None:  # fmt: skip
        self._repository_of, self._store, self._queue, self._clock = repository_of, store, queue, clock
        self._remember, self._a_minute = remember, a_minute
        self._asked: OrderedDict[ModulePath, datetime] = OrderedDict()
        self._begun: list[datetime] = []
        self._lock = threading.Lock()

    def take(self, module: ModulePath) -> bool:
        """True when `begin` has to be called: the first question within the hour, while the minute's jobs last."""
        now = self._clock.now()
        with self._lock:
            asked = self._asked.get(module)
            self._begun = [at for at in self._begun if now - at < _MINUTE]
            if (asked and now - asked < _AGAIN) or len(self._begun) >= self._a_minute:
                return False
            self._begun.append(now)
            self._keep(module, now)
            return True

    def begin(self, module: ModulePath) -> bool:
        """True when a job was enqueued. No error: what cannot be begun now is begun by a question an hour later."""
        try:
            return self._begin(module, self._clock.now())
        except SyncError as error:
            log.warning("not_reconciled", extra={"release": module.text, "code": error.code})
            return False

    def _keep(self, module: ModulePath, now: datetime) -> None:
        self._asked[module] = now
        self._asked.move_to_end(module)
        while len(self._asked) > self._remember:
            self._asked.popitem(last=False)

    def _begin(self, module: ModulePath, now: datetime) -> bool:
        found = self._repository_of(module)
        fresh = found.reconciled_at is not None and now - found.reconciled_at < _AGAIN
        if fresh:
            return False
        self._store.note(found)
        # The row decides between processes and hosts.
        if not self._store.give_job(found.mirror, now - _AGAIN, now):
            return False
        self._queue.call(JOB, found.mirror, str(CallId.of(found.mirror, now)), Lane.BACKFILL)
        log.info("reconcile_wanted", extra={"release": module.text, "mirror": found.mirror})
        return True
