"""Reconcile and backfill over real databases and the contract-tested doubles of git, GitLab and the proxy."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.adapters.intake_store import SqlIntakeStore
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.routing import Rule
from app.domain.run import Lane, Status
from app.services.ports import ProxyInfo
from app.services.reconcile import Order
from app.services.stores import NewDelivery, PlannedRun, Receipt
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.integration.flow_world import MIRROR, MODULE, SOURCE
from tests.integration.fuses import CrashError
from tests.integration.reconcile_world import ReconcileWorld
from tests.integration.test_go_proxy_adapter import Answers
from tests.sandbox.serve import LoopbackServer


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    return ReconcileWorld(tmp_path)


def test_a_lost_webhook_is_healed(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    commit = world.tag("v1.1.0")
    clones = world.git.calls.count("source")

    dry = world.reconcile(dry_run=True)
    assert world.found(dry) == {"v1.1.0": "missing_in_mirror"}
    assert (dry.runs, world.git.calls.count("source")) == ((), clones)  # comparing clones nothing

    report = world.reconcile()
    (run,) = (world.run(each) for each in report.runs)
    assert (run.status, run.version, run.commit, run.lane) == (Status.DONE, "v1.1.0", commit, Lane.BACKFILL)
    assert world.mirror.refs["refs/tags/v1.1.0"] == commit
    assert world.reconcile().items == ()


def test_what_is_in_flight_is_left_alone(world: ReconcileWorld) -> None:
    world.take()
    assert world.found(world.reconcile(dry_run=True)) == {"v1.0.0": "waiting"}


def test_a_version_that_the_proxy_lost_goes_through_the_pipeline_again(world: ReconcileWorld) -> None:
    run = world.take().run_id
    world.settle(run)
    world.proxy.held.clear()
    made, pushed = len(world.gitlab.pipelines), world.git.calls.count("push")

    assert world.found(report := world.reconcile()) == {"v1.0.0": "missing_in_proxy"}
    assert report.runs == (run,)
    assert (world.run(run).status, world.run(run).attempt, world.run(run).lane) == (Status.DONE, 2, Lane.BACKFILL)
    assert (len(world.gitlab.pipelines) - made, world.git.calls.count("push") - pushed) == (1, 0)
    assert world.reconcile().items == ()


def test_a_tag_that_the_mirror_lost_is_pushed_again(world: ReconcileWorld) -> None:
    run = world.take().run_id
    world.settle(run)
    del world.mirror.refs["refs/tags/v1.0.0"]
    assert world.reconcile().runs == (run,)
    assert world.mirror.refs["refs/tags/v1.0.0"] == world.commit


def test_a_mirror_that_modsync_did_not_make_is_adopted_where_it_agrees(world: ReconcileWorld) -> None:
    world.mirror.commits = dict(world.source.commits)
    world.mirror.refs["refs/tags/v1.0.0"] = world.commit
    world.cache("v1.0.0")

    assert world.found(world.reconcile(dry_run=True)) == {"v1.0.0": "adopted"}
    report = world.reconcile()
    assert (report.adopted, report.runs, world.runs()) == (1, (), [])
    assert world.reconcile().items == ()
    # From now on the version belongs to this commit.
    refused = world.take(commit="f" * 40)
    assert (refused.status, refused.error) == (Status.REJECTED, "version_moved")


def test_an_adopted_version_whose_webhook_comes_after_all_goes_through(world: ReconcileWorld) -> None:
    test_a_mirror_that_modsync_did_not_make_is_adopted_where_it_agrees(world)
    run = world.take().run_id
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_what_should_not_be_there_what_moved_and_what_differs_is_reported(world: ReconcileWorld) -> None:
    for version in ("v1.1.0", "v1.2.0", "v1.3.0"):
        world.release(version)
    other = world.source.commit({"other.go": b""})
    world.source.tag("v1.1.0", other)  # moved at the source
    world.mirror.refs["refs/tags/v1.2.0"] = other  # somebody pushed to the mirror
    del world.source.refs["refs/tags/v1.3.0"]  # removed at the source
    world.mirror.refs["refs/tags/v6.6.6"] = other  # never released
    del world.source.refs["refs/tags/v1.0.0"]
    world.proxy.hold(MODULE, world.proxy.info(ModulePath(MODULE), Version("v1.3.0")), b"", b"", version="v1.9.9")
    before = dict(world.mirror.refs)

    report = world.reconcile()
    assert world.found(report) == {
        "v1.1.0": "moved", "v1.2.0": "differs", "v1.3.0": "gone", "v6.6.6": "extra_in_mirror", "v1.9.9": "extra_in_proxy",
    }  # fmt: skip
    assert (report.runs, report.adopted, world.mirror.refs) == ((), 0, before)
    assert report.needs_a_person


def test_a_run_that_a_person_has_to_mend_is_reported_and_not_repeated(world: ReconcileWorld) -> None:
    world.source.tag("v2.0.0", world.commit)  # its go.mod has no /v2
    first = world.reconcile()
    assert world.found(first)["v2.0.0"] == "missing_in_mirror"
    assert {world.run(run).error for run in first.runs} == {None, "module_mismatch"}
    assert world.found(second := world.reconcile()) == {"v2.0.0": "failed"}
    assert second.runs == ()


def test_a_run_that_an_outage_ended_is_begun_anew(world: ReconcileWorld) -> None:
    run = world.take("v1.1.0").run_id
    for _ in range(30):
        world.clock.advance(5)
        world.advance(run)
    assert (world.run(run).status, world.run(run).error) == (Status.FAILED, "tag_missing")
    del world.source.refs["refs/tags/v1.0.0"]
    world.source.tag("v1.1.0", world.commit)
    assert world.reconcile().runs == (run,)
    assert world.run(run).status is Status.DONE


def test_submodules_and_majors_have_their_paths(world: ReconcileWorld) -> None:
    sub = world.source.commit({"sdk/go.mod": f"module {MODULE}/sdk/v2\n".encode()})
    world.source.tag("sdk/v2.1.0", sub)
    world.source.tag("nightly", sub)
    world.source.tag("docs/2024", sub)
    report = world.reconcile(dry_run=True)
    assert {(str(item.module), item.version.text) for item in report.items} == {
        (MODULE, "v1.0.0"), (f"{MODULE}/sdk/v2", "v2.1.0"),
    }  # fmt: skip


@pytest.mark.parametrize("released", [True, False])
def test_prereleases_that_nobody_wants_any_more_are_there_all_the_same(
    world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch, released: bool
) -> None:
    world.settle(world.take().run_id)
    if released:
        world.release("v1.1.0-rc.1")
    else:  # by whoever kept the mirror before modsync
        world.mirror.refs["refs/tags/v1.1.0-rc.1"] = world.tag("v1.1.0-rc.1")
        world.cache("v1.1.0-rc.1")
    world.tag("v1.1.0-rc.2")
    monkeypatch.setattr(world.planner, "wants_prereleases", lambda _source: False)
    assert world.reconcile().items == ()
    for refs in (world.source.refs, world.mirror.refs):
        del refs["refs/tags/v1.1.0-rc.1"]
    assert world.found(world.reconcile()) == {"v1.1.0-rc.1": "gone" if released else "extra_in_proxy"}


def test_a_backfill_brings_all_versions_oldest_first_in_few_pushes(world: ReconcileWorld) -> None:
    newest = world.release("v1.1.0").commit
    old = {f"v0.{number}.0": world.tag(f"v0.{number}.0") for number in range(120)}
    pushes = world.git.calls.count("push")

    report = world.reconcile(module=MODULE, retry=True)
    versions = [world.run(run).version for run in report.runs]
    assert versions == [*old, "v1.0.0"]
    assert {world.run(run).status for run in report.runs} == {Status.DONE}
    assert world.git.calls.count("push") - pushes <= 4
    assert {tag: world.mirror.refs[f"refs/tags/{tag}"] for tag in old} == old
    assert world.mirror.refs["refs/heads/ci-sync"] == newest


def test_a_backfill_is_of_one_module(world: ReconcileWorld) -> None:
    sub = world.source.commit({"sdk/go.mod": f"module {MODULE}/sdk\n".encode()})
    world.source.tag("sdk/v0.1.0", sub)
    assert world.found(world.reconcile(dry_run=True, module=f"{MODULE}/sdk")) == {"v0.1.0": "missing_in_mirror"}


def test_a_source_that_does_not_answer_is_recorded_and_stays_due(world: ReconcileWorld) -> None:
    world.settle(world.take().run_id)
    world.git.fail("remote_refs", SyncError("source_unreachable", "no route"))
    report = world.reconcile()
    assert report.error == ("source_unreachable", "no route")
    assert world.repositories.mirrors(world.clock.now()) == [MIRROR]
    world.reconcile()
    assert world.repositories.mirrors(world.clock.now()) == []


def test_the_source_is_the_first_that_may_clone_what_the_rule_says(tmp_path: Path) -> None:
    world = ReconcileWorld(tmp_path, before={"elsewhere": "https://other.example/**"})
    assert world.service().repository_of(ModulePath.parse(MODULE)).source == "platform"
    (run,) = world.reconcile().runs
    assert (world.run(run).source, world.run(run).status) == ("platform", Status.DONE)


def test_a_module_that_no_source_may_clone_is_refused_by_its_code(tmp_path: Path) -> None:
    rules = [Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone="https://third.example/{team}/{repo}.git")]
    world = ReconcileWorld(tmp_path, rules=rules, before={"elsewhere": "https://other.example/**"})
    for module, code in ((MODULE, "clone_url_refused"), ("foreign.example/a/b", "no_rule")):
        with pytest.raises(SyncError) as refused:
            world.service().repository_of(ModulePath.parse(module))
        assert refused.value.code == code


def test_made_tags_need_not_be_at_the_source(tmp_path: Path) -> None:
    rules = [Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone=SOURCE, tags="make")]
    world = ReconcileWorld(tmp_path, rules=rules)
    run = world.take("v1.1.0", tags="make").run_id
    world.settle(world.take().run_id, run)
    assert world.reconcile().items == ()
    del world.mirror.refs["refs/tags/v1.1.0"]
    assert world.reconcile().runs == (run,)
    assert "refs/tags/v1.1.0" in world.mirror.refs


class DyingStore(SqlIntakeStore):
    """Dies before its second batch."""

    batches = 0

    def record(self, delivery: NewDelivery, planned: Sequence[PlannedRun]) -> tuple[str, bool, list[Receipt]]:
        self.batches += 1
        if self.batches == 2:
            raise CrashError("between two batches")
        return super().record(delivery, planned)


@pytest.mark.parametrize(("status", "error"), [("404 Not Found", "not_in_registry"), ("410 Gone", "not_in_registry"),
                                               ("200 OK", None)])  # fmt: skip
def test_a_registry_that_does_not_know_the_module_is_an_error(tmp_path: Path, status: str, error: str | None) -> None:
    """A mistyped module, or a wrong base path; a module without versions has an empty list."""
    base = "https://git.example/go"
    rules = [Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone=base, content="goproxy")]
    world = ReconcileWorld(tmp_path, rules=rules)
    module = ModulePath.parse("go.example/team/never-heard-of")
    with LoopbackServer(Answers(status, b"")) as server:
        world.registries[base] = GoProxyClient(ProxyOptions("registry", server.url))
        service = world.service()
        report = service.one(service.repository_of(module), Order(module=module))
    assert (report.error and report.error[0], report.tags) == (error, 0)
    kept = world.repositories.find("mirrors/team/never-heard-of")
    assert kept is not None
    assert kept.error == error  # the schedule asks again, after a while


def test_a_registry_s_list_is_its_tags(tmp_path: Path) -> None:
    rules = [
        Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone="https://git.example/go", content="goproxy")
    ]
    world = ReconcileWorld(tmp_path, rules=rules)
    registry = FakeGoProxy()
    world.registries["https://git.example/go"] = registry
    for version in ("v1.0.0", "v1.1.0", "v2.0.0+incompatible"):
        registry.hold(MODULE, ProxyInfo(version, None, None), b"", b"")
    world.mirror.commits = dict(world.source.commits)
    world.mirror.refs["refs/tags/v1.0.0"] = world.commit
    world.cache("v1.0.0")

    report = world.reconcile(dry_run=True)
    assert {(str(item.module), item.version.text, str(item.finding)) for item in report.items} == {
        (MODULE, "v1.0.0", "missing_in_proxy"),  # nobody knows yet whether the mirror's content is the registry's
        (MODULE, "v1.1.0", "missing_in_mirror"),
        (MODULE, "v2.0.0+incompatible", "missing_in_mirror"),
    }
    service = world.service()
    begun = [world.run(run) for run in service.one(service.repository_of(ModulePath.parse(MODULE)), Order()).runs]
    assert {(run.version, run.commit, run.target.content) for run in begun} == {
        ("v1.0.0", "", "goproxy"), ("v1.1.0", "", "goproxy"), ("v2.0.0+incompatible", "", "goproxy"),
    }  # fmt: skip
    assert world.found(world.reconcile(dry_run=True)).keys() == {run.version for run in begun}
    assert {item.finding for item in world.reconcile(dry_run=True).items} == {"waiting"}


def test_killed_between_two_batches_nothing_is_lost_or_done_twice(world: ReconcileWorld) -> None:
    for number in range(60):
        world.tag(f"v0.{number}.0")
    service = world.service(DyingStore(world.engine))
    with pytest.raises(CrashError):
        service.one(service.repository_of(ModulePath.parse(MODULE)), Order())
    assert len(world.runs()) == 50

    report = world.reconcile()
    world.settle(*(run.id for run in world.runs()))
    assert len(report.runs) == 11
    assert len([ref for ref in world.mirror.refs if ref.startswith("refs/tags/")]) == 61
