"""Deliveries that share a transaction: the fast way and the careful way leave the same rows; full disks leave none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from app.adapters import migrate
from app.adapters.database import connect
from app.adapters.intake_batch import GroupedIntakeStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.prepared_insert import prepared
from app.adapters.tables import attempts, deliveries, delivery_runs, releases, runs
from app.domain.errors import SyncError
from app.domain.run import Status
from tests.integration.stored import A, B, Stored


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
