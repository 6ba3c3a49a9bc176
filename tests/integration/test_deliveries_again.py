"""A delivery that comes again later is in the log as it came last: found by time, kept as a new one, taken once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event, insert

from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.intake_store import delivery_row
from app.adapters.retention_store import SqlRetentionStore
from app.adapters.tables import deliveries
from app.domain.errors import SyncError
from app.services.deliveries import Deliveries, DeliveryFilter, Pruning
from app.services.retention import RunPruning
from app.services.stores import NewDelivery
from tests.integration.interleaved import Interleaved
from tests.integration.stored import Stored, StoredClock
from tests.integration.test_platform_events import Platform
from tests.integration.test_stores_races import of_two_writers

DAY = 86400.0


@pytest.fixture
def platform(engine: Engine) -> Platform:
    return Platform(engine, "github")


@pytest.fixture
def store(engine: Engine) -> SqlDeliveryStore:
    return SqlDeliveryStore(engine)


@pytest.fixture
def log(platform: Platform, store: SqlDeliveryStore) -> Deliveries:
    return Deliveries(store, platform.intake, lambda *_: None)


def refused(platform: Platform) -> None:
    with pytest.raises(SyncError, match="invalid_payload"):
        platform.send({"action": "published", "release": {"tag_name": 7}}, **{"X-GitHub-Event": "release"})


def failed_since(log: Deliveries, platform: Platform, **age: int) -> list[str]:
    wanted = DeliveryFilter(failed=True, since=platform.clock.now() - timedelta(**age))
    return [each.id for each in log.list(wanted).items]


def test_one_whose_body_was_pruned_comes_again(
    platform: Platform, log: Deliveries, store: SqlDeliveryStore, stored: Stored
) -> None:
    answer = platform.published()
    stored.fail(answer.receipts[0].run_id, error="tag_missing")
    first = platform.clock.now()
    platform.clock.advance(91 * DAY)
    Pruning(store, platform.clock, days=90).once()
    assert log.detail(answer.delivery).kept is False
    platform.clock.advance(9 * DAY)
    stored.now = platform.clock.now()
    assert platform.published().delivery == answer.delivery
    found = log.detail(answer.delivery)
    assert (found.kept, found.headers["x-github-event"], "published" in found.body) == (True, "release", True)
    assert (found.received_at, found.last_seen_at, found.seen) == (first, platform.clock.now(), 2)
    stored.fail(answer.receipts[0].run_id, error="tag_missing")
    assert failed_since(log, platform, hours=2) == [answer.delivery]
    assert log.redeliver(answer.delivery, "cli:alice").receipts[0].job
    # It is kept as long as one that came today for the first time.
    platform.clock.advance(89 * DAY)
    Pruning(store, platform.clock, days=90).once()
    assert log.detail(answer.delivery).kept is True
    platform.clock.advance(2 * DAY)
    Pruning(store, platform.clock, days=90).once()
    assert log.detail(answer.delivery).kept is False


def test_one_that_is_refused_again_is_found_by_when_it_last_came(platform: Platform, log: Deliveries) -> None:
    refused(platform)
    (delivery,) = failed_since(log, platform, hours=2)
    platform.clock.advance(DAY)
    assert failed_since(log, platform, hours=2) == []
    refused(platform)
    assert failed_since(log, platform, hours=2) == [delivery]
    assert log.list(DeliveryFilter(until=platform.clock.now())).items == ()


def test_a_persons_redelivery_changes_no_time_and_no_header(platform: Platform, log: Deliveries) -> None:
    delivery = platform.published().delivery
    before = log.detail(delivery)
    platform.clock.advance(DAY)
    log.redeliver(delivery, "cli:alice")
    assert log.detail(delivery) == before


def came_again(stored: Stored, earlier: NewDelivery, **changed: Any) -> NewDelivery:
    made = replace(stored.delivery(earlier.dedupe), **changed)
    stored.intake.record(made, [])
    return made


def test_the_log_has_all_of_it_as_it_came_last(stored: Stored, store: SqlDeliveryStore) -> None:
    """The platform may sign otherwise by now, and a redelivery reads the headers as the scheme has them."""
    first = came_again(stored, stored.delivery())
    stored.later()
    changed = {"scheme": "github", "secret_id": "new", "headers": {"x": "y"}, "skew_ms": 7, "verdict": "refused"}
    last = came_again(stored, first, **changed, reason="invalid_payload", note="why")
    kept = store.stored(first.id)
    assert kept is not None
    assert {name: getattr(kept, name) for name in changed} == changed
    assert (kept.body, kept.reason, kept.note, kept.received_at) == (
        last.body,
        last.reason,
        last.note,
        first.received_at,
    )


def test_pages_go_by_when_each_last_came(stored: Stored, log: Deliveries) -> None:
    made = [stored.delivery() for _ in range(5)]
    for each in made:
        stored.intake.record(replace(each, received_at=stored.later()), [])
    for number in (1, 0):
        stored.later()
        came_again(stored, made[number])
    pages, cursor = list[list[str]](), None
    while cursor is not None or not pages:
        page = log.list(DeliveryFilter(), cursor, 2)
        pages.append([each.id for each in page.items])
        cursor = page.next
    assert pages == [[made[0].id, made[1].id], [made[4].id, made[3].id], [made[2].id]]


@contextmanager
def plans(engine: Engine) -> Iterator[list[str]]:
    """How the database finds the rows of each list of deliveries that is read meanwhile."""
    found: list[str] = []

    def explain(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM deliveries" in statement.replace("\n", " ") and "ORDER BY" in statement:
            how = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
            cursor = connection.connection.cursor()
            cursor.execute(f"{how} {statement}", parameters)
            found.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def many(stored: Stored) -> None:
    """Few rows are read as a whole, whatever indexes there are. One in a hundred is refused, one in thirty has its body."""
    rows = [delivery_row(replace(stored.delivery(), received_at=stored.later(60))) for _ in range(3000)]
    for number, row in enumerate(rows):
        row |= {"verdict": "accepted" if number % 100 else "refused", "pruned": bool(number % 30)}
    with stored.engine.begin() as connection:
        connection.execute(insert(deliveries), rows)
        connection.exec_driver_sql("ANALYZE deliveries")


def test_lists_and_retention_walk_along_their_indexes(stored: Stored, store: SqlDeliveryStore) -> None:
    many(stored)
    since = stored.now - timedelta(hours=10)
    with plans(stored.engine) as found:
        for verdict in (None, "refused"):
            store.list(DeliveryFilter(verdict=verdict, since=since), None, 10)
            store.list(DeliveryFilter(verdict=verdict, since=since), (stored.now, "z"), 10)
        store.prune(since, 10)
    wanted = ["last_seen_at_id"] * 2 + ["verdict_last_seen_at"] * 2 + ["pruned_last_seen_at"]
    assert len(found) == len(wanted)
    for plan, index in zip(found, wanted, strict=True):
        assert f"ix_deliveries_{index}" in plan, plan
        assert "last_seen_at" in plan.replace(f"ix_deliveries_{index}", ""), plan  # the time bounds the walk


def test_what_is_pruned_while_it_comes_again_is_new(stored: Stored, store: SqlDeliveryStore) -> None:
    """Between the two statements of intake, as it may be on PostgreSQL: the request is in the log all the same."""
    first = came_again(stored, stored.delivery())
    gone: list[None] = []

    def prune(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE deliveries") and not gone:
            gone.append(None)
            connection.execute(delete(deliveries))

    event.listen(stored.engine, "before_cursor_execute", prune)
    again = stored.delivery(first.dedupe)
    try:
        assert stored.intake.record(again, [])[:2] == (again.id, False)
    finally:
        event.remove(stored.engine, "before_cursor_execute", prune)
    assert store.stored(first.id) is None
    assert store.stored(again.id) is not None


@of_two_writers
def test_one_that_comes_while_it_is_pruned_is_in_the_log(stored: Stored, store: SqlDeliveryStore) -> None:
    first = came_again(stored, stored.delivery())
    again = stored.delivery(first.dedupe)
    both = Interleaved(
        stored.engine, "DELETE FROM deliveries", partial(store.prune, stored.later(), 10),
        partial(stored.intake.record, again, []),
    )  # fmt: skip
    assert (both.first, both.second[:2], both.waited) == (1, (again.id, False), True)
    assert store.stored(again.id) is not None


@of_two_writers
def test_one_that_comes_again_while_its_run_goes_is_kept(stored: Stored, store: SqlDeliveryStore) -> None:
    """Intake has its row, and not committed yet; retention removes the run and what nothing refers to any more."""
    first = stored.delivery()
    (receipt,) = stored.intake.record(first, [stored.plan()])[2]
    stored.finish(receipt.run_id)
    store.prune(stored.later(), 10)
    clock = StoredClock(stored)
    stored.later(1000 * DAY)
    remove = RunPruning(SqlRetentionStore(stored.engine), clock, days=730).once
    again = replace(stored.delivery(first.dedupe), verdict="refused", reason="clone_url_refused")
    both = Interleaved(stored.engine, "UPDATE deliveries", partial(stored.intake.record, again, []), remove)
    assert (both.second, both.waited) == (1, False)
    kept = store.stored(first.id)
    assert kept is not None
    assert (kept.pruned, kept.body, kept.reason) == (False, again.body, "clone_url_refused")
