"""Many runs made to go on at once, and intake that takes the same ones: nobody waits for somebody who waits for him."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select, update

from app.adapters import fences
from app.adapters.pause_store import SqlPauseStore
from app.adapters.pipeline_slots import WAITS, SqlSlotStore
from app.adapters.tables import runs
from app.domain.run import Lane, Stage, Status
from tests.integration.interleaved import Interleaved
from tests.integration.stored import Stored
from tests.integration.test_stores_races import of_two_writers

# Intake takes the second one first; the table has them as they came.
MODULES = ("go.corp.example/platform/log", "go.corp.example/Platform/log")


def _resumed(stored: Stored) -> int:
    return SqlPauseStore(stored.engine).wake(None, stored.now)


def _some_resumed(stored: Stored) -> int:
    with stored.engine.connect() as connection:
        ids = connection.execute(select(runs.c.id)).scalars().all()
    return SqlPauseStore(stored.engine).wake(ids, stored.now)


def _slots(limit: int, stored: Stored) -> int:
    return SqlSlotStore(stored.engine).wake(limit, stored.now)


def _wait(stored: Stored, error: str) -> None:
    later = stored.later(600)
    stored.later(-600)
    values = {
        "error": error,
        "due_at": later,
        "lane": Lane.BACKFILL,
        "stage": Stage.PIPELINE,
        "status": Status.PIPELINE,
    }
    with stored.engine.begin() as connection:
        connection.execute(update(runs).values(values))


WAKES = [
    pytest.param(_resumed, "paused", id="resume"),
    pytest.param(_some_resumed, "paused", id="resume some"),
    pytest.param(partial(_slots, 0), WAITS, id="no limit"),
    pytest.param(partial(_slots, 2), WAITS, id="free slots"),
]


@of_two_writers
@pytest.mark.parametrize(("wake", "error"), WAKES)
def test_a_redelivery_of_several_releases_and_their_wake_do_not_block_each_other(
    stored: Stored, wake: Callable[[Stored], int], error: str
) -> None:
    plans = [stored.plan(module=module) for module in MODULES]
    made = [stored.deliver(plan)[0].run_id for plan in plans]
    _wait(stored, error)
    both = Interleaved(stored.engine, "FROM runs", partial(stored.deliver, *plans), partial(wake, stored))
    assert [each.run_id for each in both.first] == made
    assert (both.second, both.waited) == (2, True)
    assert {stored.row(each)["due_at"] for each in made} == {stored.now}


@of_two_writers
def test_live_releases_go_on_beside_the_slots(stored: Stored) -> None:
    """Backfills that have become live ones, and as many others as slots are free, in one order."""
    made = [stored.release(module=module, lane=Lane.BACKFILL).run_id for module in (*MODULES, "go.corp.example/z")]
    _wait(stored, WAITS)
    with stored.engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.id == made[0]).values(lane=Lane.LIVE))
    assert _slots(1, stored) == 2
    assert [stored.row(each)["due_at"] == stored.now for each in made] == [True, True, False]


def test_more_runs_go_on_than_a_statement_holds(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fences, "_PART", 2)
    made = [stored.release(version=f"v1.{n}.0").run_id for n in range(5)]
    _wait(stored, "paused")
    assert _resumed(stored) == 5
    assert [(stored.row(each)["error"], stored.row(each)["due_at"]) for each in made] == [(None, stored.now)] * 5
