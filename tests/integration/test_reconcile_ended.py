"""What reconcile makes of runs that ended before they had anything to show: no commit, no push, no tag anywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import event

from app.adapters.ops_store import SqlReplayStore
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.retention_store import SqlRetentionStore
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.reconcile import Finding, Item, Known, Observed, compare
from app.domain.run import Status
from app.services.ports import ProxyInfo
from app.services.reconcile import Order
from app.services.retention import RunPruning
from tests.integration.flow_world import GO_MOD, MIRROR, MODULE, REGISTRY, zip_of
from tests.integration.reconcile_world import ReconcileWorld
from tests.integration.stored import A, Stored
from tests.integration.test_reconcile_gaps import from_a_registry, made_here, tagging

SDK = f"{MODULE}/sdk"
TOLD = {
    "commit": "",
    "content": "goproxy",
    "tags": "make",
    "clone_url": f"{REGISTRY}/{ModulePath.parse(MODULE).escaped}",
}


@pytest.fixture
def listing(tmp_path: Path) -> ReconcileWorld:
    """A registry that lists v1.1.0, too, of which nobody told."""
    world, _ = from_a_registry(tmp_path)
    world.reconcile()
    released = zip_of({"go.mod": GO_MOD}, "v1.1.0")
    world.registry.hold(MODULE, ProxyInfo("v1.1.0", "2026-11-01T00:00:00Z", None), GO_MOD, released)
    return world


def cancelled(world: ReconcileWorld, version: str, **told: str) -> str:
    run = world.take(version, **told).run_id
    SqlReplayStore(world.engine).cancel(run, "cli:me", world.clock.now())
    assert world.run(run).commit == told.get("commit", "")
    return run


def test_a_registrys_release_that_somebody_cancelled_before_its_commit_stays_so(listing: ReconcileWorld) -> None:
    run = cancelled(listing, "v1.1.0", **TOLD)
    assert (listing.found(report := listing.reconcile()), report.runs) == ({"v1.1.0": "failed"}, ())
    assert report.needs_a_person
    assert listing.reconcile(module=MODULE, retry=True).runs == (run,)
    assert listing.run(run).status is Status.DONE
    assert listing.reconcile().items == ()


@pytest.mark.parametrize(
    ("code", "begun"),
    [("source_denied", False), ("registry_wrong", False), ("source_unreachable", True), ("not_in_registry", True)],
)
def test_a_registrys_release_without_a_commit_is_begun_anew_after_an_outage(
    listing: ReconcileWorld, monkeypatch: pytest.MonkeyPatch, code: str, begun: bool
) -> None:
    run = listing.take("v1.1.0", **TOLD).run_id
    with monkeypatch.context() as away:
        away.setattr(listing.registry, "info", Mock(side_effect=SyncError(code, "no")))
        listing.settle(run, rounds=300)
    assert (listing.run(run).status, listing.run(run).error, listing.run(run).commit) == (Status.FAILED, code, "")
    assert listing.reconcile().runs == ((run,) if begun else ())


def test_a_git_release_whose_event_named_no_commit_is_as_one_with_a_commit(tmp_path: Path) -> None:
    world = ReconcileWorld(tmp_path)
    cancelled(world, "v1.0.0", commit="")
    assert (world.found(report := world.reconcile()), report.runs) == ({"v1.0.0": "failed"}, ())
    (run,) = world.reconcile(module=MODULE, retry=True).runs
    assert (world.run(run).status, world.run(run).commit) == (Status.DONE, world.commit)
    assert world.reconcile().items == ()


def test_one_that_no_rule_knew_is_brought_once_a_rule_does(tmp_path: Path) -> None:
    world = ReconcileWorld(tmp_path)
    cancelled(world, "v1.0.0", commit="", mirror="", clone_url="")  # as the planner leaves them
    (run,) = world.reconcile().runs
    assert world.run(run).status is Status.DONE


def test_what_is_recorded_of_modules_is_asked_for_by_their_names(tmp_path: Path) -> None:
    """As many statements as ever, none of which reads other modules' runs."""
    world = ReconcileWorld(tmp_path)
    cancelled(world, "v1.0.0", commit="")
    asked: list[tuple[str, Any]] = []
    event.listen(world.engine, "before_cursor_execute", lambda _c, _k, text, given, *_: asked.append((text, given)))
    assert len(world.repositories.known([ModulePath.parse(MODULE)])) == 1
    selects = [each for each in asked if each[0].startswith("SELECT")]
    assert len(selects) == 2
    with world.engine.connect() as connection:
        for text, given in selects:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all())
            assert "module=?" in plan
            assert "SCAN" not in plan


def test_a_release_is_known_by_its_row_and_without_one_by_the_run_that_has_no_commit(stored: Stored) -> None:
    ended, waiting, held = (
        stored.release(commit, version).run_id for commit, version in (("", "v1.0.0"), ("", "v1.1.0"), (A, "v1.2.0"))
    )
    stored.fail(ended, error="source_denied")
    stored.fail(held, error="gitlab_unreachable")
    told_again = stored.release("", "v1.2.0").run_id
    stored.record(stored.claim(told_again), Status.REJECTED, error="duplicate_release")
    known = SqlRepositoryStore(stored.engine).known([ModulePath.parse(stored.run(held).module)])
    assert {version.text: (each.run, each.status, each.error) for (_, version), each in known.items()} == {
        "v1.0.0": (ended, Status.FAILED, "source_denied"),
        "v1.1.0": (waiting, Status.QUEUED, None),
        "v1.2.0": (held, Status.FAILED, "gitlab_unreachable"),
    }


def test_a_made_release_whose_commit_the_source_never_had_is_for_a_person(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    made_here(world)
    commit = world.source.commit({"go.mod": GO_MOD, "late.go": b""})
    late = world.source.commits.pop(commit)
    run = world.take("v1.1.0", commit=commit, tags="make").run_id
    world.settle(run, rounds=200)
    assert world.run(run).error == "commit_missing"
    assert (world.found(report := world.reconcile()), report.runs) == ({"v1.1.0": "failed"}, ())
    assert report.needs_a_person
    assert world.run(run).attempt == 1

    world.source.commits[commit] = late
    assert world.reconcile(module=MODULE, retry=True).runs == (run,)
    assert world.run(run).status is Status.DONE
    assert world.reconcile().items == ()


def test_a_made_release_that_mirror_and_source_lost_is_begun_once(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    run = made_here(world)
    world.mirror.refs.clear()
    world.source.commits.clear()
    world.git.caches.clear()
    service = world.service()
    (begun,) = service.by_mirror(MIRROR, Order()).runs
    world.settle(begun, rounds=200)
    assert (begun, world.run(run).error, world.run(run).attempt) == (run, "commit_missing", 2)
    for _ in range(2):
        report = service.by_mirror(MIRROR, Order())
        assert (world.found(report), report.runs, report.needs_a_person) == ({"v1.0.0": "failed"}, (), True)


def test_a_made_release_that_the_mirror_lost_after_the_proxys_outage_is_begun_anew() -> None:
    """It waited in vain for the proxy, not for the source."""
    pushed = Known("a" * 40, "r1", Status.FAILED, "not_cached_yet", pushed=True)
    module, version = ModulePath.parse(MODULE), Version.parse("v1.0.0")
    (item,) = compare(Observed({}, {}, {}, {(module, version): pushed}), lambda *_: None, made={module})
    assert item.finding is Finding.MISSING_IN_MIRROR


def adopted_here(world: ReconcileWorld) -> None:
    """A made release of which no run tells."""
    world.mirror.commits = dict(world.source.commits)
    world.mirror.refs["refs/tags/v1.0.0"] = world.commit
    world.cache("v1.0.0")
    assert world.reconcile().adopted == 1


def pruned_here(world: ReconcileWorld) -> None:
    made_here(world)
    world.clock.advance(31 * 86400)
    assert RunPruning(SqlRetentionStore(world.engine), world.clock, 30, 100).once() == 1


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("known", [adopted_here, pruned_here])
def test_made_releases_that_no_run_tells_of_come_back_to_a_mirror_without_tags(
    tmp_path: Path, known: Callable[[ReconcileWorld], None], named: bool
) -> None:
    world = tagging(tmp_path)
    known(world)
    world.mirror.refs.clear()
    assert world.found(report := world.reconcile(module=MODULE if named else "")) == {"v1.0.0": "missing_in_mirror"}
    assert [world.run(run).status for run in report.runs] == [Status.DONE]
    at = world.mirror.at("refs/tags/v1.0.0")
    assert at is not None
    assert at.commit == world.commit
    assert world.reconcile().items == ()


def test_made_releases_in_a_directory_that_no_run_tells_of_come_back_for_who_names_them(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    commit = world.source.commit({"sdk/go.mod": f"module {SDK}\n".encode()})
    item = Item(Finding.ADOPTED, "sdk/v1.0.0", ModulePath.parse(SDK), Version.parse("v1.0.0"), "sdk", commit)
    assert world.repositories.adopt([item], world.clock.now()) == 1
    assert world.found(world.reconcile(dry_run=True, module=SDK)) == {"v1.0.0": "missing_in_mirror"}


def test_no_proxy_is_asked_of_a_module_that_nothing_tells_of(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    commit = world.source.commit({"sdk/go.mod": f"module {SDK}\n".encode()})
    world.source.tag("sdk/v1.0.0", commit)
    world.reconcile(dry_run=True)
    assert [str(module) for method, module, _ in world.proxy.calls if method == "list"] == [SDK]


@pytest.mark.parametrize("named", ["", MODULE, f"{MODULE}/v2"])
def test_made_releases_of_a_later_major_at_the_root_come_back_without_their_runs(tmp_path: Path, named: str) -> None:
    world = tagging(tmp_path)
    of = ModulePath.parse(f"{MODULE}/v2")
    commit = world.source.commit({"go.mod": f"module {of}\n".encode()})
    assert world.repositories.adopt(
        [Item(Finding.ADOPTED, "v2.0.0", of, Version.parse("v2.0.0"), "", commit)], world.clock.now()
    )
    assert world.found(world.reconcile(dry_run=True, module=named)) == {"v2.0.0": "missing_in_mirror"}


@pytest.mark.parametrize(("of", "to"), [(MODULE, "/"), ("gopkg.in/thing.v1", ".")])
def test_the_majors_of_a_module_are_those_that_have_releases(stored: Stored, of: str, to: str) -> None:
    store, root = SqlRepositoryStore(stored.engine), ModulePath.parse(of).prefix
    majors = {f"{root}{to}v2", f"{root}{to}v10"}
    for name in {f"{MODULE}/v2/sdk", f"{MODULE}/vendor", f"{MODULE}w/v2", *majors}:
        store.adopt([Item(Finding.ADOPTED, "", ModulePath.parse(name), Version.parse("v1.0.0"), "", A)], stored.now)
    for name in (of, f"{root}{to}v2"):
        assert {str(each) for each in store.majors(ModulePath.parse(name))} == majors


def test_majors_are_looked_for_by_the_primary_key(tmp_path: Path) -> None:
    world = ReconcileWorld(tmp_path)
    asked: list[tuple[str, Any]] = []
    event.listen(world.engine, "before_cursor_execute", lambda _c, _k, text, given, *_: asked.append((text, given)))
    world.repositories.majors(ModulePath.parse(MODULE))
    text, given = next(each for each in asked if each[0].startswith("SELECT"))
    with world.engine.connect() as connection:
        assert "module>? AND module<?" in str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all())
