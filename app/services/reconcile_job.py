"""A comparison by schedule as a job: it gives signs of life, and hands its repository back when it has to end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from app.domain.errors import SyncError
from app.services.ports import Clock
from app.services.reconcile import Order
from app.services.reconcile_values import Report, RepositoryStore

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0


class Comparing(Protocol):
    """See Reconcile."""

    def by_mirror(self, mirror: str, order: Order) -> Report:
        """Reconcile a known repository."""
        ...


class ReconcileJob:
    """One job, of one repository. A job that is silent and in no queue is given anew (ReconcileSchedule)."""

    def __init__(self, store: RepositoryStore, service: Comparing, clock: Clock, beat: float = BEAT_SECONDS) -> None:
        self._store, self._service, self._clock, self._beat = store, service, clock, beat
        self._mirror: str | None = None

    def run(self, mirror: str) -> None:
        """Compare; an interrupted one is no error: another worker does it. Errors: not_found, store_unavailable."""
        self._store.at_work(mirror, self._clock.now(), begins=True)
        self._mirror = mirror
        try:
            with self._beating(mirror):
                self._service.by_mirror(mirror, Order())
            self._mirror = None
        except SyncError as error:
            if error.code != "interrupted":
                raise
            self.give_up()

    def give_up(self) -> None:
        """Hand the repository back, from any thread. Error: store_unavailable."""
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            self._store.free_job(mirror)

    @contextmanager
    def _beating(self, mirror: str) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._signs, args=(mirror, ended), name="reconcile", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _signs(self, mirror: str, ended: threading.Event) -> None:
        while not ended.wait(self._beat):
            try:
                self._store.at_work(mirror, self._clock.now())
            except SyncError as error:
                log.warning("no_sign_of_life", extra={"code": error.code})
