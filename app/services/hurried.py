"""The database's answer for Athens within a short time, or none: a build must not wait for a database that hangs."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.views import Known


class Records(Protocol):
    """What the database says of a module. Error: store_unavailable."""

    def known(self, module: ModulePath, version: Version | None, limit: int) -> Known:
        """The newest `limit` runs, and the releases."""
        ...


class Hurried:
    """Asks `records` in one of `threads` threads, and waits `seconds`; a question has at most two such answers."""

    def __init__(self, records: Records, *, seconds: float, threads: int = 4) -> None:
        self._records, self._seconds, self._threads = records, seconds, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="records")
        self._late, self._lock = set[Future[Known]](), threading.Lock()

    def known(self, module: ModulePath, version: Version | None, limit: int) -> Known:
        """As `records` says it. Error: store_unavailable, at once while all threads still wait for earlier answers."""
        if self._all_late():
            raise SyncError("store_unavailable", "the database does not answer")
        asked = self._pool.submit(self._records.known, module, version, limit)
        try:
            return asked.result(self._seconds)
        except Late as late:
            with self._lock:
                self._late |= set() if asked.cancel() else {asked}
            raise SyncError("store_unavailable", f"the database did not answer within {self._seconds} s") from late

    def _all_late(self) -> bool:
        with self._lock:
            self._late = {asked for asked in self._late if not asked.done()}
            return len(self._late) >= self._threads
