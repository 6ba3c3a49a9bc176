"""The delivery log on both databases: what is recorded, listed, taken once more, counted, and forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from app.adapters.database import writing
from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.tables import deliveries
from app.domain.errors import SyncError
from app.domain.routing import Rule
from app.domain.run import Status
from app.domain.webhook import Secret
from app.services.deliveries import Deliveries, DeliveryFilter, Pruning
from app.services.delivery_views import MADE_HERE
from tests.integration.flow_world import FakeClock
from tests.integration.stored import Stored
from tests.integration.test_platform_events import RULE, SECRET, URL, Platform

EVERYTHING = DeliveryFilter()


@pytest.fixture
def platform(engine: Engine) -> Platform:
    return Platform(engine, "github")


@pytest.fixture
def store(engine: Engine) -> SqlDeliveryStore:
    return SqlDeliveryStore(engine)


def log_of(platform: Platform, store: SqlDeliveryStore) -> Deliveries:
    return Deliveries(store, platform.intake, lambda *_: None)


def refused(platform: Platform) -> None:
    with pytest.raises(SyncError, match="invalid_payload"):
        platform.send({"action": "published", "release": {"tag_name": 7}}, **{"X-GitHub-Event": "release"})


def test_every_authentic_delivery_is_kept_with_its_verdict(platform: Platform, store: SqlDeliveryStore) -> None:
    platform.published()
    platform.send({"zen": "x"}, **{"X-GitHub-Event": "ping", "X-GitHub-Delivery": "d-1"})
    refused(platform)
    with pytest.raises(SyncError, match="bad_signature"):
        platform.intake.receive("platform", {"X-Hub-Signature-256": "sha256=" + "0" * 64}, b"{}")
    found = store.list(EVERYTHING, None, 10)
    assert {(each.verdict, each.reason) for each in found} == {
        ("accepted", ""), ("ignored", "ping"), ("refused", "invalid_payload"),
    }  # fmt: skip
    ping = next(each for each in found if each.reason == "ping")
    detail = store.detail(ping.id)
    assert detail is not None
    assert (detail.body, detail.headers["x-github-delivery"]) == ('{"zen": "x"}', "d-1")
    assert not [name for name in detail.headers if "signature" in name or "token" in name]


def test_lists_have_filters_and_pages(platform: Platform, store: SqlDeliveryStore) -> None:
    for number in range(5):
        platform.published(f"v1.0.{number}")
    refused(platform)
    log = log_of(platform, store)
    first = log.list(DeliveryFilter(verdict="accepted"), limit=3)
    rest = log.list(DeliveryFilter(verdict="accepted"), first.next, 3)
    assert (len(first.items), len(rest.items), rest.next) == (3, 2, None)
    assert len({each.id for each in (*first.items, *rest.items)}) == 5
    assert [each.verdict for each in log.list(DeliveryFilter(failed=True)).items] == ["refused"]
    assert log.list(DeliveryFilter(source="other")).items == ()
    later = FakeClock().now() + timedelta(seconds=1)
    assert log.list(DeliveryFilter(since=later)).items == ()
    assert len(log.list(DeliveryFilter(until=later)).items) == 6


def test_a_redelivery_begins_anew_what_failed_and_nothing_else(
    platform: Platform, store: SqlDeliveryStore, stored: Stored
) -> None:
    answer = platform.published()
    run = answer.receipts[0].run_id
    log = log_of(platform, store)
    assert log.redeliver(answer.delivery, "cli:alice").receipts[0].job is None
    stored.fail(run, error="tag_missing")
    assert [each.id for each in log.list(DeliveryFilter(failed=True)).items] == [answer.delivery]
    (receipt,) = log.redeliver(answer.delivery, "cli:alice").receipts
    assert (receipt.run_id, receipt.job, receipt.duplicate) == (run, f"{run}-2-1", True)
    assert (stored.attempts(run)[1]["actor"], stored.attempts(run)[1]["kind"]) == ("cli:alice", "redelivery")


def test_a_failed_one_is_taken_under_the_rules_of_today(
    engine: Engine, store: SqlDeliveryStore, stored: Stored
) -> None:
    before = Platform(engine, "github", Rule("x.example/{repo}", "x/{repo}"))
    delivery = before.published("v1.0.0").delivery
    answer = log_of(Platform(engine, "github", RULE), store).redeliver(delivery, "cli:alice")
    run = stored.run(answer.receipts[0].run_id)
    assert (run.status, run.target.clone_url) == (Status.QUEUED, URL)


def test_what_cannot_be_taken_again_is_said(platform: Platform, store: SqlDeliveryStore) -> None:
    log = log_of(platform, store)
    with pytest.raises(SyncError, match="not_found"):
        log.redeliver("d0000000000000000000", "cli:alice")
    with pytest.raises(SyncError, match="not_found"):
        log.detail("nonsense")
    answer = platform.published()
    assert store.prune(FakeClock().now() + timedelta(days=1), 10) == 1
    with pytest.raises(SyncError, match="not_replayable"):
        log.redeliver(answer.delivery, "cli:alice")


def test_what_reconcile_made_is_not_taken_again_and_keeps_its_verdict(stored: Stored, store: SqlDeliveryStore) -> None:
    made = replace(stored.delivery(), scheme=MADE_HERE, body=b"", headers={}, reason="reconcile")
    stored.intake.record(made, [stored.plan()])
    noted: list[str] = []
    log = Deliveries(store, Platform(stored.engine, "github").intake, lambda actor, *_: noted.append(actor))
    with pytest.raises(SyncError, match=r"not_replayable: .*Replay those of its runs"):
        log.redeliver(made.id, "cli:alice")
    assert (log.detail(made.id).verdict, log.detail(made.id).reason, noted) == ("accepted", "reconcile", [])


def test_old_deliveries_go_in_batches_and_runs_stay(
    platform: Platform, store: SqlDeliveryStore, stored: Stored
) -> None:
    run = platform.published().receipts[0].run_id
    for number in range(5):
        platform.send({"zen": number}, **{"X-GitHub-Event": "ping"})
    clock = FakeClock()
    pruning = Pruning(store, clock, days=30, batch=4)
    assert not pruning.once()
    clock.advance(31 * 86400)
    assert pruning.once()
    assert not pruning.once()
    assert not pruning.once()
    (left,) = store.list(EVERYTHING, None, 10)
    detail = store.detail(left.id)
    assert detail is not None
    assert (detail.kept, detail.body, detail.headers) == (False, "", {})
    assert [each.id for each in left.runs] == [run]
    assert stored.run(run).status is Status.QUEUED
    (use,) = store.secret_uses()
    assert (use.count, use.last_used_at) == (6, FakeClock().now())


def test_what_reconcile_made_used_no_secret(engine: Engine, platform: Platform, store: SqlDeliveryStore) -> None:
    """Else it would look as if a retired secret were still in use, and nobody would dare to remove it."""
    platform.published()
    (before,) = store.secret_uses()
    with writing(engine) as connection:
        connection.execute(update(deliveries).values(secret_id=""))
    assert list(store.secret_uses()) == []
    assert before.secret


def test_a_secrets_last_use_is_the_newest_delivery(platform: Platform, store: SqlDeliveryStore) -> None:
    assert list(store.secret_uses()) == []
    platform.published()
    platform.published()
    platform.pushed("v1.1.0")
    (use,) = store.secret_uses()
    assert (use.source, use.secret, use.count, use.skew_seconds) == ("platform", "one", 2, None)


def test_a_persons_redelivery_is_no_use_of_the_secret(engine: Engine, store: SqlDeliveryStore) -> None:
    """Else the old secret, which the platform does not sign with any more, would look used today."""
    platform = Platform(engine, "github")
    delivery = platform.published().delivery
    (before,) = store.secret_uses()
    platform.clock.advance(3 * 86400)
    log_of(platform, store).redeliver(delivery, "cli:alice")
    assert list(store.secret_uses()) == [before]
    assert before.last_used_at == FakeClock().now()
    found = store.detail(delivery)
    assert found is not None
    assert found.seen == 1
    assert platform.published().delivery == delivery  # the platform itself sends it once more
    (again,) = store.secret_uses()
    assert again.last_used_at == platform.clock.now()


def test_each_secrets_own_last_use(engine: Engine, store: SqlDeliveryStore) -> None:
    platform = Platform(engine, "github", secrets=(Secret("new", b"another-secret-of-sixteen-and-more"), SECRET))
    platform.published()
    platform.clock.advance(3600)
    platform.key = "another-secret-of-sixteen-and-more"
    platform.pushed("v1.1.0")
    uses = {use.secret: use.last_used_at for use in store.secret_uses()}
    assert uses == {"one": FakeClock().now(), "new": platform.clock.now()}


def test_filters_are_checked() -> None:
    now = FakeClock().now()
    parsed = DeliveryFilter.parse({"verdict": "refused", "since": "2h", "failed": "true", "source": None}, now)
    assert parsed == DeliveryFilter(verdict="refused", since=now - timedelta(hours=2), failed=True)
    for name, value in {"verdict": "x", "failed": "maybe", "since": "yesterday", "source": "a\x00b"}.items():
        with pytest.raises(SyncError) as caught:
            DeliveryFilter.parse({name: value}, now)
        assert (caught.value.code, caught.value.field) == ("bad_request", name)
