"""Many deliveries in one transaction: few statements for all that are new, the careful way for the rest.

New is what no earlier delivery, run or version stands against; whether that holds the database itself says, by what it
inserted. Statements go in one order, rows in the order of their keys, so that two processes never wait for each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from app.adapters.database import writing
from app.adapters.group_commit import GroupCommit
from app.adapters.intake_store import SqlIntakeStore, delivery_row, record, run_row
from app.adapters.prepared_insert import Rows, insert_all
from app.adapters.tables import attempts, deliveries, delivery_runs, releases, runs
from app.domain.errors import SyncError
from app.domain.ids import JobId
from app.domain.run import Stage, Status
from app.services.stores import NewDelivery, PlannedRun, Receipt

Item = tuple[NewDelivery, Sequence[PlannedRun]]
Recorded = tuple[str, bool, list[Receipt]]


class GroupedIntakeStore(SqlIntakeStore):
    """IntakeStore whose records of one process share transactions."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._commits: GroupCommit[Item, Recorded] = GroupCommit(self._record_all)

    def record(self, delivery: NewDelivery, planned: Sequence[PlannedRun]) -> Recorded:
        """See IntakeStore. Error, too: busy."""
        return self._commits.submit((delivery, planned))

    def _record_all(self, items: Sequence[Item]) -> Sequence[Recorded | SyncError]:
        new = _all_new(items)
        try:
            if new and (recorded := self._record_new(items)):
                return recorded
            with writing(self._engine) as connection:
                return [record(connection, *item) for item in items]
        except SyncError as error:
            if len(items) == 1 or not _is_between_items(error):
                raise
        return [self._record_alone(item) for item in items]

    def _record_new(self, items: Sequence[Item]) -> list[Recorded] | None:
        """All of them at once; None, and nothing written, when something was known already."""
        with writing(self._engine) as connection:
            if insert_all(connection, _rows(items)):
                return [_recorded(item) for item in items]
            connection.rollback()
        return None

    def _record_alone(self, item: Item) -> Recorded | SyncError:
        try:
            return super().record(*item)
        except SyncError as error:
            return error


def _is_between_items(error: SyncError) -> bool:
    """True for what another transaction's rows caused, or one's own value that the database does not take.

    A database that is away or full is everybody's trouble.
    """
    cause = error.__cause__
    deadlock = isinstance(cause, OperationalError) and getattr(cause.orig, "sqlstate", None) == "40P01"
    return deadlock or isinstance(cause, DataError | IntegrityError | sqlite3.IntegrityError)


def _all_new(items: Sequence[Item]) -> bool:
    """True when nothing within the batch stands against another part of it, and no plan needs a closer look."""
    plans = [plan for _, planned in items for plan in planned]
    plain = all(plan.refusal is None and plan.version and plan.commit for plan in plans)
    keys = {(item[0].source, item[0].dedupe) for item in items}
    versions = {(plan.module, plan.version) for plan in plans}
    return plain and len(keys) == len(items) and len(versions) == len(plans)


def _rows(items: Sequence[Item]) -> Rows:
    ordered = sorted(items, key=lambda item: (item[0].source, item[0].dedupe))
    plans = [(plan, delivery) for delivery, planned in ordered for plan in planned]
    plans.sort(key=lambda pair: (pair[0].module, pair[0].version or ""))
    return [
        (deliveries, [delivery_row(delivery) for delivery, _ in ordered]),
        (releases, [_release(plan) for plan, _ in plans]),
        (runs, [_run(plan, delivery) for plan, delivery in plans]),
        (attempts, [_attempt(plan, delivery) for plan, delivery in plans]),
        (delivery_runs, [{"delivery": each.id, "run_id": plan.id, "duplicate": False} for plan, each in plans]),
    ]


def _release(plan: PlannedRun) -> dict[str, Any]:
    return {"module": plan.module, "version": plan.version, "run_id": plan.id, "commit": plan.commit}


def _run(plan: PlannedRun, delivery: NewDelivery) -> dict[str, Any]:
    now = delivery.received_at
    return {**run_row(plan, delivery.id, now), "job": _job(plan), "job_at": now}


def _attempt(plan: PlannedRun, delivery: NewDelivery) -> dict[str, Any]:
    return {
        "run_id": plan.id, "number": 1, "kind": "delivery", "from_stage": Stage.MIRROR,
        "actor": plan.actor or f"source:{plan.source}", "reason": "", "created_at": delivery.received_at, "jobs": 1,
    }  # fmt: skip


def _job(plan: PlannedRun) -> str:
    return str(JobId(plan.id, 1, 1))


def _recorded(item: Item) -> Recorded:
    delivery, planned = item
    receipts = [Receipt(plan.id, Status.QUEUED, duplicate=False, job=_job(plan), lane=plan.lane) for plan in planned]
    return delivery.id, False, receipts
