"""Pause and resume: what waits, at what cost, and where it goes on."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from app.adapters import pause_store
from app.adapters.access_store import SqlAuditStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.pause_store import SqlPauseStore
from app.domain.errors import SyncError
from app.domain.pause import Pause, PauseKind, check_value, covering
from app.domain.run import Status
from app.services.pausing import Pausing, Reach
from app.services.reconcile_schedule import ReconcileSchedule, ScheduleOptions
from app.services.stores import NewDelivery, PlannedRun
from tests.integration.flow_world import MODULE, FlowWorld
from tests.integration.reconcile_world import ReconcileWorld
from tests.integration.scheduled import Calls


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def _pausing(world: FlowWorld) -> Pausing:
    return Pausing(SqlPauseStore(world.engine), world.clock)


def _deliver(world: FlowWorld, plan: PlannedRun) -> None:
    delivery = NewDelivery(
        id="d-other", source="other", dedupe="other", scheme="article", secret_id="x", received_at=world.clock.now(),
        headers={}, body=b"{}", verdict="accepted",
    )  # fmt: skip
    SqlIntakeStore(world.engine).record(delivery, [plan])


def _tick(world: FlowWorld, seconds: int) -> int:
    """The service works for some seconds; how many jobs it took."""
    jobs = 0
    for _ in range(seconds):
        world.sweep.once()
        jobs += len(world.queue.jobs)
        world.work()
        world.world_goes_on()
        world.clock.advance(1)
    return jobs


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PauseKind.ALL, ""), (PauseKind.SOURCE, "platform"), (PauseKind.MODULE, MODULE),
        (PauseKind.MODULE, "go.example/team/*"), (PauseKind.HOST, "GIT.example"),
    ],
)  # fmt: skip
def test_a_paused_run_waits_at_no_cost_and_goes_on_at_once(world: FlowWorld, kind: PauseKind, value: str) -> None:
    assert _pausing(world).pause(kind, value, "cli:me", "maintenance")
    run = world.take().run_id
    assert _tick(world, 30) == 1  # one look, and no other for the next half minute
    waiting = world.run(run)
    assert (waiting.status, waiting.error, waiting.tries, waiting.lease_owner) == (Status.MIRROR, "paused", 0, None)
    assert waiting.error_message == f"paused: {kind} {value.lower()}".strip() + ", by cli:me: maintenance"
    assert world.git.calls == []

    assert _pausing(world).resume(kind, value, "cli:me") == 1
    world.settle(run)
    assert (world.run(run).status, world.run(run).error) == (Status.DONE, None)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(PauseKind.SOURCE, "other"), (PauseKind.MODULE, f"{MODULE}/sub"), (PauseKind.HOST, "other.example")],
)
def test_what_is_not_paused_goes_on(world: FlowWorld, kind: PauseKind, value: str) -> None:
    _pausing(world).pause(kind, value, "cli:me", "")
    run = world.take().run_id
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_pause_stops_a_run_between_its_stages(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    _pausing(world).pause(PauseKind.ALL, "", "cli:me", "")
    _tick(world, 5)
    assert (world.run(run).status, world.run(run).error) == (Status.PIPELINE, "paused")
    _pausing(world).resume(PauseKind.ALL, "", "cli:me")
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert len(world.gitlab.pipelines) == 1


def test_the_time_of_a_pause_is_not_held_against_a_run(world: FlowWorld) -> None:
    run = world.take("v1.1.0").run_id
    world.advance(run)
    assert world.run(run).error == "tag_missing"
    _pausing(world).pause(PauseKind.ALL, "", "cli:me", "")
    _tick(world, 20)
    world.clock.advance(600)  # far more than the patience for a missing tag
    _pausing(world).resume(PauseKind.ALL, "", "cli:me")
    _tick(world, 5)
    assert (world.run(run).status, world.run(run).error) == (Status.MIRROR, "tag_missing")
    world.source.tag("v1.1.0", world.commit)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_paused_sibling_is_not_pushed_with_another_source_s_release(world: FlowWorld) -> None:
    _pausing(world).pause(PauseKind.MODULE, MODULE, "cli:me", "")
    paused = world.take().run_id
    plan = replace(world.planned("v1.0.1"), module=f"{MODULE}/other", source="other")
    _deliver(world, plan)
    world.advance(plan.id)
    assert world.git.calls.count("fetch") == 1
    assert world.mirror.refs == {}
    _tick(world, 3)
    assert world.run(paused).error == "paused"


def test_of_two_pauses_both_must_end(world: FlowWorld) -> None:
    for kind, value in ((PauseKind.ALL, ""), (PauseKind.SOURCE, "platform")):
        _pausing(world).pause(kind, value, "cli:me", "")
    run = world.take().run_id
    world.advance(run)
    _pausing(world).resume(PauseKind.ALL, "", "cli:me")
    _tick(world, 2)
    assert world.run(run).error == "paused"
    assert "source platform" in (world.run(run).error_message or "")


def test_a_run_that_was_parked_while_its_pause_ended_is_woken(world: FlowWorld) -> None:
    _pausing(world).pause(PauseKind.ALL, "", "cli:me", "")
    run = world.take().run_id
    world.advance(run)
    assert _pausing(world).wake_forgotten() == 0
    SqlPauseStore(world.engine).remove(PauseKind.ALL, "", "cli:me", world.clock.now())
    assert _pausing(world).wake_forgotten() == 1
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_very_many_go_on_in_parts_so_that_others_write_between_them(
    world: FlowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_store, "_AT_ONCE", 2)
    _pausing(world).pause(PauseKind.ALL, "", "cli:me", "")
    waiting = [world.take(f"v1.0.{number}").run_id for number in range(5)]
    for run in waiting:
        world.advance(run)
    ended: list[None] = []
    event.listen(world.engine, "commit", lambda _connection: ended.append(None))
    assert _pausing(world).resume(PauseKind.ALL, "", "cli:me") == 5
    assert len(ended) >= 4  # the pause's end, and three parts
    assert {world.run(run).error for run in waiting} == {None}


def test_what_is_parked_anew_while_others_are_woken_is_left(world: FlowWorld) -> None:
    """Else two pauses and many runs would keep each other at work for ever."""
    _pausing(world).pause(PauseKind.ALL, "", "cli:me", "")
    run = world.take().run_id
    world.clock.advance(5)
    world.advance(run)
    assert SqlPauseStore(world.engine).wake(None, world.clock.now() - timedelta(seconds=1)) == 0
    assert world.run(run).error == "paused"
    assert SqlPauseStore(world.engine).wake(None, world.clock.now()) == 1


def test_both_orders_are_in_the_audit_log(world: FlowWorld) -> None:
    assert _pausing(world).pause(PauseKind.HOST, "git.example", "cli:me", "disks")
    assert not _pausing(world).pause(PauseKind.HOST, "git.example", "cli:you", "")
    _pausing(world).resume(PauseKind.HOST, "git.example", "cli:you")
    log = [(each.actor, each.action, each.object, each.reason) for each in SqlAuditStore(world.engine).entries()]
    assert log == [
        ("cli:me", "pause", "pause:host git.example", "disks"),
        ("cli:you", "resume", "pause:host git.example", ""),
    ]


def test_what_is_not_paused_cannot_be_resumed(world: FlowWorld) -> None:
    with pytest.raises(SyncError, match="not_found: there is no pause of source platform"):
        _pausing(world).resume(PauseKind.SOURCE, "platform", "cli:me")


@pytest.mark.parametrize(("kind", "value"), [(PauseKind.ALL, "x"), (PauseKind.SOURCE, " "), (PauseKind.HOST, "a\nb")])
def test_orders_that_mean_nothing_are_refused(kind: PauseKind, value: str) -> None:
    with pytest.raises(SyncError, match="bad_request"):
        check_value(kind, value)


@pytest.mark.parametrize(
    "url", ["https://git.example/a/b.git", "ssh://git@git.example:22/a", "git@git.example:a/b.git"]
)
def test_a_host_is_known_in_every_kind_of_clone_url(world: FlowWorld, url: str) -> None:
    run = world.run(world.take(clone_url=url).run_id)
    pause = Pause(PauseKind.HOST, "git.example", "cli:me", "", world.clock.now())
    assert covering([pause], run) is pause


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PauseKind.ALL, ""), (PauseKind.SOURCE, "platform"), (PauseKind.HOST, "git.example"),
        (PauseKind.MODULE, "go.example/team/*"),
    ],
)  # fmt: skip
def test_a_pause_holds_reconcile_which_says_so_and_asks_nobody(tmp_path: Path, kind: PauseKind, value: str) -> None:
    world = ReconcileWorld(tmp_path)
    world.release("v1.1.0")
    world.tag("v1.2.0")
    _pausing(world).pause(kind, value, "cli:me", "new disks")
    world.git.calls.clear()
    report = world.reconcile()
    assert report.error is not None
    assert (report.error[0], "new disks" in report.error[1], report.runs) == ("paused", True, ())
    assert world.git.calls == []

    _pausing(world).resume(kind, value, "cli:me")
    assert world.found(world.reconcile())["v1.2.0"] == "missing_in_mirror"


def test_a_pause_of_another_module_does_not_hold_reconcile(tmp_path: Path) -> None:
    world = ReconcileWorld(tmp_path)
    world.release("v1.1.0")
    world.tag("v1.2.0")
    _pausing(world).pause(PauseKind.MODULE, f"{MODULE}/sub", "cli:me", "")
    assert world.found(world.reconcile())["v1.2.0"] == "missing_in_mirror"


def test_the_schedule_rests_while_all_is_paused(tmp_path: Path) -> None:
    world = ReconcileWorld(tmp_path)
    world.settle(world.take().run_id)
    world.learn()
    calls, pauses = Calls(), SqlPauseStore(world.engine).pauses
    schedule = ReconcileSchedule(world.repositories, calls, world.clock, ScheduleOptions(24, 5), pauses)
    _pausing(world).pause(PauseKind.ALL, "", "cli:me", "")
    assert schedule.once() == 0
    _pausing(world).resume(PauseKind.ALL, "", "cli:me")
    assert schedule.once() == 1


def test_a_host_that_nothing_comes_from_cannot_be_paused(world: FlowWorld) -> None:
    targets = {"gitlab.example": "GitLab's host", "proxy.example": "the proxy default's host"}
    pausing = Pausing(SqlPauseStore(world.engine), world.clock, Reach(targets=targets))
    with pytest.raises(SyncError, match=r"gitlab\.example, it is GitLab's host: pause all"):
        pausing.pause(PauseKind.HOST, "GitLab.example", "cli:me", "")
    assert pausing.pause(PauseKind.HOST, "git.example", "cli:me", "")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PauseKind.HOST, "https://git.example"), (PauseKind.HOST, "git@git.example"), (PauseKind.HOST, "git.example/team"),
        (PauseKind.MODULE, "go.example/team/"), (PauseKind.MODULE, "go.example/*/log"), (PauseKind.MODULE, "log"),
        (PauseKind.MODULE, "go.example/team/log@v1.2.3"), (PauseKind.MODULE, "https://go.example/team/log"),
    ],
)  # fmt: skip
def test_a_pause_that_would_hold_nothing_is_refused(world: FlowWorld, kind: PauseKind, value: str) -> None:
    with pytest.raises(SyncError) as caught:
        _pausing(world).pause(kind, value, "cli:me", "maintenance")
    assert (caught.value.code, caught.value.field) == ("bad_request", "value")


def test_a_pause_of_before_can_be_ended(world: FlowWorld) -> None:
    """It holds nothing, but was taken once."""
    kept = Pause(PauseKind.HOST, "https://git.example", "cli:me", "", world.clock.now())
    assert SqlPauseStore(world.engine).add(kept)
    _pausing(world).resume(PauseKind.HOST, "https://GIT.example", "cli:me")
    assert SqlPauseStore(world.engine).pauses() == []


def test_who_another_pause_holds_is_not_said_to_go_on(world: FlowWorld) -> None:
    pausing = _pausing(world)
    for kind, value in ((PauseKind.ALL, ""), (PauseKind.MODULE, "go.example/other"), (PauseKind.SOURCE, "platform")):
        pausing.pause(kind, value, "cli:me", "")
    run = world.take().run_id
    world.advance(run)
    assert world.run(run).error == "paused"
    assert pausing.resume(PauseKind.MODULE, "go.example/other", "cli:me") == 0
    world.advance(run)
    assert pausing.resume(PauseKind.ALL, "", "cli:me") == 0
    world.advance(run)
    assert "source platform" in str(world.run(run).error_message)
    assert pausing.resume(PauseKind.SOURCE, "platform", "cli:me") == 1
