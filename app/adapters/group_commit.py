"""One thread commits what many requests want recorded: a commit waits for the disk, and one wait can serve all of them.

Requests wait for their result for a bounded time. While the database hangs, new requests are turned away at once instead
of filling every thread of the web server.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.domain.errors import SyncError

In = TypeVar("In")
Out = TypeVar("Out")

_PAUSE_SECONDS = 1.0
_GATHER_SECONDS = 0.002

Work = Callable[[Sequence[In]], Sequence[Out | SyncError]]
"""Does a batch: a result or an error for each item, in order; an error it raises is everybody's."""


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Task(Generic[In, Out]):
    """`waits` is free once the result is there: a lock alone costs a tenth of an Event."""

    item: In
    waits: threading.Lock = field(default_factory=_taken_lock)
    done: bool = False
    result: Out | SyncError | None = None

    def finish(self, result: Out | SyncError) -> None:
        self.result, self.done = result, True
        self.waits.release()


class GroupCommit(Generic[In, Out]):
    """`most` items in one batch; `wait_seconds` for a result; `stuck_seconds` of one batch make new items refused.

    `weight`: what an item adds to a batch; the items after the first add up to what `most_weight` leaves.
    """

    def __init__(
        self, work: Work[In, Out], *, most: int = 64, weight: Callable[[In], int] = lambda _: 0, most_weight: int = 0,
        wait_seconds: float = 7.0, stuck_seconds: float = 2.0,
    ) -> None:  # fmt: skip
        self._work, self._most = work, most
        self._weight, self._most_weight = weight, most_weight
        self._wait, self._stuck = wait_seconds, stuck_seconds
        self._waiting: list[_Task[In, Out]] = []
        self._changed = threading.Condition()
        self._since: float | None = None  # when the present batch began
        self._refuse_until = 0.0
        self._crowded = False  # the last batch had several items: the next ones are on their way
        self._process: int | None = None

    def submit(self, item: In) -> Out:
        """Have `item` done with others. Errors: `busy` (not done), and what the work says of it."""
        task: _Task[In, Out] = _Task(item)
        with self._changed:
            self._refuse_when_stuck()
            self._start()
            self._waiting.append(task)
            self._changed.notify()
        if not task.waits.acquire(timeout=self._wait):
            self._give_up(task)
        if isinstance(task.result, SyncError):
            raise task.result
        return task.result  # type: ignore[return-value]  # done, so it is there

    def _refuse_when_stuck(self) -> None:
        since, now = self._since, time.monotonic()
        if now < self._refuse_until or (since is not None and now - since > self._stuck):
            raise SyncError("busy", "the database takes long: nothing was recorded", retry_after=5)

    def _give_up(self, task: _Task[In, Out]) -> None:
        """Take the task back when it was not begun; else nobody knows yet, and asking again is right in any case."""
        with self._changed:
            if task in self._waiting:
                self._waiting.remove(task)
        if not task.done:
            task.result = SyncError("busy", "the database did not answer in time", retry_after=5)

    def _start(self) -> None:
        # A thread does not survive a fork: each process starts its own, with its first item.
        if self._process != os.getpid():
            self._waiting, self._since = [], None
            threading.Thread(target=self._run, name="group-commit", daemon=True).start()
            self._process = os.getpid()  # not before: where no thread can be started, the next item tries again

    def _run(self) -> None:
        while True:
            self._do(self._next())

    def _next(self) -> list[_Task[In, Out]]:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
        if self._crowded:
            time.sleep(_GATHER_SECONDS)
        with self._changed:
            batch, self._waiting = self._chosen()
            self._since = time.monotonic()
        self._crowded = len(batch) > 1
        return batch

    def _chosen(self) -> tuple[list[_Task[In, Out]], list[_Task[In, Out]]]:
        """(A batch, the others): who waits longest, and who is light enough beside him, past other heavy ones."""
        batch, others, room = list[_Task[In, Out]](), list[_Task[In, Out]](), self._most_weight
        for task in self._waiting:
            weight = self._weight(task.item)
            if not batch or (weight <= room and len(batch) < self._most):
                batch.append(task)
                room -= weight
            else:
                others.append(task)
        return batch, others

    def _those_behind(self) -> list[_Task[In, Out]]:
        """What waited meanwhile has waited long enough; for as long as the batch took nobody else begins to wait.

        A shorter pause would not do: those who queue for a thread would hang behind a second batch, and a third.
        """
        with self._changed:
            now = time.monotonic()
            self._refuse_until = now + max(_PAUSE_SECONDS, now - (self._since or now))
            behind, self._waiting = self._waiting, []
        return behind

    def _do(self, batch: Sequence[_Task[In, Out]]) -> None:
        results: Sequence[Out | SyncError]
        try:
            results = self._work([task.item for task in batch])
        except SyncError as error:
            batch = [*batch, *self._those_behind()]
            results = [error] * len(batch)
        except Exception as error:  # noqa: BLE001 - this thread must outlive it, and each request must hear of it
            results = [SyncError("internal", f"recording failed: {type(error).__name__}")] * len(batch)
        self._since = None
        for task, result in zip(batch, results, strict=True):
            task.finish(result)
