"""What the pages ask of the database, on SQLite and PostgreSQL; replays of many runs; the drawing of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from app.adapters.board_store import SqlBoardStore
from app.adapters.database import reading
from app.adapters.read_store import SqlReadStore
from app.domain.errors import SyncError
from app.domain.run import Lane, Stage, Status
from app.services.board import FailedAlike, ModuleRow, Seen
from app.services.bulk import BATCH, plan, replay_all
from app.services.level import GOAL_SECONDS, Kind
from app.services.replay import Replay
from app.services.stores import Receipt, ReplayOrder
from app.services.timeline import spans
from tests.integration.stored import MODULE, ORDER, START, TARGET, B, Stored, StoredClock


@pytest.fixture
def board(stored: Stored) -> SqlBoardStore:
    return SqlBoardStore(stored.engine, StoredClock(stored))


def names(runs: object) -> list[str]:
    return [run.version for run in runs]  # type: ignore[attr-defined]


# --- now ----------------------------------------------------------------------------------------------------------


def test_now_tells_running_from_waiting_blocked_and_failed(stored: Stored, board: SqlBoardStore) -> None:
    ids = {
        name: stored.release(version=f"v1.0.{at}").run_id for at, name in enumerate(["running", "waiting", "blocked"])
    }
    broken = stored.release(version="v1.0.9").run_id
    stored.fail(broken)
    stored.fail(stored.release(version="v1.0.7").run_id, error="cancelled")  # by a person, who knows
    claim = stored.claim(ids["blocked"])
    stored.record(claim, Status.MIRROR, error="source_unreachable", due_at=stored.now + timedelta(minutes=1))
    polled = stored.push(stored.claim(stored.release(version="v1.0.8").run_id))
    stored.record(polled, Status.PIPELINE, stage=Stage.PIPELINE, due_at=stored.now + timedelta(minutes=1))
    stored.claim(ids["running"])
    now = board.now(10)
    assert {run.id for run in now.running} == {ids["running"], polled.run.id}
    assert [run.id for run in now.waiting] == [ids["waiting"]]
    assert [run.id for run in now.blocked] == [ids["blocked"]]
    assert [run.id for run in now.failed] == [broken]
    stored.later(86_401)
    assert board.now(10).failed == ()
    # Whose worker died waits for another one.
    assert {run.id for run in board.now(10).waiting} == {ids["running"], ids["waiting"], polled.run.id}


def test_the_newest_word_about_gitlab_and_each_proxy(stored: Stored, board: SqlBoardStore) -> None:
    assert board.now(1).seen == ()
    first = stored.release(version="v1.0.0").run_id
    stored.finish(first)
    done = stored.now
    assert {(each.system, each.name): each.error for each in board.now(1).seen} == {
        ("gitlab", ""): None, ("proxy", TARGET.proxy): None,
    }  # fmt: skip
    claim = stored.claim(stored.release(version="v1.0.1").run_id)
    stored.record(claim, Status.FAILED, error="token_expired")
    # A release's own fault says nothing of GitLab.
    stored.fail(stored.release(version="v1.0.2").run_id, error="tag_missing")
    found = {each.system: each for each in board.now(1).seen}
    assert found["gitlab"] == Seen("gitlab", "", done + timedelta(seconds=2), "token_expired", "token_expired happened")
    assert found["proxy"].at == done


# --- the service level --------------------------------------------------------------------------------------------


def bring(stored: Stored, version: str, seconds: float, **more: Any) -> None:
    """A release that is done so long after its delivery; its three stages take six seconds."""
    run = stored.release(version=version, **more).run_id
    stored.later(seconds - 6)
    stored.finish(run)


def test_releases_are_counted_by_bucket_and_by_how_soon(stored: Stored, board: SqlBoardStore) -> None:
    for version, seconds in (("v1.0.0", 10), ("v1.0.1", 59.9), ("v1.0.2", 60.5), ("v1.0.3", 299.9), ("v1.0.4", 301)):
        bring(stored, version, seconds)
    stored.fail(stored.release(version="v1.0.5").run_id)
    bring(stored, "v0.1.0", 3600, lane=Lane.BACKFILL)  # nobody waits for it
    stored.ops.cancel(stored.release(version="v1.0.7").run_id, "cli:bob", stored.later(), "released by mistake")
    stored.release(version="v1.0.8")
    board = SqlBoardStore(stored.engine, StoredClock(stored))
    stored.later(GOAL_SECONDS + 1)  # too late already
    stored.release(version="v1.0.6")
    stored.release(B, "v1.0.0")  # moved: rejected, and nobody's to download
    rows = board.level(START - timedelta(hours=1), 86_400)
    day = int(START.timestamp()) // 86_400
    assert {(row.bucket, row.kind): row.count for row in rows} == {
        (day, Kind.QUICK): 2, (day, Kind.IN_TIME): 2, (day, Kind.LATE): 2, (day, Kind.FAILED): 1, (day, Kind.OPEN): 1,
    }  # fmt: skip


def test_when_a_release_was_first_done_is_looked_at_once(stored: Stored) -> None:
    """Not again for each use of it: in a month's releases that is most of the time."""
    asked: list[tuple[str, Any]] = []
    event.listen(
        stored.engine, "before_cursor_execute", lambda _c, _k, text, given, *_more: asked.append((text, given))
    )
    SqlBoardStore(stored.engine, StoredClock(stored)).level(START, 86_400)
    (level,) = [each for each in asked if "attempts" in each[0]]
    explain = "EXPLAIN QUERY PLAN " if stored.engine.dialect.name == "sqlite" else "EXPLAIN "
    with reading(stored.engine) as connection:
        plan = "\n".join(str(tuple(line)) for line in connection.exec_driver_sql(explain + level[0], level[1]))
    assert plan.count("attempts USING" if stored.engine.dialect.name == "sqlite" else "on attempts") == 1, plan


def test_buckets_begin_at_their_hour_and_a_forced_replay_makes_nothing_late(
    stored: Stored, board: SqlBoardStore
) -> None:
    hour = START.replace(minute=0, second=0, microsecond=0)
    stored.now = hour - timedelta(milliseconds=50)
    early = stored.release(version="v1.0.0").run_id
    stored.now = hour
    late = stored.release(version="v1.0.1").run_id
    for run in (early, late):
        stored.finish(run)
    stored.later(4000)
    stored.ops.replay(late, ReplayOrder("cli:bob", "", Stage.VERIFY, force=True), None, stored.now)
    bucket = int(hour.timestamp()) // 3600
    rows = board.level(hour - timedelta(hours=2), 3600)
    assert sorted((row.bucket, row.kind, row.count) for row in rows) == [
        (bucket - 1, Kind.QUICK, 1), (bucket, Kind.QUICK, 1),
    ]  # fmt: skip
    assert board.level(hour + timedelta(seconds=1), 3600) == []


# --- modules and mirrors ------------------------------------------------------------------------------------------


def test_modules_come_by_path_in_pages_with_their_newest_run(stored: Stored, board: SqlBoardStore) -> None:
    for at, name in enumerate(("b", "a", "c", "B")):
        stored.release(module=f"{MODULE}/{name}", version=f"v0.{at}.0")
        stored.later()
    newest = stored.release(B, "v0.9.0", module=f"{MODULE}/a").run_id
    stored.finish(newest)
    seen: list[ModuleRow] = []
    after: str | None = None
    for _ in range(4):
        page = board.modules("", after, 1)
        seen += page.items
        after = page.next
    assert after is None
    assert sorted(each.module for each in seen) == [f"{MODULE}/{name}" for name in ("B", "a", "b", "c")]
    found = next(each for each in seen if each.module == f"{MODULE}/a")
    assert (found.runs, found.versions, found.newest.id) == (2, 1, newest)
    assert [each.module for each in board.modules("/c", None, 10).items] == [f"{MODULE}/c"]
    assert board.modules("100%", None, 10).items == ()


def test_mirrors_say_who_works_there_and_their_newest_run(stored: Stored, board: SqlBoardStore) -> None:
    run = stored.release().run_id
    lease = stored.flow.lease_mirror(TARGET.mirror, "host:7", stored.now, 10)
    (busy,) = board.mirrors("", None, 10).items
    assert (busy.path, busy.busy, busy.newest and busy.newest.id) == (TARGET.mirror, "host:7", run)
    assert lease is not None
    project = (7, "https://gitlab.corp.example/x.git", "https://gitlab.corp.example/x")
    stored.flow.release_mirror(lease, stored.later(), project=project, branch_at="a" * 40)
    (idle,) = board.mirrors("LOG", None, 10).items
    assert (idle.busy, idle.web_url, idle.branch_at) == (None, project[2], "a" * 40)
    assert board.mirrors("", TARGET.mirror, 10).items == ()


# --- replays of many ----------------------------------------------------------------------------------------------


class Nowhere:
    """A queue that keeps nothing: the database is the truth."""

    def enqueue(self, *_job: object) -> None:
        """See ports.JobQueue."""


def failed_runs(stored: Stored, count: int, error: str = "tag_missing") -> list[str]:
    ids = []
    for at in range(count):
        ids.append(stored.release(version=f"v1.{at}.0", module=f"{MODULE}/{error.replace('_', '-')}").run_id)
        stored.fail(ids[-1], error=error)
    return ids


def replay(stored: Stored) -> Replay:
    def place(_run: object) -> object:
        raise SyncError("no_rule", "no rule today")

    return Replay(stored.ops, Nowhere(), StoredClock(stored), place)  # type: ignore[arg-type]


def test_a_plan_is_bounded_and_knows_of_more(stored: Stored, board: SqlBoardStore) -> None:
    ids = failed_runs(stored, BATCH + 1)
    middle = stored.now
    failed_runs(stored, 1, "commit_mismatch")
    alike = FailedAlike("tag_missing", START, stored.later())
    found = plan(board, replay(stored), alike)
    assert [run.id for run in found.runs] == ids[:BATCH]
    rest = plan(board, replay(stored), alike, after=found.next)
    assert ([run.id for run in rest.runs], rest.next) == (ids[BATCH:], None)
    assert [(each.code, each.runs) for each in board.failures(START)] == [
        ("tag_missing", BATCH + 1), ("commit_mismatch", 1),
    ]  # fmt: skip
    assert plan(board, replay(stored), replace(alike, since=middle + timedelta(seconds=1))).runs == ()
    first = found.runs[0].ended_at
    assert first is not None
    assert plan(board, replay(stored), replace(alike, until=first)).total == 0
    assert plan(board, replay(stored), replace(alike, until=first + timedelta(microseconds=1))).total == 1


def test_one_that_cannot_be_replayed_stops_none_of_the_others(stored: Stored, board: SqlBoardStore) -> None:
    early, late = stored.release(version="v1.0.0").run_id, stored.release(version="v1.0.1").run_id
    stored.fail(early)  # in stage mirror: today's rules are asked
    stored.fail(late, pushed=True)
    done = replay_all(replay(stored), [early, late, "r" + "0" * 19, late], ORDER)
    assert [each.run_id for each in done] == [early, late, "r" + "0" * 19]
    assert [each.error and each.error.code for each in done] == ["no_rule", None, "not_found"]
    assert done[1].receipt == Receipt(late, Status.QUEUED, duplicate=False, job=f"{late}-2-1")
    with pytest.raises(SyncError) as caught:
        replay_all(replay(stored), [late] * (BATCH + 1), ORDER)
    assert caught.value.code == "bad_request"


# --- the drawing of a run's time ----------------------------------------------------------------------------------


def drawn(stored: Stored, run_id: str, now: datetime) -> list[tuple[str, str, float, float]]:
    """(stage, outcome, x, width) of the newest attempt's bars."""
    run = SqlReadStore(stored.engine, StoredClock(stored)).run(run_id)
    assert run is not None
    return [(lane.stage.value, lane.outcome, lane.x, lane.width) for lane in spans(run, now)[0].lanes]


def test_bars_stand_where_the_steps_were(stored: Stored) -> None:
    run = stored.release().run_id
    stored.later(2)
    stored.finish(run)
    assert drawn(stored, run, stored.later(100)) == [
        ("mirror", "ok", 25, 25), ("pipeline", "ok", 50, 25), ("verify", "ok", 75, 25),
    ]  # fmt: skip


def test_what_goes_on_now_grows_with_the_time(stored: Stored) -> None:
    run = stored.release().run_id
    claim = stored.push(stored.claim(run))
    assert claim.run.stage is Stage.PIPELINE
    stored.later(2)
    assert drawn(stored, run, stored.now) == [("mirror", "ok", 0, 50), ("pipeline", "running", 50, 50)]
    assert drawn(stored, run, stored.later(4)) == [("mirror", "ok", 0, 25), ("pipeline", "running", 25, 75)]


def test_a_pipeline_that_failed_ran_since_the_push(stored: Stored) -> None:
    run = stored.release().run_id
    claim = stored.push(stored.claim(run))
    stored.later(4)
    stored.record(claim, Status.FAILED, error="pipeline_failed", stage=Stage.PIPELINE)
    assert drawn(stored, run, stored.now) == [("mirror", "ok", 0, 25), ("pipeline", "failed", 25, 75)]


def test_an_attempt_that_was_never_begun_is_drawn_as_waiting(stored: Stored) -> None:
    run = stored.release().run_id
    assert drawn(stored, run, stored.later()) == [("mirror", "waiting", 0, 100)]
