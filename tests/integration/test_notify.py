"""Notifications over both databases: outcomes become messages, which survive crashes, races and receivers that are away."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, func, select, update

from app.adapters.notice_store import SqlNoticeStore
from app.adapters.receiver import HttpReceiver, ReceiverOptions
from app.adapters.system import SystemClock
from app.adapters.tables_notify import notices, open_failures, outcomes, receivers
from app.domain.errors import SyncError
from app.domain.notice_forms import webhook
from app.domain.notify import Event, Wishes
from app.domain.run import Stage, Status
from app.services import notify
from app.services.notify import Addressee, Notifying, ReceiverState
from app.services.stores import ReplayOrder
from tests.contract.fake_receiver import FakeReceiver
from tests.integration.databases import sqlite_only
from tests.integration.stored import A, B, Stored
from tests.sandbox.receiver import Receiver

WISHES = Wishes("on-call")
ORDER = ReplayOrder(actor="cli:alice", reason="the runner was down")


class Clock:
    """The stores' clock."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def now(self) -> datetime:
        return self._stored.now

    def chance(self) -> float:
        return 0.5


class World:
    """A service that notifies, over a fake receiver; any number of them may share the database."""

    def __init__(self, stored: Stored, wishes: Wishes = WISHES) -> None:
        self.stored, self.receiver = stored, FakeReceiver()
        addressee = Addressee(wishes, self.receiver, timedelta(hours=24))
        self.service = self.with_addressees({wishes.name: addressee})

    def with_addressees(self, addressees: dict[str, Addressee]) -> Notifying:
        return Notifying(SqlNoticeStore(self.stored.engine), addressees, Clock(self.stored), self.stored.new_id)

    def tick(self, seconds: float = 10.0) -> None:
        """Time passes, and the notifier looks."""
        self.stored.later(seconds)
        self.service.settle()
        while self.service.send_next("on-call"):
            pass

    def told(self) -> list[tuple[str, str, int]]:
        return [(each.event.value, each.code, each.count) for each in self.receiver.taken]

    def state(self) -> ReceiverState:
        (state,) = self.service.states()
        return state


@pytest.fixture
def world(stored: Stored) -> World:
    return World(stored)


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


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


def test_a_crash_between_sending_and_recording_repeats_it_with_the_same_id(world: World, stored: Stored) -> None:
    stored.fail(stored.release().run_id)
    world.tick(1)
    store, name = SqlNoticeStore(stored.engine), "on-call"
    stored.later(10)
    claimed = store.claim(name, stored.now, stored.now + notify.LEASE)
    assert claimed is not None  # and here the process dies, after the receiver took it
    world.tick()
    assert world.receiver.tried == []  # somebody may still be at it
    world.tick(notify.LEASE.total_seconds())
    assert world.receiver.tried == [claimed.notice.id]
    late = notify.Verdict(False, "too late")
    assert not store.record(name, claimed, late, stored.now)  # who comes back late changes nothing
    assert world.state().delivered == 1


def test_a_message_that_was_begun_is_closed(world: World, stored: Stored) -> None:
    """The same id must mean the same message."""
    world.receiver.answer(0)
    stored.fail(stored.release().run_id)
    world.tick(1)
    world.tick()
    stored.fail(stored.release(version="v2.0.0").run_id)
    world.tick(1)
    world.tick(600)
    assert world.told() == [("failed", "pipeline_failed", 1)] * 2
    assert len(set(world.receiver.tried)) == 2


def test_one_cause_keeps_its_distance_and_loses_nothing(world: World, stored: Stored) -> None:
    for number in range(30):
        stored.fail(stored.release(version=f"v1.{number}.0").run_id)
        world.tick(18)  # ten minutes in all
    world.tick(300)
    assert 2 <= len(world.told()) <= 4
    assert sum(number for _, _, number in world.told()) == 30


def test_a_receiver_that_is_away_for_an_hour_gets_it_when_it_is_back(world: World, stored: Stored) -> None:
    stored.fail(stored.release().run_id)
    world.tick(1)
    began, hour = stored.now, timedelta(hours=1)
    while not world.receiver.taken:
        world.receiver.errors.clear()
        if stored.now - began < hour:
            world.receiver.answer(0)
        world.tick(5)
        assert stored.now - began < hour + timedelta(minutes=11)
    assert len(set(world.receiver.tried)) == 1
    assert world.state().failing_since is None


def test_a_receiver_that_stays_away_is_given_up_and_it_shows(
    world: World, stored: Stored, caplog: pytest.LogCaptureFixture
) -> None:
    world.receiver.errors = [SyncError("receiver_refused", "HTTP 500") for _ in range(10_000)]
    stored.fail(stored.release().run_id)
    world.tick(1)
    world.tick()
    failing = world.state()
    assert (failing.waiting, failing.given_up, failing.answer) == (1, 0, "receiver_refused: HTTP 500")
    assert failing.failing_since is not None
    began = stored.now
    while world.state().waiting:
        world.tick(120)
        assert stored.now - began < timedelta(hours=25)
    assert stored.now - began >= timedelta(hours=23)
    assert world.state().given_up == 1
    assert "notice_given_up" in caplog.messages
    tries = len(world.receiver.tried)
    assert 100 < tries < 300  # every ten minutes or less, not every look
    world.tick(86400)
    assert len(world.receiver.tried) == tries


def test_one_that_wants_no_more_is_given_up_at_once(world: World, stored: Stored) -> None:
    world.receiver.answer(410)
    stored.fail(stored.release().run_id)
    world.tick(1)
    world.tick()
    assert (world.state().given_up, world.state().waiting) == (1, 0)


def test_a_receivers_wish_to_wait_is_kept(world: World, stored: Stored) -> None:
    world.receiver.answer(429, retry_after=1800)
    stored.fail(stored.release().run_id)
    world.tick(1)
    world.tick()
    world.tick(1700)
    assert world.told() == []
    world.tick(101)
    assert world.told() == [("failed", "pipeline_failed", 1)]


def test_many_processes_send_each_message_once(stored: Stored) -> None:
    """Also without the duty, which is only there to spare them the work."""
    worlds = [World(stored) for _ in range(4)]
    for number in range(20):
        stored.fail(stored.release(version=f"v1.{number}.0").run_id, error=["quota", "read_only"][number % 2])
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda world: world.service.settle(), worlds * 3)) == 20
    stored.later(10)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda world: world.service.send_next("on-call"), worlds * 3))
    sent = sorted(each for world in worlds for each in world.told())
    assert sent == [("failed", "quota", 10), ("failed", "read_only", 10)]


def test_old_things_are_forgotten_and_what_nobody_fetches_is_given_up(world: World, stored: Stored) -> None:
    stored.fail(stored.release().run_id)
    world.tick(1)
    world.tick()
    stored.fail(stored.release(version="v2.0.0").run_id, error="quota")
    world.service.settle()
    world.stored.later(9 * 86400)
    assert world.service.prune() == 0
    assert (world.state().waiting, count(stored.engine, notices)) == (0, 2)
    world.stored.later(90 * 86400)
    assert world.service.prune() == 4
    assert count(stored.engine, notices) == count(stored.engine, open_failures) == 0
    assert world.state().delivered == 1


def test_a_long_message_and_a_wide_reference_fit(world: World, stored: Stored) -> None:
    claim = stored.claim(stored.release(A, None, ref="r" * 1000).run_id)
    stored.record(claim, Status.FAILED, error="quota")
    with stored.engine.begin() as connection:
        connection.execute(update(outcomes).values(message="äöü<&>\u2028" * 5000))
    world.tick(1)
    world.tick()
    assert len(json.dumps(webhook(world.receiver.taken[0], "https://x.example"))) < 10_000


@sqlite_only
def test_a_receiver_that_hangs_holds_up_no_other(stored: Stored) -> None:
    with Receiver() as slow, Receiver() as quick:
        slow.hang.set()
        service = World(stored).with_addressees({name: _real(name, each) for name, each in
                                                 (("slow", slow), ("quick", quick))})  # fmt: skip
        stored.fail(stored.release().run_id)
        service.settle()
        stored.later(10)
        with ThreadPoolExecutor(2) as pool:
            hanging = pool.submit(service.send_next, "slow")
            slow.wait(1)
            assert service.send_next("quick")
            assert not hanging.done()
            assert not hanging.result(30)
        assert len(quick.got) == 1


def _real(name: str, server: Receiver) -> Addressee:
    options = ReceiverOptions(
        name=name, url=SecretStr(server.url), form=webhook, base_url="https://m.example", total_seconds=3.0
    )  # fmt: skip
    return Addressee(Wishes(name), HttpReceiver(options))


def test_no_address_is_kept_in_the_database(stored: Stored) -> None:
    with Receiver() as server:
        server.answers.append((500, f"{server.url} is broken", {}))
        addressee = _real("on-call", server)
        service = World(stored).with_addressees({"on-call": addressee})
        stored.fail(stored.release().run_id)
        service.settle()
        stored.later(10)
        assert not service.send_next("on-call")
    with stored.engine.connect() as connection:
        rows = [connection.execute(select(table)).all() for table in (notices, receivers, open_failures)]
    assert "receiver_refused" in str(rows)
    assert "very-secret-place" not in str(rows)


def test_ids_are_as_long_as_the_column(stored: Stored) -> None:
    made: Callable[[str], str] = stored.new_id
    assert len({made("n") for _ in itertools.repeat(None, 10)}) == 10
    assert len(made("n")) <= 32
    assert SystemClock().now().tzinfo is not None
