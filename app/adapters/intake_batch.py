"""Many deliveries in one transaction: few statements for all that are new, the careful way for the rest.

New is what no earlier delivery, run or version stands against; whether that holds the database itself says, by what it
inserted. Statements go in one order, rows in the order of their keys, so that two processes never wait for each other.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from app.adapters.database import BUSY_SECONDS, HURRY_MS, hurry, writing
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

_LOCKED, _DEADLOCK = "55P03", "40P01"
# A row's lock is waited for in a hurry. What took so long is a table that somebody locked: that is everybody's trouble.
_TABLE_SECONDS = BUSY_SECONDS - 1
_MOST_PLANS = 128  # of a batch: a body has up to 100, and room is left for others' single ones
_MOST_PATIENT = 4  # requests that wait for a locked row: the other threads stay free


class GroupedIntakeStore(SqlIntakeStore):
    """IntakeStore whose records of one process share transactions."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._commits: GroupCommit[Item, Recorded] = GroupCommit(
            self._record_all, weight=_plans, most_weight=_MOST_PLANS
        )
        self._patient = threading.BoundedSemaphore(_MOST_PATIENT)

    def record(self, delivery: NewDelivery, planned: Sequence[PlannedRun]) -> Recorded:
        """See IntakeStore. Error, too: busy."""
        try:
            return self._commits.submit((delivery, planned))
        except SyncError as error:
            if _sqlstate(error) != _LOCKED or not self._patient.acquire(blocking=False):
                raise
        try:  # whoever wants a row that another transaction holds waits for it alone
            return super().record(delivery, planned)
        finally:
            self._patient.release()

    def _record_all(self, items: Sequence[Item]) -> Sequence[Recorded | SyncError]:
        new, began = _all_new(items), time.monotonic()
        try:
            if new and (recorded := self._record_new(items)):
                return recorded
            with writing(self._engine) as connection:
                hurry(connection)
                return [record(connection, *item) for item in items]
        except SyncError as error:
            if not _is_between_items(error):
                raise
            if time.monotonic() - began > _TABLE_SECONDS:
                raise SyncError(error.code, error.message, retry_after=error.retry_after) from None
            if len(items) == 1:
                return [error]
        return self._record_each(items)

    def _record_new(self, items: Sequence[Item]) -> list[Recorded] | None:
        """All of them at once; None, and nothing written, when something was known already."""
        with writing(self._engine) as connection:
            if insert_all(connection, _rows(items)):
                return [_recorded(item) for item in items]
            connection.rollback()
        return None

    def _record_each(self, items: Sequence[Item]) -> list[Recorded | SyncError]:
        """In transactions of their own, which together wait for others' rows as long as a batch does."""
        end = time.monotonic() + HURRY_MS / 1000
        return [self._record_alone(item, int((end - time.monotonic()) * 1000)) for item in items]

    def _record_alone(self, item: Item, patience_ms: int) -> Recorded | SyncError:
        try:
            with writing(self._engine) as connection:
                hurry(connection, patience_ms)
                return record(connection, *item)
        except SyncError as error:
            return error


def _plans(item: Item) -> int:
    return len(item[1])


def _is_between_items(error: SyncError) -> bool:
    """True for what another transaction's rows caused, or one's own value that the database does not take.

    A database that is away or full is everybody's trouble.
    """
    cause = error.__cause__
    own_value = isinstance(cause, DataError | IntegrityError | sqlite3.IntegrityError)
    return own_value or _sqlstate(error) in (_LOCKED, _DEADLOCK)


def _sqlstate(error: SyncError) -> str | None:
    """PostgreSQL's own code, where the error is one of its operation."""
    cause = error.__cause__
    return getattr(cause.orig, "sqlstate", None) if isinstance(cause, OperationalError) else None


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
