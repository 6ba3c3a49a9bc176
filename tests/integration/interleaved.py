"""Two transactions of real stores on PostgreSQL, the second begun in the middle of the first: no chance is left to chance."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine, event, text

_SECONDS = 20.0
_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)  # fmt: skip


class Interleaved:
    """`second` runs when `first` has done the statement that `told` names; `first` goes on once it ended or waits.

    `waited`: the second one had to wait for a lock of the first. Both results are there at the end; an error of either
    (PostgreSQL ends one of two that wait for each other) is raised.
    """

    def __init__(self, engine: Engine, told: str, first: Callable[[], Any], second: Callable[[], Any]) -> None:
        self._engine, self._told, self._second = engine, told, second
        self._thread: int | None = None
        self._begun: list[Future[Any]] = []
        self.waited = False
        with ThreadPoolExecutor(2) as self._pool:
            event.listen(engine, "after_cursor_execute", self._after)
            try:
                self.first = self._pool.submit(self._run, first).result(_SECONDS)
            finally:
                event.remove(engine, "after_cursor_execute", self._after)
        assert self._begun, f"no statement of the first transaction tells {told!r}"
        self.second = self._begun[0].result(_SECONDS)

    def _run(self, first: Callable[[], Any]) -> Any:
        self._thread = threading.get_ident()
        return first()

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self._begun or threading.get_ident() != self._thread or self._told not in " ".join(statement.split()):
            return
        self._begun.append(self._pool.submit(self._second))
        end = time.monotonic() + _SECONDS
        while not self._begun[0].done() and not self.waited:
            assert time.monotonic() < end, "the second transaction neither ended nor waits"
            time.sleep(0.005)
            self.waited = self._waits()

    def _waits(self) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.execute(_WAITING).scalar_one())
