"""Messages on their way, over both databases: crashes, races, and receivers that are away, hang or want no more."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from app.adapters.notice_store import SqlNoticeStore
from app.adapters.receiver import HttpReceiver, ReceiverOptions
from app.adapters.tables_notify import notices, open_failures, outcomes, receivers
from app.domain.errors import SyncError
from app.domain.notice_forms import webhook
from app.domain.notify import Wishes
from app.domain.run import Status
from app.services import notify
from app.services.notify import Addressee
from tests.integration.databases import sqlite_only
from tests.integration.notify_world import World, count
from tests.integration.stored import A, Stored
from tests.sandbox.receiver import Receiver


@pytest.fixture
def world(stored: Stored) -> World:
    return World(stored)


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
    run = stored.release().run_id
    stored.fail(run)
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
    (line,) = (each for each in caplog.records if each.message == "notice_given_up")
    assert line.__dict__["runs"] == [run]
    tries = len(world.receiver.tried)
    assert 100 < tries < 300  # every ten minutes or less, not every look
    world.tick(86400)
    assert len(world.receiver.tried) == tries


def test_the_log_names_a_messages_runs_and_no_more_than_ten(
    world: World, stored: Stored, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.receiver.answer(500)
    runs = [stored.release(version=f"v1.{number}.0").run_id for number in range(12)]
    for run in runs:
        stored.fail(run)
    for seconds in (1, 30, 30):  # gathered, refused, taken
        world.tick(seconds)
    told = [each for each in caplog.records if each.message in ("notice_not_delivered", "notice_delivered")]
    assert {each.message for each in told} == {"notice_not_delivered", "notice_delivered"}
    for each in told:
        named = each.__dict__["runs"]
        assert len(named) == len(set(named)) == 10
        assert set(named) <= set(runs)


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
    world.tick(131)  # all that waited so come within 30 s
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
