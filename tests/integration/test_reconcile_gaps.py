"""Reconcile and backfill begin where the gap is, however far the run came that ended before."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from app.adapters.ops_store import SqlReplayStore
from app.adapters.retention_store import SqlRetentionStore
from app.domain.errors import SyncError
from app.domain.gomod_syntax import parse_lines
from app.domain.modules import ModulePath, Version
from app.domain.reconcile import Finding, Known, Observed, compare
from app.domain.routing import Rule
from app.domain.run import ACTIVE, Stage, Status
from app.services.observe import Observer
from app.services.pace import Pace
from app.services.planning import Planner, SourceOptions
from app.services.ports import ProxyInfo
from app.services.reconcile import Order
from app.services.retention import RunPruning
from tests.integration.flow_world import GO_MOD, MIRROR, MODULE, NO_REGISTRIES, REGISTRY, zip_of
from tests.integration.reconcile_world import RULES, ReconcileWorld

MAKING = (Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone=RULES[0].clone, tags="make"),)


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    return ReconcileWorld(tmp_path)


def without_the_proxy(world: ReconcileWorld) -> str:
    """A run that a proxy's outage ended: its pipeline succeeded, and nothing was cached."""
    run = world.take_to_pipeline()
    for number in world.gitlab.pipelines:
        world.gitlab.finish(number, "success")
    world.settle(run, rounds=200)
    ended = world.run(run)
    assert (ended.status, ended.stage, ended.error) == (Status.FAILED, Stage.VERIFY, "not_cached_yet")
    return run


def done_after(world: ReconcileWorld, *, retry: bool = False) -> tuple[dict[str, str], int, int]:
    """What a comparison found, and how many pushes and pipelines brought the one run through."""
    pushes, pipelines = world.git.calls.count("push"), len(world.gitlab.pipelines)
    report = world.reconcile(module=MODULE if retry else "", retry=retry)
    (run,) = report.runs
    assert world.run(run).status is Status.DONE
    return world.found(report), world.git.calls.count("push") - pushes, len(world.gitlab.pipelines) - pipelines


def test_a_tag_that_the_mirror_lost_is_pushed_though_its_run_failed_later(world: ReconcileWorld) -> None:
    without_the_proxy(world)
    del world.mirror.refs["refs/tags/v1.0.0"]
    assert done_after(world) == ({"v1.0.0": "missing_in_mirror"}, 1, 1)
    assert world.mirror.refs["refs/tags/v1.0.0"] == world.commit


@pytest.mark.parametrize("retry", [False, True])
def test_a_version_that_only_the_pipeline_brings_to_the_proxy_gets_one(world: ReconcileWorld, retry: bool) -> None:
    without_the_proxy(world)
    assert done_after(world, retry=retry) == ({"v1.0.0": "missing_in_proxy"}, 0, 1)


def test_one_that_the_proxy_lists_is_only_verified(world: ReconcileWorld) -> None:
    without_the_proxy(world)
    world.cache("v1.0.0")
    assert done_after(world) == ({"v1.0.0": "missing_in_proxy"}, 0, 0)


def test_a_run_that_never_came_so_far_begins_where_it_ended(world: ReconcileWorld) -> None:
    run = world.take_to_pipeline()
    world.clock.advance(1)
    SqlReplayStore(world.engine).cancel(run, "cli:me", world.clock.now())
    world.cache("v1.0.0")

    assert (world.found(report := world.reconcile()), report.runs) == (
        {"v1.0.0": "failed"},
        (),
    )  # as somebody wanted it
    assert done_after(world, retry=True) == ({"v1.0.0": "failed"}, 0, 1)


def from_a_registry(directory: Path) -> tuple[ReconcileWorld, str]:
    """A registry's release whose run a proxy's outage ended, once a worker had made its commit."""
    rules = (replace(RULES[0], clone=REGISTRY, content="goproxy"),)
    world = ReconcileWorld(directory, rules=rules)
    allowed = SourceOptions("platform", "article", (), allow=(f"{REGISTRY}/**",))
    world.planner, world.registries[REGISTRY] = Planner({"platform": allowed}, rules, world.new_id), world.registry
    world.registry.hold(
        MODULE, ProxyInfo("v1.0.0", "2026-11-01T00:00:00Z", None), GO_MOD, zip_of({"go.mod": GO_MOD}, "v1.0.0")
    )
    return world, told_by_its_registry(world)


def told_by_its_registry(world: ReconcileWorld) -> str:
    """A webhook's run; pipelines succeed, and nothing is cached."""
    url = f"{REGISTRY}/{ModulePath.parse(MODULE).escaped}"
    run = world.take(commit="", content="goproxy", tags="make", clone_url=url).run_id
    for _ in range(200):
        if world.run(run).status not in ACTIVE:
            break
        world.sweep.once()
        world.work()
        world.show_refs()
        for number, made in world.gitlab.pipelines.items():
            if made.now.status == "created":
                world.gitlab.finish(number, "success")
        world.clock.advance(1)
    return run


@pytest.mark.parametrize("told_again", [False, True])
@pytest.mark.parametrize("lost", [False, True])
def test_a_registrys_release_begins_where_the_gap_is(tmp_path: Path, told_again: bool, lost: bool) -> None:
    world, run = from_a_registry(tmp_path)
    ended = world.run(run)
    assert (ended.status, ended.stage, ended.error) == (Status.FAILED, Stage.VERIFY, "not_cached_yet")
    if told_again:  # the run without a commit that its registry's webhook makes is no dead end
        assert world.run(told_by_its_registry(world)).error == "duplicate_release"
        world.settle(run, rounds=200)
    if lost:
        del world.mirror.refs["refs/tags/v1.0.0"]
    found = "missing_in_mirror" if lost else "missing_in_proxy"
    assert done_after(world) == ({"v1.0.0": found}, int(lost), 1)
    assert world.run(run).status is Status.DONE


def test_what_a_registry_does_not_list_is_never_adopted(tmp_path: Path) -> None:
    world, _ = from_a_registry(tmp_path)
    world.mirror.refs["refs/tags/v0.9.0"] = world.mirror.refs["refs/tags/v1.0.0"]
    world.cache("v0.9.0")
    assert world.found(world.reconcile(dry_run=True))["v0.9.0"] == "extra_in_mirror"


def tagging(directory: Path) -> ReconcileWorld:
    """A world whose source has no tag: modsync makes them."""
    made = ReconcileWorld(directory, rules=MAKING)
    del made.source.refs["refs/tags/v1.0.0"]
    return made


def made_here(world: ReconcileWorld, version: str = "v1.0.0") -> str:
    """A version, tagged by modsync and brought through."""
    run = world.take(version, tags="make").run_id
    world.settle(run)
    assert world.reconcile().items == ()
    return run


def without_the_mirror(world: ReconcileWorld) -> str:
    """A run that GitLab's outage ended before its push."""
    url = f"{world.gitlab.url}/{MIRROR}.git"
    mirror = world.git.repositories.pop(url)
    run = world.take(tags="make").run_id
    world.settle(run, rounds=200)
    world.git.repositories[url] = mirror
    assert (world.run(run).status, world.run(run).pushed_at, mirror.refs) == (Status.FAILED, None, {})
    return run


def test_a_made_release_that_the_proxy_lost_goes_through_the_pipeline_again(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    made_here(world)
    world.proxy.held.clear()
    assert done_after(world) == ({"v1.0.0": "missing_in_proxy"}, 0, 1)


@pytest.mark.parametrize("retry", [False, True])
def test_a_made_release_that_an_outage_ended_before_its_push_is_begun_anew(tmp_path: Path, retry: bool) -> None:
    world = tagging(tmp_path)
    without_the_mirror(world)
    assert done_after(world, retry=retry) == ({"v1.0.0": "missing_in_mirror"}, 1, 1)


def test_a_made_release_whose_push_had_no_answer_is_begun_anew(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    without_the_mirror(world)
    world.mirror.commits = dict(world.source.commits)
    world.mirror.refs["refs/tags/v1.0.0"] = world.commit
    assert done_after(world)[0] == {"v1.0.0": "missing_in_proxy"}


def test_a_made_release_that_somebody_cancelled_stays_so(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    run = world.take(tags="make").run_id
    SqlReplayStore(world.engine).cancel(run, "cli:me", world.clock.now())
    assert (world.found(report := world.reconcile()), report.runs) == ({"v1.0.0": "failed"}, ())


def test_made_releases_that_a_restored_database_lacks_are_adopted_where_the_proxy_lists_them(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    world.mirror.commits = dict(world.source.commits)
    for version in ("v1.0.0", "v1.1.0"):
        world.mirror.refs[f"refs/tags/{version}"] = world.commit
    world.cache("v1.0.0")  # or somebody tagged them by hand: who is not there to tell does not adopt
    scheduled = world.service().one(world.service().repository_of(ModulePath.parse(MODULE)), Order())
    assert (world.found(scheduled), scheduled.adopted) == (dict.fromkeys(("v1.0.0", "v1.1.0"), "extra_in_mirror"), 0)
    report = world.reconcile()
    assert (world.found(report), report.adopted) == ({"v1.0.0": "adopted", "v1.1.0": "extra_in_mirror"}, 1)
    refused = world.take(commit="f" * 40, tags="make")
    assert (refused.status, refused.error) == (Status.REJECTED, "version_moved")


def test_a_made_tag_that_the_mirror_lost_comes_back_though_its_run_is_not_kept(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    old = made_here(world)
    world.clock.advance(31 * 86400)
    assert RunPruning(SqlRetentionStore(world.engine), world.clock, 30, 100).once() == 1
    made_here(world, "v1.1.0")
    del world.mirror.refs["refs/tags/v1.0.0"]

    assert done_after(world) == ({"v1.0.0": "missing_in_mirror"}, 1, 1)
    at = world.mirror.at("refs/tags/v1.0.0")
    assert at is not None
    assert at.commit == world.commit
    assert old not in {run.id for run in world.runs()}


def test_a_made_tag_in_a_directory_comes_back_under_its_name(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    module = f"{MODULE}/sdk"
    commit = world.source.commit({"sdk/go.mod": f"module {module}\n".encode()})
    known = {(ModulePath.parse(module), Version.parse("v1.0.0")): Known(commit, pushed=True)}
    seen = Observed({}, {}, {}, known, subdirs={ModulePath.parse(module): "sdk"})
    (item,) = compare(seen, lambda *_: None, made={ModulePath.parse(module)})
    assert (item.finding, item.tag, item.subdir) == (Finding.MISSING_IN_MIRROR, "sdk/v1.0.0", "sdk")

    repositories, service = world.repositories, world.service()
    assert repositories.adopt([item], world.clock.now()) == 1
    world.source.tag("sdk/v1.1.0", commit)
    (run,) = [each for each in service.one(service.repository_of(ModulePath.parse(module)), Order()).runs
              if world.run(each).version == "v1.0.0"]  # fmt: skip
    assert (world.run(run).target.subdir, world.run(run).commit) == ("sdk", commit)


def test_what_cannot_be_begun_is_for_a_person(world: ReconcileWorld, tmp_path: Path) -> None:
    run = without_the_proxy(world)
    other = (Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone="https://elsewhere.example/{repo}.git"),)
    world.planner = ReconcileWorld(tmp_path / "other", rules=other).planner
    service = world.service()
    report = service.by_mirror(MIRROR, Order())
    assert (world.found(report), report.runs, report.needs_a_person) == ({"v1.0.0": "failed"}, (), True)
    assert "no run was begun" in report.items[0].detail
    assert world.run(run).attempt == 1


@pytest.fixture
def retracted(world: ReconcileWorld) -> ReconcileWorld:
    """The newest go.mod retracts v1.0.0, and the proxy's list follows `go list -m -versions`."""
    world.settle(world.take().run_id)
    world.release("v1.1.0")
    world.proxy.held[MODULE, "v1.1.0"].mod = GO_MOD + b"retract v1.0.0\n"
    world.proxy.unlisted = {"v1.0.0"}
    return world


def test_a_retracted_version_that_the_proxy_serves_and_does_not_list_is_well(retracted: ReconcileWorld) -> None:
    asked = len(retracted.proxy.calls)
    assert retracted.reconcile().items == ()
    told = [(method, version) for method, _, version in retracted.proxy.calls[asked:] if method != "list"]
    assert told == [("mod", "v1.1.0"), ("info", "v1.0.0")]


def test_a_retracted_version_that_the_proxy_lost_is_brought_once(retracted: ReconcileWorld) -> None:
    del retracted.proxy.held[MODULE, "v1.0.0"]
    assert done_after(retracted) == ({"v1.0.0": "missing_in_proxy"}, 0, 1)
    assert retracted.reconcile().items == ()


def test_a_retracted_version_whose_run_is_not_kept_is_well(retracted: ReconcileWorld) -> None:
    retracted.clock.advance(31 * 86400)
    assert RunPruning(SqlRetentionStore(retracted.engine), retracted.clock, 30, 100).once() == 2
    assert retracted.reconcile().items == ()


def test_one_that_the_proxy_serves_and_should_list_is_missing(retracted: ReconcileWorld) -> None:
    retracted.proxy.held[MODULE, "v1.1.0"].mod = GO_MOD
    assert retracted.found(retracted.reconcile(dry_run=True)) == {"v1.0.0": "missing_in_proxy"}
    assert retracted.proxy.calls[-1][0] == "mod"  # nobody asks whether it serves v1.0.0


def test_what_the_newest_retracts_with_itself_is_well(retracted: ReconcileWorld) -> None:
    retracted.proxy.held[MODULE, "v1.1.0"].mod = GO_MOD + b"retract [v1.0.0, v1.1.0]\n"
    retracted.proxy.unlisted |= {"v1.1.0"}
    assert retracted.reconcile().items == ()


def test_one_of_which_the_proxy_says_nothing_is_missing_and_holds_nothing_up(retracted: ReconcileWorld) -> None:
    retracted.tag("v1.2.0")
    retracted.proxy.fail("info", SyncError("proxy_unreachable", "500"))
    found = retracted.found(retracted.reconcile(dry_run=True))
    assert found == {"v1.0.0": "missing_in_proxy", "v1.2.0": "missing_in_mirror"}


def test_many_that_are_not_listed_beside_many_that_are_cost_one_reading(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Mock(side_effect=Version.parse)
    monkeypatch.setattr("app.domain.served.parsed", reads)
    listed = [Version.parse(f"v2.0.{number}+incompatible") for number in range(100)]
    unlisted = [Version.parse(f"v{major}.1.{number}+incompatible") for major in (2, 3) for number in range(100)]
    observer = Observer(world.git, NO_REGISTRIES, {"default": world.proxy}, Pace(0), str)
    for version in unlisted:
        world.proxy.hold(MODULE, ProxyInfo(version.text, None, None), GO_MOD, b"")
    left_out = observer.left_out(ModulePath.parse(MODULE), "default", unlisted, listed, [*listed, *unlisted])
    assert left_out == set(unlisted[100:])  # of v2 all have to be listed, of v3 none is
    assert reads.call_count < 2000


def test_many_that_one_go_mod_retracts_one_by_one_cost_one_reading_of_it(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Mock(side_effect=parse_lines)
    monkeypatch.setattr("app.domain.retractions.parse_lines", reads)
    versions, last = [Version.parse(f"v1.0.{number}") for number in range(200)], Version.parse("v1.1.0")
    taken_back = "".join(f"retract {version}\n" for version in versions[1:]).encode()
    for version in (*versions, last):
        world.proxy.hold(MODULE, ProxyInfo(version.text, None, None), GO_MOD + taken_back, b"")
    observer = Observer(world.git, NO_REGISTRIES, {"default": world.proxy}, Pace(0), str)
    left_out = observer.left_out(ModulePath.parse(MODULE), "default", versions, [last], [*versions, last])
    assert left_out == set(versions[1:])
    assert reads.call_count == 1


def test_a_stop_is_noticed_before_a_go_mod_is_read(retracted: ReconcileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = SyncError("interrupted", "asked to stop")
    checkpoint = Mock(side_effect=[None, stopped])  # the go.mod was asked for; now it would be read
    reads = Mock(side_effect=parse_lines)
    monkeypatch.setattr("app.domain.retractions.parse_lines", reads)
    observer = Observer(retracted.git, NO_REGISTRIES, {"default": retracted.proxy}, Pace(0), str, checkpoint)
    old, new = (Version.parse(text) for text in ("v1.0.0", "v1.1.0"))
    with pytest.raises(SyncError, match="asked to stop"):
        observer.left_out(ModulePath.parse(MODULE), "default", [old], [new], [old, new])
    assert reads.call_count == 0
