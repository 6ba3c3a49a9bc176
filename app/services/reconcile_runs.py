"""From what is missing to runs: old ones begin anew, new ones are recorded in batches, oldest version first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.domain.errors import SyncError
from app.domain.events import ReleaseEvent
from app.domain.reconcile import Item
from app.domain.run import Lane, Status, begins_anew, earlier
from app.services.delivery_views import MADE_HERE
from app.services.planning import Planner
from app.services.ports import Clock, JobQueue
from app.services.reconcile_values import Repository
from app.services.replay import Replay
from app.services.stores import IntakeStore, NewDelivery, PlannedRun, Receipt, ReplayOrder

log = logging.getLogger(__name__)

BATCH = 50  # as many as share a push


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of an item: the run that was begun, or why none could be; both "" where one is under way already."""

    item: Item
    run: str = ""
    refused: str = ""


class RunMaker:
    """Records what reconcile brings: a delivery of its own for each batch, for every run belongs to one."""

    def __init__(
        self, planner: Planner, store: IntakeStore, replay: Replay, queue: JobQueue, clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._planner, self._store, self._replay = planner, store, replay
        self._queue, self._clock, self._new_id = queue, clock, new_id

    def make(self, repository: Repository, items: Sequence[Item], actor: str, why: str = "") -> list[Brought]:
        """Begin a run for each; returns what became of each. Error: store_unavailable."""
        brought = [self._again(repository, item, actor, why) for item in items if _begins_anew(item)]
        for batch in _batches([item for item in items if not _begins_anew(item)]):
            brought += self._record(repository, batch, actor, why)
        return brought

    def places(self, repository: Repository, items: Sequence[Item]) -> dict[Item, Repository]:
        """Where the rules of today send the runs that brought these; without what has no run, or that none would take.

        That is by the run's own source, which need not be the repository's. Error: store_unavailable.
        """
        placed: dict[Item, Repository] = {}
        for batch in _batches([item for item in items if _brought_by(item)]):
            found = self._replay.places({_brought_by(item) for item in batch}, repository.clone_url)
            for item in batch:
                if place := found.get(_brought_by(item)):
                    placed[item] = Repository(place[1].mirror, place[0], place[1].clone_url)
        return placed

    def _again(self, repository: Repository, item: Item, actor: str, why: str) -> Brought:
        reason = _because(f"reconcile: {item.finding}", why)
        run = item.known.run if item.known else ""
        order = ReplayOrder(actor, reason, force=True, lane=Lane.BACKFILL, repo_url=repository.clone_url)
        try:
            stage = earlier(self._replay.find(run).stage, item.needs)
            return Brought(item, self._replay.replay(run, replace(order, from_stage=stage)).run_id)
        except SyncError as error:
            if error.code == "store_unavailable":
                raise
            log.warning("not_begun_anew", extra={"run": run, "code": error.code, "error": error.message})
            return Brought(item, refused="" if error.code == "still_running" else str(error))

    def _record(self, repository: Repository, items: Sequence[Item], actor: str, why: str) -> list[Brought]:
        tried = [(item, self._planned(repository, item, actor)) for item in items]
        plans = [(item, plan) for item, plan in tried if isinstance(plan, PlannedRun)]
        brought = [Brought(item, refused=str(error)) for item, error in tried if isinstance(error, SyncError)]
        if plans:
            delivery = self._delivery(repository, actor, len(plans), why)
            _, _, receipts = self._store.record(delivery, [plan for _, plan in plans])
            self._enqueue(receipts)
            brought += [_brought(item, receipt) for (item, _), receipt in zip(plans, receipts, strict=True)]
        return brought

    def _planned(self, repository: Repository, item: Item, actor: str) -> PlannedRun | SyncError:
        event = ReleaseEvent(
            module=item.module, ref=item.tag, is_tag=True, commit=item.commit or None, version=item.version,
            repo_url=repository.clone_url, subdir=item.subdir,
        )  # fmt: skip
        try:
            return self._planner.plan(repository.source, event, actor, lane=Lane.BACKFILL, needs=item.needs)
        except SyncError as error:
            log.warning("not_planned", extra={"release": f"{item.module}@{item.version}", "code": error.code})
            return error

    def _delivery(self, repository: Repository, actor: str, runs: int, why: str) -> NewDelivery:
        note = _because(f"{actor} brings {runs} missing versions of {repository.mirror}", why)
        made = self._new_id("d")
        return NewDelivery(
            id=made, source=repository.source, dedupe=f"reconcile:{made}", scheme=MADE_HERE, secret_id="",
            received_at=self._clock.now(), headers={}, body=b"", verdict="accepted", reason="reconcile",
            note=note[:1000],
        )  # fmt: skip

    def _enqueue(self, receipts: Sequence[Receipt]) -> None:
        jobs = [(receipt.job, receipt.run_id) for receipt in receipts if receipt.job]
        try:
            self._queue.enqueue_all(jobs, Lane.BACKFILL)
        except SyncError as error:
            log.warning("enqueue_failed", extra={"jobs": len(jobs), "code": error.code})  # the sweeper does it later


def _because(what: str, why: str) -> str:
    return f"{what}; {why}" if why else what


def _brought(item: Item, receipt: Receipt) -> Brought:
    if receipt.job:
        return Brought(item, receipt.run_id)
    ended = receipt.status in (Status.FAILED, Status.REJECTED)
    return Brought(item, refused=f"run {receipt.run_id} ended with {receipt.error}" if ended else "")


def _brought_by(item: Item) -> str:
    return item.known.run if item.known and item.known.pushed else ""


def _begins_anew(item: Item) -> bool:
    """A run that is done begins anew by a replay; one that failed when its release is recorded again (`needs`).

    Not so a registry's: what is recorded without a commit is another run than the one that got its commit from a worker.
    """
    known = item.known
    if known is None or not known.run or known.status is None:
        return False
    return known.status is Status.DONE or (not item.commit and begins_anew(known.status, known.error))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
