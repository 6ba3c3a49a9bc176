"""A run's way through the store, gone through once in a transaction that is rolled back, before worker processes fork.

SQLAlchemy makes a statement's text at its first use, which takes longer than the statement itself, and every job has a
process of its own. What one of them would learn is so learnt once, by all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from app.adapters.database import reading, writing
from app.adapters.flow_store import SqlFlowStore
from app.adapters.intake_store import record
from app.domain.run import Claim, Stage, Status, Target
from app.services.stores import Change, NewDelivery, PlannedRun, StepRecord

_ID = "rehearsal"
_SECONDS = 10.0
_FACTS: Mapping[str, Any] = {"push": {"tag": "v0.0.0", "object": "", "commit": "", "new": True}}


class _Rolled:
    """In place of an engine: every transaction is the one that is going to be rolled back."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self.dialect = connection, connection.dialect

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        yield self._connection

    def connect(self) -> _Connecting:
        return _Connecting(self)

    def execution_options(self, **_options: bool) -> _Rolled:
        return self


class _Connecting:
    """In place of a connection of its own."""

    def __init__(self, rolled: _Rolled) -> None:
        self._rolled = rolled

    def execution_options(self, **_options: bool) -> Any:
        return self._rolled.begin()


class _Enough(Exception):  # noqa: N818 - it reads as what happened
    """Rolls the transaction back."""


def rehearse(engine: Engine, now: datetime) -> None:
    """Let `engine` know the statements of a run. Nothing is kept, and no connection. Error: store_unavailable."""
    try:
        with reading(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
        with suppress(_Enough), writing(engine) as connection:
            _through(connection, SqlFlowStore(_Rolled(connection)), now)  # type: ignore[arg-type]
            raise _Enough
    finally:
        engine.dispose()


def _through(connection: Connection, store: SqlFlowStore, now: datetime) -> None:
    record(connection, _delivery(now), [_planned()])
    claim = store.claim(_ID, _ID, now, _SECONDS)
    lease = store.lease_mirror(_ID, _ID, now, _SECONDS)
    if claim is None or lease is None:
        return
    store.pauses()
    store.claim_siblings(claim, now, _SECONDS, 1)
    store.siblings_held(claim, now)
    store.renew([claim], lease, now, _SECONDS)
    store.renew([claim], replace(lease, becomes=_ID), now, _SECONDS, {_ID: {"object": ""}})
    store.release_mirror(lease, now, project=(0, "", ""), branch_at=None)
    _recorded(store, claim, now)


def _recorded(store: SqlFlowStore, claim: Claim, now: datetime) -> None:
    step = StepRecord(Stage.MIRROR, "ok", now, now)
    forward = Change(Status.PIPELINE, Stage.PIPELINE, _FACTS, 0, None, pushed=True)
    store.record(claim, step, forward, now)
    store.record(claim, step, Change(Status.VERIFY, Stage.VERIFY, _FACTS, 0, None), now)
    store.record(claim, None, Change(Status.PIPELINE, Stage.PIPELINE, _FACTS, 0, now), now)
    store.record(claim, None, Change(Status.PIPELINE, Stage.PIPELINE, _FACTS, 0, now, due_at=now), now)
    if again := store.claim(_ID, _ID, now, _SECONDS):
        store.record(again, step, Change(Status.DONE, Stage.VERIFY, _FACTS, 0, now), now)


def _delivery(now: datetime) -> NewDelivery:
    return NewDelivery(
        id=_ID, source=_ID, dedupe=_ID, scheme=_ID, secret_id=_ID, received_at=now, headers={}, body=b"", verdict="accepted",
    )  # fmt: skip


def _planned() -> PlannedRun:
    return PlannedRun(
        id=_ID, source=_ID, module=_ID, version="v0.0.0", ref=_ID, commit="0" * 40, semantic=_ID, event={},
        target=Target(clone_url=_ID, mirror=_ID),
    )  # fmt: skip
