"""Replay: a new attempt of a run that ended, by the run's id or any of its jobs' ids."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

from app.domain.errors import SyncError
from app.domain.ids import run_of
from app.domain.mirror_source import source_url
from app.domain.run import Run, Stage, Target
from app.services import log_ids
from app.services.planning import Placed
from app.services.ports import Clock, JobQueue
from app.services.stores import Receipt, ReplayOrder, ReplayStore

log = logging.getLogger(__name__)

PlaceOf = Callable[[Run], Placed]
"""Where today's rules put a run; see Planner.today."""


class Replay:
    """Starts new attempts; the stored event enters at record, under the rules of today."""

    def __init__(self, store: ReplayStore, queue: JobQueue, clock: Clock, place: PlaceOf) -> None:
        self._store, self._queue, self._clock, self._place = store, queue, clock, place

    def replay(self, identifier: str, order: ReplayOrder) -> Receipt:
        """Begin a new attempt.

        Errors: not_found, still_running, already_done (unless forced), not_replayable, bad_request (a stage the run
        never came to), no_rule and clone_url_refused (today's rules do not allow it).
        """
        run = self.find(identifier)
        stage = order.from_stage or run.stage
        if _is_there_already(run, order.repo_url):
            order = replace(order, repo_url="")
        run = _where_it_is(run, order.repo_url)
        placed = self._place(run) if stage is Stage.MIRROR else None
        target, module = (placed.target, placed.module) if placed else (None, None)
        receipt = self._store.replay(run.id, order, target, self._clock.now(), module=module)
        if receipt.job:
            self._enqueue(receipt)
        return receipt

    def refusals(self, run_ids: Collection[str]) -> dict[str, SyncError]:
        """Which of these runs today's rules would not take from stage mirror on, and why. Nothing is changed."""
        refused = {}
        for run_id, run in self._store.many(run_ids).items():
            try:
                self._place(run)
            except SyncError as error:
                refused[run_id] = error
        return refused

    def places(self, run_ids: Collection[str], repo_url: str) -> dict[str, tuple[str, Target]]:
        """(source, target) of each of these runs, replayed with this `repo_url`; without those that would be refused."""
        placed = {}
        for run_id, run in self._store.many(run_ids).items():
            with suppress(SyncError):
                moved = "" if _is_there_already(run, repo_url) else repo_url
                placed[run_id] = run.source, self._place(_where_it_is(run, moved)).target
        return placed

    def find(self, identifier: str) -> Run:
        """The run of a run's or a job's id; it need not be in Redis any more. Error: not_found."""
        run_id = run_of(identifier.strip())
        run = self._store.get(run_id) if run_id else None
        if run is None:
            raise SyncError("not_found", f"there is no run or job {identifier!r}")
        log_ids.note(run=run.id, delivery=run.delivery)
        return run

    def _enqueue(self, receipt: Receipt) -> None:
        try:
            self._queue.enqueue(receipt.job or "", receipt.run_id, receipt.lane)
        except SyncError as error:
            log.warning("enqueue_failed", extra={"run": receipt.run_id, "code": error.code})  # the sweeper does it


def _is_there_already(run: Run, repo_url: str) -> bool:
    """True for another spelling of where the run's repository is."""
    return bool(repo_url) and source_url(repo_url) == source_url(run.target.clone_url)


def _where_it_is(run: Run, repo_url: str) -> Run:
    """The run as its event would name a repository that moved; "" changes nothing."""
    return replace(run, event={**run.event, "repo_url": repo_url}) if repo_url else run
