"""What the metrics ask of the database: right on both databases, and by indexes whatever there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Select, event, func, insert, select, text, update

from app.adapters.database import reading, writing
from app.adapters.standing_store import SqlStandingStore
from app.adapters.tables import credentials, deliveries, duties, pauses, repositories, runs
from app.adapters.tables_notify import notices
from app.domain.run import ENDED, Lane, Status
from app.services.standing import MOST, Standing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BIG = ("runs", "deliveries", "attempts", "steps", "releases")


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        """NOW."""
        return NOW

    def chance(self) -> float:
        """0."""
        return 0.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def row(number: int, status: Status, **more: Any) -> dict[str, Any]:
    """A run's row; `more` replaces columns."""
    ended = status in ENDED
    values = {
        "id": f"r{number:019d}", "source": "platform", "delivery": "d1", "module": f"go.corp.example/m{number % 50}",
        "version": "v1.0.0", "ref": "v1.0.0", "commit": "a" * 40, "semantic": f"{number:064d}", "target": {}, "event": {},
        "mirror": f"m/{number % 50}", "status": status, "stage": "mirror" if ended else status.replace("queued", "mirror"),
        "active": not ended, "facts": {}, "lane": "live", "created_at": ago(7200 + number), "updated_at": ago(10),
        "due_at": None if ended else ago(10), "ended_at": ago(60) if ended else None, "attempt": 1, "lease_until": None,
        "job_at": None, "error": None,
    }  # fmt: skip
    return values | more


def fill(engine: Engine, rows: list[dict[str, Any]]) -> None:
    delivery = {
        "id": "d1", "source": "platform", "dedupe": "x", "scheme": "article", "secret_id": "one", "received_at": NOW,
        "last_seen_at": NOW, "headers": {}, "body": b"", "verdict": "accepted",
    }  # fmt: skip
    with writing(engine) as connection:
        connection.execute(insert(deliveries).values(delivery))
        connection.execute(insert(runs), rows)


def standing(engine: Engine) -> Standing:
    return SqlStandingStore(engine, Still()).standing()


def test_an_empty_database_has_no_numbers_but_noughts(engine: Engine) -> None:
    found = standing(engine)
    assert {*found.in_flight.values(), *found.ended.values()} == {0}
    assert {each.due_seconds for each in found.lanes.values()} == {0.0}
    assert (found.sweeper_seconds, found.reconciled.last_seconds, found.api_token_ends) == (None, None, None)
    assert (found.outbox.waiting, found.outbox.due_seconds, found.pauses) == (0, 0.0, 0)


def test_runs_by_state_and_lane(engine: Engine) -> None:
    fill(engine, [
        row(1, Status.QUEUED, due_at=ago(30), job_at=ago(5)),
        row(2, Status.QUEUED, due_at=ago(20)),  # no job yet
        row(3, Status.MIRROR, due_at=ago(500), lease_until=NOW + timedelta(seconds=5)),  # held
        row(4, Status.VERIFY, due_at=ago(15), lease_until=ago(3)),  # its worker died
        row(5, Status.PIPELINE, due_at=NOW + timedelta(seconds=60)),  # waits for its pipeline
        row(6, Status.MIRROR, created_at=ago(99_000), due_at=NOW + timedelta(hours=1), error="paused"),
        row(7, Status.MIRROR, created_at=ago(99_000), attempt=2, due_at=NOW + timedelta(seconds=60)),
        row(8, Status.QUEUED, lane="backfill", due_at=ago(4000), created_at=ago(50_000)),
        row(9, Status.DONE), row(10, Status.DONE, ended_at=ago(90_000)), row(11, Status.FAILED), row(12, Status.REJECTED),
    ])  # fmt: skip
    found = standing(engine)
    assert found.in_flight == {Status.QUEUED: 3, Status.MIRROR: 3, Status.PIPELINE: 1, Status.VERIFY: 1}
    assert found.ended == {Status.DONE: 1, Status.FAILED: 1, Status.REJECTED: 1}
    live, backfill = found.lanes[Lane.LIVE], found.lanes[Lane.BACKFILL]
    assert (live.due, live.due_seconds, live.jobless_seconds) == (3, 30.0, 20.0)
    assert (live.held, live.lost, live.flight_seconds) == (1, 1, 7205.0)
    assert (backfill.due, backfill.due_seconds, backfill.flight_seconds) == (1, 4000.0, 50_000.0)


def test_what_a_person_cancelled_is_no_failure_to_be_mended(engine: Engine) -> None:
    fill(engine, [
        row(1, Status.FAILED, error="cancelled"), row(2, Status.FAILED, error="pipeline_failed"),
        row(3, Status.FAILED, error="cancelled"),
    ])  # fmt: skip
    assert standing(engine).ended[Status.FAILED] == 1


def test_sweeper_reconcile_notices_tokens_and_pauses(engine: Engine) -> None:
    token = {"kind": "token", "role": "viewer", "created_at": NOW, "created_by": "a"}
    long = {**token, "created_at": NOW - timedelta(days=81)}
    notice = {"receiver": "r", "event": "failed", "code": "c", "count": 1, "items": [], "tries": 0, "answer": ""}
    times = {"created_at": ago(50), "due_at": ago(40)}
    repository = {"source": "platform", "clone_url": "u", "result": {}}
    with writing(engine) as connection:
        connection.execute(insert(duties).values(name="sweep", owner="x", until=NOW + timedelta(seconds=1)))
        connection.execute(insert(pauses).values(kind="all", value="", actor="a", created_at=NOW))
        connection.execute(insert(repositories), [
            {"mirror": "a", "reconciled_at": ago(10), **repository}, {"mirror": "b", "reconciled_at": ago(900), **repository},
            {"mirror": "c", "reconciled_at": None, **repository},
        ])  # fmt: skip
        connection.execute(insert(notices), [
            {"id": "1", "state": "waiting", **notice, **times}, {"id": "2", "state": "gathering", **notice, **times},
            {"id": "3", "state": "delivered", **notice, **times},
        ])  # fmt: skip
        connection.execute(insert(credentials), [
            {"id": "1", "name": "a", "digest": "1", "expires_at": NOW + timedelta(days=9), "revoked_at": None, **long},
            {"id": "2", "name": "b", "digest": "2", "expires_at": NOW + timedelta(days=1), "revoked_at": NOW, **token},
            {"id": "3", "name": "c", "digest": "3", "expires_at": ago(5), "revoked_at": None, **token},
            {"id": "4", "name": "d", "digest": "4", "expires_at": NOW + timedelta(days=1), "revoked_at": None, **token},
        ])  # fmt: skip
    found = standing(engine)
    assert found.sweeper_seconds == 2.0
    assert (found.reconciled.last_seconds, found.reconciled.oldest_seconds, found.reconciled.never) == (10.0, 900.0, 1)
    assert (found.outbox.waiting, found.outbox.due_seconds) == (2, 40.0)
    assert found.api_token_ends == (NOW + timedelta(days=9)).timestamp()
    assert found.pauses == 1


def test_a_notice_that_was_refused_is_as_old_as_its_first_try(engine: Engine) -> None:
    """Its next try always lies ahead, so by that it would never grow old; a receiver that was removed is none."""
    notice = {
        "event": "failed", "code": "c", "count": 1, "items": [], "tries": 3, "answer": "500", "state": "waiting",
        "created_at": ago(2100), "due_at": NOW + timedelta(seconds=500),
    }  # fmt: skip
    with writing(engine) as connection:
        connection.execute(insert(notices), [
            {"id": "1", "receiver": "chat", "sent_at": ago(2000), **notice},
            {"id": "2", "receiver": "removed", "sent_at": ago(9000), **notice},
        ])  # fmt: skip
    assert (standing(engine).outbox.waiting, standing(engine).outbox.due_seconds) == (2, 9000.0)
    known = SqlStandingStore(engine, Still(), ["chat", "mail"]).standing().outbox
    assert (known.waiting, known.due_seconds) == (1, 2000.0)


def test_more_than_most_of_one_kind_are_as_bad_as_that_many(engine: Engine) -> None:
    fill(engine, [row(number, Status.QUEUED, due_at=ago(number)) for number in range(MOST + 50)])
    live = standing(engine).lanes[Lane.LIVE]
    assert (live.due, live.due_seconds) == (MOST, MOST + 49.0)


@pytest.fixture
def grown(engine: Engine) -> Engine:
    """A database with history: 20,000 runs that ended, 200 in flight; PostgreSQL knows it."""
    ended = [row(number, Status.DONE, ended_at=ago(number), created_at=ago(number)) for number in range(20_000)]
    flying = [row(number, Status.QUEUED) for number in range(20_000, 20_200)]
    fill(engine, ended + flying)
    with writing(engine) as connection:
        connection.execute(update(runs).where(runs.c.id == "r" + "0" * 19).values(status="failed"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE"))
    return engine


def plans(engine: Engine) -> Iterator[tuple[str, str]]:
    """(statement, plan) of everything that standing() asks."""
    asked: list[tuple[Any, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    standing(engine)
    event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with reading(engine) as connection:
        for statement, parameters in asked:
            found = connection.exec_driver_sql(explain + statement, parameters)
            yield statement, "\n".join(str(tuple(line)) for line in found)


def test_no_question_reads_a_whole_table(grown: Engine) -> None:
    seen = list(plans(grown))
    assert len(seen) >= 12
    for statement, plan in seen:
        for table in BIG:
            whole = f"SCAN {table}" if grown.dialect.name == "sqlite" else f"Seq Scan on {table}"
            assert whole not in plan, f"{statement}\n{plan}"


def test_the_guard_against_whole_tables_sees_one(grown: Engine) -> None:
    query: Select[Any] = select(func.count()).select_from(runs).where(runs.c.ref == "v1")
    with reading(grown) as connection:
        statement = str(query.compile(dialect=grown.dialect, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN " if grown.dialect.name == "sqlite" else "EXPLAIN "
        plan = "\n".join(str(tuple(line)) for line in connection.exec_driver_sql(explain + statement))
    assert "SCAN runs" in plan or "Seq Scan on runs" in plan


@pytest.mark.parametrize(("ahead", "expected"), [(2, 1.0), (30, 0.0), (3600, None)])
def test_a_sweeper_of_the_future_is_none(engine: Engine, ahead: int, expected: float | None) -> None:
    """A clock was set back: nothing is known, and the alert must come."""
    with writing(engine) as connection:
        connection.execute(insert(duties).values(name="sweep", owner="x", until=NOW + timedelta(seconds=ahead)))
    assert standing(engine).sweeper_seconds == expected
