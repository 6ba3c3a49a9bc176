"""Deliveries that share a transaction: the fast way and the careful way leave the same rows; full disks leave none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select

from app.adapters import migrate
from app.adapters.database import connect
from app.adapters.intake_batch import GroupedIntakeStore, Item, Recorded
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.prepared_insert import prepared
from app.adapters.retention_store import SqlRetentionStore
from app.adapters.tables import attempts, deliveries, delivery_runs, releases, runs
from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.stores import PlannedRun
from tests.integration.databases import wait_until
from tests.integration.interleaved import Interleaved
from tests.integration.stored import MODULE, A, B, Stored
from tests.integration.test_stores_races import at_once, codes, of_two_writers


def rows(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    with engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in (deliveries, releases, runs, attempts, delivery_runs)
        }


def by_key(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        found, key=lambda row: str([row.get(name) for name in ("id", "delivery", "run_id", "module", "version")])
    )


def emptied(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in (delivery_runs, attempts, runs, releases, deliveries):
            connection.execute(table.delete())


def test_both_ways_leave_the_same_rows(engine: Engine, stored: Stored) -> None:
    delivery, plan = stored.delivery(), stored.plan()
    fast = GroupedIntakeStore(engine).record(delivery, [plan])
    found = rows(engine)
    emptied(engine)
    assert SqlIntakeStore(engine).record(delivery, [plan]) == fast
    assert rows(engine) == found
    assert fast[2][0].job == f"{plan.id}-1-1"


@pytest.mark.parametrize("count", [3, 45])
def test_a_batch_of_any_size_and_mixture_too(engine: Engine, stored: Stored, count: int) -> None:
    """Several releases in one delivery, none in another."""
    items = [
        (stored.delivery(), [stored.plan(A, f"v1.{number}.{patch}") for patch in range(number % 3)])
        for number in range(count)
    ]
    fast = GroupedIntakeStore(engine)._record_all(items)
    found = rows(engine)
    emptied(engine)
    assert [SqlIntakeStore(engine).record(*item) for item in items] == list(fast)
    assert {name: by_key(each) for name, each in rows(engine).items()} == {n: by_key(each) for n, each in found.items()}
    assert len(found["deliveries"]) == count


def test_a_known_delivery_and_a_known_release_take_the_careful_way(engine: Engine, stored: Stored) -> None:
    store = GroupedIntakeStore(engine)
    delivery, plan = stored.delivery(), stored.plan()
    store.record(delivery, [plan])
    kept, known, (again,) = store.record(
        replace(delivery, id=stored.new_id("d")), [replace(plan, id=stored.new_id("r"))]
    )
    assert (kept, known, again.run_id, again.duplicate) == (delivery.id, True, plan.id, True)
    _, known, (other,) = store.record(stored.delivery(), [stored.plan(B)])
    assert (known, other.status, other.error) == (False, Status.REJECTED, "version_moved")
    _, _, (same,) = store.record(stored.delivery(), [stored.plan(A)])
    assert (same.run_id, same.duplicate) == (plan.id, True)


def test_many_threads_with_new_known_and_moved_releases(engine: Engine, stored: Stored) -> None:
    store = GroupedIntakeStore(engine)
    items = [
        (stored.delivery(), [stored.plan(commit, f"v1.{number}.0")]) for number in range(10) for commit in (A, B, A)
    ]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda item: store.record(*item), items))
    receipts = [receipts[0] for _, _, receipts in answers]
    assert sum(each.status is Status.QUEUED and not each.duplicate for each in receipts) == 10
    assert len(rows(engine)["releases"]) == 10
    assert len(rows(engine)["deliveries"]) == 30


def test_two_processes_do_not_disturb_each_other(engine: Engine, stored: Stored) -> None:
    stores = [GroupedIntakeStore(engine), GroupedIntakeStore(engine)]
    plans = [stored.plan(A, f"v1.{number}.0") for number in range(20)]
    items = [(store, stored.delivery(), replace(plan, id=stored.new_id("r"))) for plan in plans for store in stores]
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda item: item[0].record(item[1], [item[2]])[2][0], items))
    assert sum(not each.duplicate for each in receipts) == 20
    assert len(rows(engine)["runs"]) == 20


def test_a_value_that_the_database_does_not_take_harms_no_other_delivery(engine: Engine, stored: Stored) -> None:
    """Names are bounded before they come here; this is for the one that is forgotten."""
    store = GroupedIntakeStore(engine)
    items = [(stored.delivery(), [stored.plan(A, version)]) for version in ("v1.0.0", f"v1.0.0-{'a' * 300}", "v1.1.0")]
    answers = store._record_all(items)
    refused = [each for each in answers if isinstance(each, SyncError)]
    assert len(refused) == (engine.dialect.name == "postgresql")  # SQLite takes texts of any length
    assert {"v1.0.0", "v1.1.0"} <= {row["version"] for row in rows(engine)["runs"]}
    assert len(rows(engine)["deliveries"]) == 3 - len(refused)


class Watched(GroupedIntakeStore):
    """Notes how many plans each batch had; the first batch waits for `go`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.go, self.plans = threading.Event(), list[int]()

    def _record_all(self, items: Sequence[Item]) -> Sequence[Recorded | SyncError]:
        self.plans.append(sum(len(planned) for _, planned in items))
        assert self.go.wait(20)
        return super()._record_all(items)


def test_bodies_of_many_releases_share_no_transaction_and_let_a_bare_one_go_first(
    engine: Engine, stored: Stored
) -> None:
    store = Watched(engine)
    bodies = [(stored.delivery(), [stored.plan(A, f"v1.{number}.{each}") for each in range(50)]) for number in range(6)]
    bare = (stored.delivery(), [stored.plan(A, "v2.0.0+incompatible")])
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(store.record, stored.delivery(), [])
        wait_until(lambda: store.plans)
        others = list[Future[Recorded]]()
        for item in (*bodies, bare):
            others.append(pool.submit(store.record, *item))
            wait_until(lambda: len(store._commits._waiting) == len(others))
        store.go.set()
        assert [len(each.result()[2]) for each in others] == [50] * 6 + [1]
        first.result()
    assert store.plans == [0, 101, 100, 100]


@contextmanager
def held(engine: Engine, plan: PlannedRun, how: str) -> Iterator[None]:
    """Another transaction has the plan's run, or makes its release just now."""
    with engine.connect() as connection:
        if how == "run":
            connection.execute(select(runs).where(runs.c.id == plan.id).with_for_update())
        else:
            values = {"module": plan.module, "version": plan.version, "run_id": plan.id, "commit": plan.commit}
            connection.execute(insert(releases).values(values))
        yield
        connection.rollback()


@of_two_writers
@pytest.mark.parametrize("how", ["run", "release"])
def test_a_locked_row_turns_away_who_wants_it_and_nobody_else(database_url: str, stored: Stored, how: str) -> None:
    engine = connect(f"{database_url}&options=-c%20lock_timeout%3D2500", pool_size=20)  # in the place of 5 seconds
    store, plan = GroupedIntakeStore(engine), stored.plan()
    if how == "run":
        stored.deliver(plan)
    locked = (stored.delivery(), [replace(plan, id=stored.new_id("r"))])
    others = [(stored.delivery(), [stored.plan(module=f"{MODULE}/m{number}")]) for number in range(12)]
    with held(engine, plan, how), ThreadPoolExecutor(5) as pool:
        waits = pool.submit(store.record, *locked)
        while not waits.done():
            (item, *others) = others or [(stored.delivery(), [])]
            assert store.record(*item)
        assert store.record(stored.delivery(), [])
        with pytest.raises(SyncError, match="lock timeout"):
            waits.result()
    assert store.record(*locked)[2][0].status is Status.QUEUED
    engine.dispose()


@of_two_writers
def test_a_locked_row_is_recorded_as_soon_as_it_is_free(engine: Engine, stored: Stored) -> None:
    store, plan = GroupedIntakeStore(engine), stored.plan()
    stored.deliver(plan)
    with ThreadPoolExecutor(1) as pool:
        with held(engine, plan, "run"):
            waits = pool.submit(store.record, stored.delivery(), [replace(plan, id=stored.new_id("r"))])
            wait_until(lambda: store._patient._value < 4)
            assert store.record(stored.delivery(), [stored.plan(version="v1.1.0")])
        assert waits.result()[2][0].run_id == plan.id


@of_two_writers
def test_many_locked_rows_in_a_batch_keep_the_others_for_a_second_at_most(engine: Engine, stored: Stored) -> None:
    store, plans = GroupedIntakeStore(engine), [stored.plan(version=f"v1.{number}.0") for number in range(8)]
    stored.deliver(*plans)
    items = [(stored.delivery(), [replace(plan, id=stored.new_id("r"))]) for plan in plans]
    with ExitStack() as stack:
        for plan in plans[1:]:
            stack.enter_context(held(engine, plan, "run"))
        begun = time.monotonic()
        answers = store._record_all(items)
        assert time.monotonic() - begun < 3
    assert [isinstance(each, SyncError) for each in answers] == [False] + [True] * 7


@of_two_writers
@pytest.mark.parametrize("known", [True, False], ids=["the same delivery", "another delivery"])
def test_a_run_that_is_pruned_meanwhile_is_made_anew(engine: Engine, stored: Stored, known: bool) -> None:
    store, (first, plan) = GroupedIntakeStore(engine), (stored.delivery(), stored.plan())
    store.record(first, [plan])
    stored.fail(plan.id, error="tag_missing")
    before = stored.later(60)
    again = stored.delivery(first.dedupe if known else "")
    items = [(again, [replace(plan, id=stored.new_id("r"))])]
    items += [(stored.delivery(), [stored.plan(module=f"{MODULE}/m{number}")]) for number in range(3)]
    both = Interleaved(
        engine,
        "DELETE FROM runs",
        lambda: SqlRetentionStore(engine).prune_runs(before, 10),
        lambda: at_once(*[partial(store.record, *item) for item in items]),
    )
    assert (both.first, both.waited, codes(both.second)) == (1, True, {"ok": 4})
    (receipt,) = both.second[0][2]
    assert (receipt.run_id != plan.id, receipt.status, receipt.duplicate) == (True, Status.QUEUED, False)
    assert stored.held()["run_id"] == receipt.run_id
    assert stored.ops.get(plan.id) is None


def test_a_full_database_leaves_nothing_half_done(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'full.db'}"
    migrate.upgrade(url)
    engine = connect(url)
    event.listen(engine, "connect", _full_soon)
    stored, store = Stored(engine), GroupedIntakeStore(engine)
    answers = [_tried(store, stored, f"v1.{number}.0") for number in range(20)]
    taken = answers.index("store_unavailable")
    found = rows(engine)
    assert taken > 0
    assert set(answers[taken:]) <= {"store_unavailable", "busy"}
    assert {name: len(each) for name, each in found.items()} == dict.fromkeys(found, taken)
    engine.dispose()


def _tried(store: GroupedIntakeStore, stored: Stored, version: str) -> str:
    try:
        store.record(replace(stored.delivery(), body=b"x" * 20_000), [stored.plan(A, version)])
    except SyncError as error:
        return error.code
    return "taken"


def _full_soon(connection: Any, _record: Any) -> None:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 40}")


def test_a_row_that_would_need_a_default_is_refused(engine: Engine) -> None:
    """The prepared statement fills none in, so a new column with a default must be said by whoever makes the rows."""
    with pytest.raises(ValueError, match="seen"):
        prepared(deliveries, engine.dialect, frozenset({"id", "source"}))
