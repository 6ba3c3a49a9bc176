"""Replays of many runs at once: first what exactly would happen, then just that, in batches with a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.errors import SyncError
from app.services.board import BoardStore
from app.services.replay import Replay
from app.services.stores import Receipt, ReplayOrder
from app.services.views import RunSummary

# A request is answered within a few seconds; each replay is a transaction of its own.
BATCH = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of the next batch, oldest first; `more`: others match, too, and are left for the next one."""

    code: str
    since: datetime
    runs: tuple[RunSummary, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one run: a receipt, or why it was not replayed."""

    run_id: str
    receipt: Receipt | None
    error: SyncError | None


def plan(store: BoardStore, code: str, since: datetime) -> Plan:
    """What a replay of all runs that failed with `code` since then would do next."""
    found = store.failed(code, since, BATCH + 1)
    return Plan(code, since, tuple(found[:BATCH]), len(found) > BATCH)


def replay_all(replay: Replay, run_ids: Sequence[str], order: ReplayOrder) -> tuple[Done, ...]:
    """Replay exactly these runs; one that cannot be is told and stops none of the others.

    Errors: bad_request for more than BATCH; `store_unavailable` ends it (what was done by then stays done).
    """
    if len(run_ids) > BATCH:
        raise SyncError("bad_request", f"at most {BATCH} runs are replayed at once", field="run")
    return tuple(_one(replay, run_id, order) for run_id in dict.fromkeys(run_ids))


def _one(replay: Replay, run_id: str, order: ReplayOrder) -> Done:
    try:
        return Done(run_id, replay.replay(run_id, order), None)
    except SyncError as error:
        if error.code == "store_unavailable":
            raise
        return Done(run_id, None, error)
