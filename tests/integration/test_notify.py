"""Notifications over both databases: which outcomes become messages, and who hears them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from app.adapters.system import SystemClock
from app.adapters.tables_notify import notices, open_failures, outcomes
from app.domain.notify import Event, Wishes
from app.domain.run import Stage, Status
from app.services.notify import Addressee, Verdict
from tests.contract.fake_receiver import FakeReceiver
from tests.integration.notify_world import ORDER, World, count
from tests.integration.stored import A, B, Stored


@pytest.fixture
def world(stored: Stored) -> World:
    return World(stored)


def replayed(stored: Stored, run: str) -> None:
    stored.ops.replay(run, replace(ORDER, from_stage=Stage.MIRROR), None, stored.later())


def test_a_release_fails_and_recovers(world: World, stored: Stored) -> None:
    run = stored.release().run_id
    stored.fail(run)
    world.tick(1)
    assert world.told() == []  # it waits for others like it
    world.tick()
    (failed,) = world.receiver.taken
    assert (failed.event, failed.code, failed.count) == (Event.FAILED, "pipeline_failed", 1)
    item = failed.items[0]
    assert (item["run"], item["attempt"], item["message"]) == (run, 1, "pipeline_failed happened")

    replayed(stored, run)
    stored.finish(run)
    world.tick(1)
    world.tick()
    recovered = world.receiver.taken[1]
    assert (recovered.event, recovered.code, recovered.count) == (Event.RECOVERED, "pipeline_failed", 1)
    assert recovered.items[0]["failed"]["notice"] == failed.id
    assert recovered.items[0]["attempt"] == 2
    assert count(stored.engine, outcomes) == count(stored.engine, open_failures) == 0
    state = world.state()
    assert (state.delivered, state.waiting, state.given_up, state.failing_since) == (2, 0, 0, None)


def test_a_release_that_never_failed_leaves_nothing_behind(world: World, stored: Stored) -> None:
    stored.finish(stored.release().run_id)
    assert count(stored.engine, outcomes) == 0
    world.tick()
    assert world.told() == []


def test_a_retry_of_a_stage_is_no_news(world: World, stored: Stored) -> None:
    claim = stored.claim(stored.release().run_id)
    stored.record(claim, Status.MIRROR, error="gitlab_unreachable", due_at=stored.now + timedelta(seconds=5))
    assert count(stored.engine, outcomes) == 0


def test_forty_failures_with_one_cause_are_one_message(world: World, stored: Stored) -> None:
    runs = [stored.release(version=f"v1.{n}.0").run_id for n in range(40)]
    for run in runs:
        stored.fail(run, error="gitlab_unreachable")
        world.service.settle()  # each by itself: grouping is no matter of one look
    world.tick()
    assert world.told() == [("failed", "gitlab_unreachable", 40)]
    named = [item["run"] for item in world.receiver.taken[0].items]
    assert (named, world.receiver.taken[0].more) == (runs[:10], 30)
    for run in runs:
        replayed(stored, run)
        stored.finish(run)
    world.tick(1)
    world.tick()
    assert world.told()[1:] == [("recovered", "gitlab_unreachable", 40)]


def test_what_fails_again_within_the_window_is_told_once(world: World, stored: Stored) -> None:
    run = stored.release().run_id
    for _ in range(3):
        stored.fail(run)
        world.tick()
        world.tick(3600)
        replayed(stored, run)
    assert world.told() == [("failed", "pipeline_failed", 1)]
    stored.later(6 * 3600)
    stored.fail(run)
    world.tick()
    world.tick()
    assert world.told() == [("failed", "pipeline_failed", 1)] * 2


def mend(stored: Stored, run: str) -> None:
    replayed(stored, run)
    stored.finish(run)


def test_what_is_mended_before_its_message_went_out_is_not_told(world: World, stored: Stored) -> None:
    stored.fail(stored.release().run_id)
    world.tick(1)
    world.tick()
    assert world.told() == [("failed", "pipeline_failed", 1)]
    second, third = (stored.release(version=f"v1.{n}.0").run_id for n in (1, 2))
    for run in (second, third):  # their message waits for the interval
        stored.fail(run)
    world.tick(1)
    mend(stored, second)
    world.tick(20)
    assert (len(world.told()), count(stored.engine, notices), count(stored.engine, open_failures)) == (1, 2, 2)
    mend(stored, third)
    world.tick(20)
    assert (count(stored.engine, notices), count(stored.engine, open_failures)) == (1, 1)
    world.tick(600)
    assert world.told() == [("failed", "pipeline_failed", 1)]


def test_the_others_of_that_message_are_told_of(world: World, stored: Stored) -> None:
    runs = [stored.release(version=f"v1.{n}.0").run_id for n in range(3)]
    for run in runs:
        stored.fail(run)
    world.tick(1)
    mend(stored, runs[1])
    world.tick(10)
    world.tick(10)
    assert world.told() == [("failed", "pipeline_failed", 2)]
    assert [item["run"] for item in world.receiver.taken[0].items] == [runs[0], runs[2]]


def test_a_failure_that_is_mended_and_comes_again_in_one_look_is_one_message(world: World, stored: Stored) -> None:
    run = stored.release().run_id
    stored.fail(run)
    world.tick(1)
    mend(stored, run)
    replay = replace(ORDER, from_stage=Stage.MIRROR, force=True)
    stored.ops.replay(run, replay, None, stored.later())
    stored.fail(run)
    world.tick(1)  # the old draft goes, and another one comes
    world.tick(10)
    world.tick(10)
    assert world.told() == [("failed", "pipeline_failed", 1)]
    assert world.receiver.taken[0].items[0]["attempt"] == 3


def test_a_recovery_waits_for_the_message_that_another_process_is_sending(world: World, stored: Stored) -> None:
    run = stored.release().run_id
    stored.fail(run)
    world.service.settle()
    stored.later(10)
    store = world.service.store
    sending = store.claim("on-call", stored.now, stored.now + timedelta(seconds=30))
    assert sending is not None
    mend(stored, run)
    World(stored).service.settle()  # the message is closed: nothing is taken out of it
    stored.later(15)
    assert store.claim("on-call", stored.now, stored.now + timedelta(seconds=30)) is None
    store.record("on-call", sending, Verdict(delivered=False, answer="503", again_at=stored.later(60)), stored.now)
    again = store.claim("on-call", stored.now, stored.now + timedelta(seconds=30))
    assert again is not None
    assert (again.notice.id, again.tries) == (sending.notice.id, 2)
    assert store.claim("on-call", stored.now, stored.now + timedelta(seconds=30)) is None
    store.record("on-call", again, Verdict(delivered=True, answer="200"), stored.now)
    recovered = store.claim("on-call", stored.now, stored.now + timedelta(seconds=30))
    assert recovered is not None
    assert (recovered.notice.event, recovered.notice.items[0]["failed"]["notice"]) == (
        Event.RECOVERED,
        sending.notice.id,
    )


def test_a_recovery_that_did_not_go_out_is_dropped_when_the_release_fails_again(world: World, stored: Stored) -> None:
    run = stored.release().run_id
    stored.fail(run)
    world.tick(1)
    world.tick()
    mend(stored, run)
    world.service.settle()
    assert count(stored.engine, notices) == 2
    stored.ops.replay(run, replace(ORDER, from_stage=Stage.MIRROR, force=True), None, stored.later())
    stored.fail(run)
    world.tick(1)
    world.tick(600)
    assert world.told() == [("failed", "pipeline_failed", 1)]  # as they know already
    mend(stored, run)
    world.tick(1)
    world.tick(600)
    assert world.told()[1:] == [("recovered", "pipeline_failed", 1)]
    assert world.receiver.taken[1].items[0]["failed"]["notice"] == world.receiver.taken[0].id


def test_a_rejected_release_is_told_and_a_repeat_is_not(world: World, stored: Stored) -> None:
    stored.finish(stored.release(A).run_id)
    assert stored.release(B).error == "version_moved"
    assert stored.release(B).error == "version_moved"  # the same run: it is not a new attempt
    assert stored.release("c" * 40).error == "version_moved"
    world.tick(1)
    world.tick()
    assert world.told() == [("rejected", "version_moved", 1)]


def test_who_cancelled_is_told(world: World, stored: Stored) -> None:
    stored.ops.cancel(stored.release().run_id, "cli:alice", stored.now)
    world.tick(1)
    world.tick()
    assert world.told() == [("failed", "cancelled", 1)]
    assert world.receiver.taken[0].items[0]["message"] == "cancelled by cli:alice"


def test_nobody_configured_leaves_no_outbox(stored: Stored) -> None:
    service = World(stored).with_addressees({})
    stored.fail(stored.release().run_id)
    assert service.settle() == 1
    assert count(stored.engine, outcomes) == count(stored.engine, notices) == 0


def test_each_receiver_hears_what_it_wants(stored: Stored) -> None:
    one, other = FakeReceiver(), FakeReceiver()
    wishes = {"all": Wishes("all"), "pay": Wishes("pay", modules=("go.corp.example/payments",))}
    service = World(stored).with_addressees(
        {"all": Addressee(wishes["all"], one), "pay": Addressee(wishes["pay"], other)}
    )
    stored.fail(stored.release().run_id)
    stored.fail(stored.release(module="go.corp.example/payments/api").run_id)
    service.settle()
    stored.later(10)
    for name in wishes:
        while service.send_next(name):
            pass
    assert [each.count for each in one.taken] == [2]
    assert [each.count for each in other.taken] == [1]


def test_an_outcome_is_recorded_with_its_notice_or_not_at_all(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = stored.claim(stored.release().run_id)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("app.adapters.rows.log_outcome", crash)
        with pytest.raises(KeyboardInterrupt):
            stored.record(claim, Status.FAILED, error="quota")
    assert count(stored.engine, outcomes) == 0
    stored.record(claim, Status.FAILED, error="quota")  # the run was not ended either
    assert count(stored.engine, outcomes) == 1


def test_ids_are_as_long_as_the_column(stored: Stored) -> None:
    made: Callable[[str], str] = stored.new_id
    assert len({made("n") for _ in itertools.repeat(None, 10)}) == 10
    assert len(made("n")) <= 32
    assert SystemClock().now().tzinfo is not None
