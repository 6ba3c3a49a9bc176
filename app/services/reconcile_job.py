"""What is done by schedule, as jobs: they give signs of life, and hand their work back when they have to end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
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
            with _beating(self._beat, self._sign):
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

    def _sign(self) -> None:
        if self._mirror is not None:
            self._store.at_work(self._mirror, self._clock.now())


class Searching(Protocol):
    """See UnknownMirrors."""

    def note(self, now: datetime) -> int:
        """Find mirrors that are not known, and add them to the list of repositories; how many."""
        ...


class SearchJob:
    """The search for mirrors that the database does not know."""

    def __init__(self, store: RepositoryStore, search: Searching, clock: Clock, beat: float = BEAT_SECONDS) -> None:
        self._store, self._search, self._clock, self._beat = store, search, clock, beat
        self._working = False

    def run(self) -> None:
        """Search; an interrupted one is no error: another worker does it.

        Errors: those of GitLab, store_unavailable; then it is tried again later.
        """
        self._store.search_at_work(self._clock.now())
        self._working = True
        try:
            with _beating(self._beat, self._sign):
                self._search.note(self._clock.now())
        except Exception as error:
            code = error.code if isinstance(error, SyncError) else "defect"
            if code != "interrupted":
                self._working = False
                self._store.search_at_work(self._clock.now(), code)
                raise
        self.give_up()

    def give_up(self) -> None:
        """Hand it back, from any thread. Error: store_unavailable."""
        if self._working:
            self._working = False
            self._store.free_search()

    def _sign(self) -> None:
        if self._working:
            self._store.search_at_work(self._clock.now())


@contextmanager
def _beating(seconds: float, sign: Callable[[], None]) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=_signs, args=(seconds, sign, ended), name="reconcile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _signs(seconds: float, sign: Callable[[], None], ended: threading.Event) -> None:
    while not ended.wait(seconds):
        try:
            sign()
        except SyncError as error:
            log.warning("no_sign_of_life", extra={"code": error.code})
