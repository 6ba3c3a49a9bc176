"""What people ask of the database, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from app.adapters.read_store import SqlReadStore
from app.domain.errors import CATALOG, SyncError
from app.domain.modzip import hash_go_mod
from app.domain.run import Stage, Status
from app.services.queries import Queries, Routing, RunFilter
from tests.integration.stored import MODULE, ORDER, PIPELINE, PUSHED, TARGET, VERIFIED, A, B, Stored, StoredClock


@pytest.fixture
def queries(stored: Stored) -> Queries:
    return Queries(SqlReadStore(stored.engine, StoredClock(stored)), Routing([], {}))


def parsed(stored: Stored, **texts: str) -> RunFilter:
    return RunFilter.parse(texts, stored.now)


# --- lists --------------------------------------------------------------------------------------------------------


def test_pages_come_newest_first_and_hold_each_run_once(stored: Stored, queries: Queries) -> None:
    ids = []
    for n in range(11):
        ids.append(stored.release(version=f"v1.{n}.0").run_id)
        stored.later(n % 2)  # every other run is as old as the one before
    seen: list[str] = []
    cursor = None
    for size in (4, 4, 3):
        page = queries.runs(RunFilter(), cursor, 4)
        assert len(page.items) == size
        seen += [run.id for run in page.items]
        # What comes meanwhile is newer than the first page, and moves nothing.
        stored.release(version=f"v2.0.{len(seen)}", module=f"{MODULE}/v2")
        cursor = page.next
    assert (seen, cursor) == (ids[::-1], None)


def test_a_full_last_page_has_no_next_one(stored: Stored, queries: Queries) -> None:
    assert queries.runs(RunFilter(), None, 1) == replace(queries.runs(RunFilter(), None, 1), items=(), next=None)
    stored.release()
    assert queries.runs(RunFilter(), None, 1).next is None


@pytest.mark.parametrize(
    "cursor", ["x", "é", "eyJhIjoxfQ", "W10", "WyJub3ciLCAiciJd", "WyIyMDI2LTExLTIyVDEyOjAwOjAwIiwgInIiXQ", "W1tbW1s"]
)
def test_a_cursor_that_is_none_is_refused(queries: Queries, cursor: str) -> None:
    with pytest.raises(SyncError) as caught:
        queries.runs(RunFilter(), cursor)
    assert (caught.value.code, caught.value.field) == ("bad_request", "cursor")


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_page_has_a_bound(queries: Queries, limit: int) -> None:
    with pytest.raises(SyncError) as caught:
        queries.runs(RunFilter(), None, limit)
    assert (caught.value.code, caught.value.field) == ("bad_request", "limit")


def test_filters(stored: Stored, queries: Queries) -> None:
    names = {
        "log": stored.release(A).run_id,
        "upper": stored.release(module="go.corp.example/platform/LOG").run_id,
        "like": stored.release(module="go.corp.example/platform_log").run_id,
        "next": stored.release(B, "v1.1.0").run_id,
        "branch": stored.release("abcdef0" + "1" * 33, None).run_id,
        "other": stored.release(module="go.corp.example/other/x", source="gitea").run_id,
    }
    stored.fail(names["next"], error="tag_missing")
    stored.finish(names["other"])
    job = stored.row(names["branch"])["job"]

    def found(**texts: str) -> set[str]:
        shown = {run.id for run in queries.runs(parsed(stored, **texts)).items}
        return {name for name, run_id in names.items() if run_id in shown}

    everything = set(names)
    assert found() == found(module="", q=" ") == everything
    assert found(module=MODULE) == {"log", "next", "branch"}
    assert found(module="go.corp.example/platform/*") == {"log", "upper", "next", "branch"}
    assert found(module="go.corp.example/platform_*") == {"like"}
    assert found(module="go.corp.example/PLATFORM/*") == set()
    assert found(version="v1.1.0") == found(status="failed") == {"next"}
    assert found(status="done,failed") == found(status="ended") == {"next", "other"}
    assert found(status="active") == everything - {"next", "other"}
    assert found(commit=B[:7]) == found(commit=B) == {"next"}
    assert found(commit="ABCDEF01") == {"branch"}
    assert found(commit="abcdef2") == set()
    assert found(source="gitea") == {"other"}
    assert found(source="gitea", status="failed") == set()
    assert found(q=names["log"]) == {"log"}
    assert found(q=job) == found(q=f"{names['branch']}-9-9") == {"branch"}
    assert found(q="abcdef01") == {"branch"}
    assert found(q="v1.1.0") == {"next"}
    assert found(q="PLATFORM/log") == {"log", "upper", "next", "branch"}
    assert found(q="m_log") == {"like"}
    assert found(q=f"{MODULE}@v1.1.0") == {"next"}
    assert found(q=f"{MODULE}@main") == {"branch"}
    assert found(q="100%") == set()


def test_times(stored: Stored, queries: Queries) -> None:
    old = stored.release(version="v1.0.0").run_id
    edge = stored.later(3600)
    new = stored.release(version="v1.1.0").run_id
    stored.later(60)

    def found(**texts: str) -> list[str]:
        return [run.id for run in queries.runs(parsed(stored, **texts)).items]

    assert found(since=edge.isoformat()) == found(since="2m") == [new]
    assert found(until=edge.isoformat()) == found(until="2m") == [old]
    assert found(since=(edge + timedelta(microseconds=1)).isoformat()) == []
    assert found(since="2026-11-22", until="2026-11-23") == found(since="1d") == [new, old]
    assert found(since="2026-11-22T15:00:00+02:00") == [new]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("status", "broken"), ("commit", "abcdef"), ("commit", "master!"), ("since", "yesterday"), ("until", "5y"),
        ("since", "999999w"), ("since", "2026-13-01"), ("q", "a\x00b"), ("module", "a\ud800"), ("version", "v1\x1b[0m"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_named(stored: Stored, field: str, text: str) -> None:
    with pytest.raises(SyncError) as caught:
        parsed(stored, **{field: text})
    assert (caught.value.code, caught.value.field) == ("bad_request", field)


# --- one run ------------------------------------------------------------------------------------------------------


def test_all_of_a_run_that_failed_and_was_replayed(stored: Stored, queries: Queries) -> None:
    run_id = stored.release().run_id
    duplicate = stored.later()
    stored.release()
    stored.fail(run_id, pushed=True)
    stored.ops.replay(run_id, ORDER, None, stored.later(10))
    waits_until = stored.now + timedelta(seconds=30)
    stored.record(stored.claim(run_id), Status.PIPELINE, error="gitlab_unreachable", due_at=waits_until)

    run = queries.run(run_id)
    assert (run.status, run.stage, run.attempt, run.due_at) == (Status.PIPELINE, Stage.PIPELINE, 2, waits_until)
    assert run.error is not None
    assert (run.error.code, run.error.retry) == ("gitlab_unreachable", "backoff")
    assert run.error.advice == CATALOG["gitlab_unreachable"].advice
    assert (run.target.mirror, run.target.clone_url, run.target.rule) == (TARGET.mirror, TARGET.clone_url, TARGET.rule)
    assert (run.downloadable_after_seconds, run.facts.go_sum, run.facts.pipeline) == (None, (), {})
    assert run.facts.push == PUSHED["push"]
    assert [each.duplicate for each in run.deliveries] == [False, True]
    assert [each.received_at for each in run.deliveries] == [run.created_at, duplicate]

    first, second = run.attempts
    assert (first.kind, first.outcome, first.error, first.jobs) == (
        "delivery",
        "failed",
        "pipeline_failed",
        (f"{run_id}-1-1",),
    )
    assert [(step.stage, step.outcome, step.seconds) for step in first.steps] == [
        ("mirror", "ok", 2.0),
        ("pipeline", "failed", 2.0),
    ]
    assert (second.kind, second.actor, second.reason, second.outcome) == ("replay", "cli:alice", ORDER.reason, None)
    assert (second.from_stage, second.jobs) == (Stage.PIPELINE, (f"{run_id}-2-1",))
    (step,) = second.steps
    assert (step.outcome, step.error, step.retry_at) == ("retry", "gitlab_unreachable", waits_until)


def test_a_run_that_is_done_has_its_go_sum_lines_and_its_time(stored: Stored, queries: Queries) -> None:
    run_id = stored.release().run_id
    stored.later(3)
    stored.fail(run_id, error="tag_missing")
    stored.ops.replay(run_id, ORDER, None, stored.later())
    stored.finish(run_id)
    run = queries.run(run_id)
    assert run.ended_at == stored.now
    assert run.downloadable_after_seconds == 12.0
    assert "intent" not in run.facts.pipeline
    assert run.facts.pipeline["url"] == PIPELINE["pipeline"]["url"]
    assert run.facts.go_sum[0] == f"{MODULE} v1.0.0 {VERIFIED['verify']['h1']}"

    # A forced replay does not make a release late that was downloadable before.
    stored.ops.replay(run_id, replace(ORDER, force=True), None, stored.later(1000))
    stored.record(stored.claim(run_id), Status.DONE)
    assert queries.run(run_id).downloadable_after_seconds == 12.0


def test_the_go_mod_line_is_gos_own_hash(stored: Stored, queries: Queries) -> None:
    data = f"module {MODULE}\n".encode()
    facts = {"verify": {"h1": "h1:x", "go_mod_sha256": hashlib.sha256(data).hexdigest()}}
    run_id = stored.release().run_id
    stored.record(stored.claim(run_id), Status.DONE, facts=facts)
    assert queries.run(run_id).facts.go_sum[1] == f"{MODULE} v1.0.0/go.mod {hash_go_mod(data)}"


def test_a_run_is_found_by_any_of_its_ids(stored: Stored, queries: Queries) -> None:
    run_id = stored.release().run_id
    assert queries.run(f"{run_id}-1-1").id == queries.run(f" {run_id}\n").id == run_id
    for identifier in ("", "nonsense", "r" + "0" * 19, f"{run_id}-0-1", f"{run_id}-1"):
        with pytest.raises(SyncError) as caught:
            queries.run(identifier)
        assert caught.value.code == "not_found"


def test_the_json_of_a_run_is_json(stored: Stored, queries: Queries) -> None:
    run_id = stored.release().run_id
    stored.finish(run_id)
    given = queries.run(run_id).as_json()
    assert json.loads(json.dumps(given)) == given
    assert (given["status"], given["created_at"], given["error"]) == ("done", "2026-11-22T12:00:00.120000Z", None)
    assert given["attempts"][0]["steps"][0]["started_at"] == "2026-11-22T12:00:00.120000Z"
    listed = queries.runs(RunFilter()).as_json()
    assert set(listed) == {"items", "next"}
    assert set(listed["items"][0]) < set(given)


def test_an_error_code_that_this_release_does_not_know_is_shown_without_advice(
    stored: Stored, queries: Queries
) -> None:
    run_id = stored.release().run_id
    stored.record(stored.claim(run_id), Status.FAILED, error="of_a_newer_modsync")
    error = queries.run(run_id).error
    assert error is not None
    assert (error.code, error.retry, error.advice) == ("of_a_newer_modsync", "never", "")


# --- numbers ------------------------------------------------------------------------------------------------------


def test_counts(stored: Stored, queries: Queries) -> None:
    counts = queries.counts()
    assert set(counts.runs) == set(Status)
    assert (sum(counts.runs.values()), counts.due, counts.due_oldest_seconds, counts.deliveries) == (0, 0, 0.0, 0)

    ids = [stored.release(version=f"v1.{n}.0").run_id for n in range(4)]
    stored.finish(ids[0])  # six seconds
    stored.claim(ids[1])
    claim = stored.claim(ids[2])
    stored.record(claim, Status.MIRROR, error="tag_missing", due_at=stored.now + timedelta(seconds=60))  # two more
    counts = queries.counts()
    assert {status: number for status, number in counts.runs.items() if number} == {"done": 1, "mirror": 2, "queued": 1}
    assert (counts.due, counts.due_oldest_seconds, counts.leases_expired, counts.deliveries) == (1, 8.0, 0, 4)
    stored.later(30)
    counts = queries.counts()
    assert (counts.due, counts.due_oldest_seconds, counts.leases_expired) == (2, 38.0, 1)
