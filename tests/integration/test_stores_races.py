"""Many at once, on both databases: what must happen once happens once, and nobody waits for somebody who waits for him."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from app.adapters.tables import deliveries, runs
from app.adapters.wake_store import SqlWakeStore
from app.domain.errors import SyncError
from app.domain.pipeline_event import PipelineEnded
from app.domain.run import Stage, Status
from app.services.stores import Receipt
from tests.integration.interleaved import Interleaved
from tests.integration.stored import LEASE, ORDER, PUSHED, TARGET, A, B, Stored

# SQLite has one writer at a time, so nobody there holds a row that another one wants.
of_two_writers = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Begin all calls at the same moment; their results, or SyncErrors, in order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(20)
        try:
            return call()
        except SyncError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def codes(results: Sequence[object]) -> Counter[str]:
    return Counter(each.code if isinstance(each, SyncError) else "ok" for each in results)


def test_twenty_claims_are_one(stored: Stored) -> None:
    run_id = stored.release().run_id
    calls = [partial(stored.flow.claim, run_id, f"worker-{n}", stored.now, LEASE) for n in range(20)]
    claims = at_once(*calls)
    won = [each for each in claims if each is not None and not isinstance(each, SyncError)]
    assert len(won) == 1
    assert claims.count(None) == 19
    assert (stored.row(run_id)["fence"], stored.row(run_id)["lease_owner"]) == (1, won[0].owner)


def test_two_replays_are_one_attempt(stored: Stored) -> None:
    run_id = stored.release().run_id
    for attempt in range(2, 7):
        stored.fail(run_id, error="tag_missing")
        results = at_once(*[lambda: stored.ops.replay(run_id, ORDER, None, stored.now)] * 2)
        assert codes(results) == {"ok": 1, "still_running": 1}
        assert len(stored.attempts(run_id)) == attempt


def test_a_delivery_sent_twice_at_once_is_one_delivery_and_one_run(stored: Stored) -> None:
    for n in range(5):
        requests = [(stored.delivery(f"key-{n}"), [stored.plan(version=f"v1.{n}.0")]) for _ in range(4)]
        results = at_once(*[partial(stored.intake.record, *r) for r in requests])
        answers = [each for each in results if not isinstance(each, SyncError)]
        assert len(answers) == 4, results
        assert len({delivery for delivery, _, _ in answers}) == 1
        assert sorted(known for _, known, _ in answers) == [False, True, True, True]
        assert sum(receipt.job is not None for _, _, receipts in answers for receipt in receipts) == 1
    with stored.engine.connect() as connection:
        numbers = [connection.execute(select(func.count()).select_from(table)).scalar() for table in (deliveries, runs)]
    assert numbers == [5, 5]


def test_two_commits_of_a_version_at_once_are_one_run_and_one_refusal(stored: Stored) -> None:
    for n in range(5):
        plans = [stored.plan(commit, f"v1.{n}.0") for commit in (A, B)]
        results = at_once(*[partial(stored.deliver, plan) for plan in plans])
        assert sorted(status_of(each[0]) for each in results) == ["queued", "rejected version_moved"]


def status_of(result: Receipt | SyncError) -> str:
    if isinstance(result, SyncError):
        return str(result)
    return f"{result.status} {result.error or ''}".strip()


def test_deliveries_with_the_same_releases_in_another_order_do_not_block_each_other(stored: Stored) -> None:
    for n in range(10):
        plans = [stored.plan(version=f"v1.{n}.{patch}") for patch in range(8)]
        branch = stored.claim(stored.release(version=None, ref=f"branch-{n}").run_id)
        results = at_once(
            partial(stored.deliver, *plans),
            partial(stored.deliver, *reversed(plans)),
            partial(stored.intake.add, branch, plans[4:] + plans[:4], stored.now),
        )
        assert codes(results) == {"ok": 3}, results


def test_commits_that_take_each_others_place_do_not_block_each_other(stored: Stored) -> None:
    """Each delivery holds its own run and wants the other one's: only a common order of locks keeps them apart."""
    for n in range(10):
        version = f"v1.{n}.0"
        first = stored.release(A, version).run_id
        stored.fail(first, error="tag_missing")
        second = stored.release(B, version).run_id
        stored.fail(second, error="tag_missing")
        results = at_once(
            partial(stored.release, A, version),
            partial(stored.release, B, version),
        )
        assert codes(results) == {"ok": 2}, results
        assert sorted(stored.run(run_id).status for run_id in (first, second)) == [Status.QUEUED, Status.REJECTED]


def test_a_replay_and_a_delivery_of_another_commit_do_not_block_each_other(stored: Stored) -> None:
    for n in range(10):
        version = f"v1.{n}.0"
        first = stored.release(A, version).run_id
        stored.fail(first, error="tag_missing")
        replayed, delivered = at_once(
            partial(stored.ops.replay, first, ORDER, None, stored.now),
            partial(stored.release, B, version),
        )
        if isinstance(replayed, SyncError):
            assert (replayed.code, status_of(delivered)) == ("not_replayable", "queued")
        else:
            assert status_of(delivered) == "rejected version_moved"


def test_one_of_many_gets_the_mirror(stored: Stored) -> None:
    calls = [partial(stored.flow.lease_mirror, TARGET.mirror, f"worker-{n}", stored.now, LEASE) for n in range(10)]
    leases = at_once(*calls)
    assert codes(leases) == {"ok": 10}
    assert leases.count(None) == 9


def test_two_sweepers_give_one_job(stored: Stored) -> None:
    run_id = stored.release().run_id
    stored.later(5)
    (due,) = stored.sweep.due(stored.now, stored.now, 10)
    jobs = at_once(*[lambda: stored.sweep.give_jobs([due], stored.now).get(due.id)] * 4)
    assert jobs.count(None) == 3
    assert stored.attempts(run_id)[0]["jobs"] == 2


def test_a_cancel_and_a_hand_over_do_not_block_each_other(stored: Stored) -> None:
    for n in range(10):
        run_id = stored.release(version=f"v1.{n}.0").run_id
        results = at_once(
            partial(stored.ops.cancel, run_id, "cli:alice", stored.now),
            partial(stored.record, stored.claim(run_id), Status.PIPELINE, stage=Stage.PIPELINE, hand_over=True),
        )
        assert codes(results[:1]) == {"ok": 1}
        assert codes(results[1:]) in ({"ok": 1}, {"overtaken": 1})
        assert stored.run(run_id).error == "cancelled"


def test_a_cancel_and_an_outcome_are_one_end(stored: Stored) -> None:
    for n in range(5):
        run_id = stored.release(version=f"v1.{n}.0").run_id
        claim = stored.claim(run_id)
        cancelled, recorded = at_once(
            partial(stored.ops.cancel, run_id, "cli:alice", stored.now),
            partial(stored.record, claim, Status.REJECTED, error="version_moved"),
        )
        ends = (codes([cancelled]), codes([recorded]))
        assert ends in (({"ok": 1}, {"overtaken": 1}), ({"already_ended": 1}, {"ok": 1}))
        row, (attempt,) = stored.row(run_id), stored.attempts(run_id)
        assert (row["status"], row["error"]) == (attempt["outcome"], attempt["error"])


def test_a_pipelines_event_and_the_end_of_a_look_leave_one_job(stored: Stored) -> None:
    """In whichever order: the wait is over at once, and one job is given for it."""
    wake = SqlWakeStore(stored.engine)
    for number in range(10):
        run_id = stored.release(version=f"v1.0.{number}").run_id
        claim = stored.push(stored.claim(run_id))
        event = PipelineEnded(run_id, PUSHED["project"]["id"], 1, "success")
        wait = partial(stored.record, claim, Status.PIPELINE, facts=PUSHED, due_at=stored.now + timedelta(seconds=600))
        woken, handed = at_once(partial(wake.wake, event, stored.now), wait)
        row = stored.row(run_id)
        assert [each for each in (woken and woken[0], handed) if each] == [row["job"]]
        assert (row["due_at"] <= stored.now, row["lease_owner"]) == (True, None)


def test_without_an_event_a_look_ends_in_a_wait(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.push(stored.claim(run_id))
    due_at = stored.now + timedelta(seconds=600)
    assert stored.record(claim, Status.PIPELINE, facts=PUSHED, due_at=due_at) is None
    assert (stored.row(run_id)["due_at"], stored.row(run_id)["job_at"]) == (due_at, None)


def test_an_event_does_not_shorten_the_wait_after_an_error(stored: Stored) -> None:
    run_id = stored.release().run_id
    claim = stored.push(stored.claim(run_id))
    event = PipelineEnded(run_id, PUSHED["project"]["id"], 1, "success")
    assert SqlWakeStore(stored.engine).wake(event, stored.now) is None
    due_at = stored.now + timedelta(seconds=600)
    assert stored.record(claim, Status.PIPELINE, error="rate_limited", facts=PUSHED, due_at=due_at) is None
    assert stored.row(run_id)["due_at"] == due_at


@of_two_writers
def test_a_redelivery_and_the_record_of_its_push_do_not_block_each_other(stored: Stored) -> None:
    plan = stored.plan()
    run_id = stored.deliver(plan)[0].run_id
    claim = stored.claim(run_id)
    # The release's row is taken; the run's comes next.
    both = Interleaved(
        stored.engine, "FROM releases", partial(stored.deliver, stored.plan()), partial(stored.push, claim)
    )  # fmt: skip
    assert (both.first[0].run_id, both.waited) == (run_id, True)
    assert stored.held()["pushed_at"] == stored.row(run_id)["pushed_at"] is not None


@of_two_writers
def test_a_replay_and_the_record_of_a_push_do_not_block_each_other(stored: Stored) -> None:
    claim = stored.claim(stored.release().run_id)
    replay = partial(codes_of, partial(stored.ops.replay, claim.run.id, ORDER, None, stored.now))
    both = Interleaved(stored.engine, "FROM releases", replay, partial(stored.push, claim))
    assert both.first == "still_running"
    assert stored.held()["pushed_at"] is not None


def codes_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except SyncError as error:
        return error.code
    return "ok"


def three_due(stored: Stored) -> list[str]:
    """Of one mirror, the oldest not the first in the table: a look at the table meets them in another order."""
    stored.later(10)
    ids = [stored.release(version="v1.0.0").run_id]
    stored.later(-5)
    ids.extend(stored.release(version=f"v1.{n}.0").run_id for n in (1, 2))
    stored.later(60)
    return ids


@of_two_writers
def test_a_look_at_queued_jobs_does_not_wait_for_a_worker_that_takes_siblings(stored: Stored) -> None:
    ids = three_due(stored)
    claim = stored.claim(ids[2])
    siblings = partial(stored.flow.claim_siblings, claim, stored.now, LEASE, 9)
    both = Interleaved(stored.engine, "UPDATE runs", siblings, partial(stored.sweep.still_queued, ids, stored.now))
    assert ([each.run.id for each in both.first], both.waited) == ([ids[1], ids[0]], False)


@of_two_writers
def test_a_worker_that_takes_siblings_does_not_wait_for_a_look_at_queued_jobs(stored: Stored) -> None:
    ids = three_due(stored)
    claim = stored.claim(ids[2])
    siblings = partial(stored.flow.claim_siblings, claim, stored.now, LEASE, 9)
    look = partial(stored.sweep.still_queued, ids[:1], stored.now)
    both = Interleaved(stored.engine, "UPDATE runs", look, siblings)
    assert ([each.run.id for each in both.second], both.waited) == ([ids[1]], False)


@of_two_writers
def test_a_cancel_and_a_beat_that_notes_a_removal_do_not_block_each_other(stored: Stored) -> None:
    first = stored.claim(stored.release(version="v1.0.0").run_id)
    second = stored.claim(stored.release(version="v1.1.0").run_id)
    removes = {"removes": {"tag": "v1.0.0", "object": B, "commit": B}}
    beat = partial(stored.flow.renew, [first, second], None, stored.now, LEASE, {first.run.id: removes})
    cancel = partial(stored.ops.cancel, second.run.id, "cli:alice", stored.now)
    both = Interleaved(stored.engine, "pg_advisory_xact_lock", beat, cancel)
    assert (both.first, both.waited) == (True, True)
    assert stored.run(second.run.id).error == "cancelled"


@of_two_writers
@pytest.mark.parametrize("beats", [True, False])
def test_a_redelivery_of_several_releases_and_their_worker_do_not_block_each_other(stored: Stored, beats: bool) -> None:
    """Intake takes them in the order of their names, the worker has them in the order of their age."""
    plans = [stored.plan(version=version) for version in ("v1.9.0", "v1.10.0")]
    claims = [stored.claim(stored.deliver(plan)[0].run_id) for plan in plans]
    renew = partial(stored.flow.renew, claims, None, stored.now, LEASE)
    work = renew if beats else partial(stored.flow.give_up, claims, None)
    both = Interleaved(stored.engine, "FROM runs", partial(stored.deliver, *plans), work)
    assert [each.run_id for each in both.first] == [each.run.id for each in claims]
    assert both.waited


@of_two_writers
def test_what_is_given_up_is_taken_in_the_order_of_a_beat(stored: Stored) -> None:
    claim = stored.claim(stored.release().run_id)
    lease = stored.flow.lease_mirror(TARGET.mirror, "worker-1", stored.now, LEASE)
    beat = partial(stored.flow.renew, [claim], lease, stored.now, LEASE)
    both = Interleaved(stored.engine, "UPDATE runs", beat, partial(stored.flow.give_up, [claim], lease))
    assert (both.first, both.waited) == (True, True)
