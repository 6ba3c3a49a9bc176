"""What reconcile makes of releases that go to another mirror by the rules of today."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from app.adapters.intake_store import SqlIntakeStore
from app.domain.modules import ModulePath, Version
from app.domain.reconcile import Finding, Item
from app.domain.routing import Rule
from app.domain.run import Status
from app.services.planning import Planner, SourceOptions
from app.services.ports import ProxyInfo
from app.services.reconcile import Order
from app.services.stores import NewDelivery
from tests.contract.fake_git import FakeRepository
from tests.integration.flow_world import GO_MOD, MIRROR, MODULE
from tests.integration.reconcile_world import RULES, ReconcileWorld
from tests.integration.test_reconcile_gaps import MAKING, made_here, tagging

NEW_PLACE = "mirrors/renamed/thing"


@pytest.fixture
def renamed(tmp_path: Path) -> ReconcileWorld:
    """The rules name another mirror than the one that two releases are in; a third went there, by a webhook."""
    world = ReconcileWorld(tmp_path)
    world.settle(world.take().run_id)
    for version in ("v1.1.0", "v1.2.0"):
        world.release(version)
    del world.mirror.refs["refs/tags/v1.2.0"]
    rules = (Rule(RULES[0].modules, "mirrors/renamed/{repo}", clone=RULES[0].clone),)
    options = SourceOptions("platform", "article", (), allow=("https://git.example/**",))
    world.planner = Planner({"platform": options}, rules, world.new_id)
    return world


def test_what_went_to_another_mirror_since_is_missing_there_alone(renamed: ReconcileWorld) -> None:
    for _ in range(2):
        report = renamed.service().by_mirror(MIRROR, Order())
        assert (report.items, report.runs) == ((), ())
    assert set(renamed.repositories.mirrors(renamed.clock.now() + timedelta(days=1))) == {MIRROR, NEW_PLACE}
    there = renamed.service().by_mirror(NEW_PLACE, Order(dry_run=True))
    assert renamed.found(there) == dict.fromkeys(("v1.0.0", "v1.1.0", "v1.2.0"), "missing_in_mirror")


def test_a_release_that_nobody_told_of_goes_to_the_mirror_that_the_rules_name_today(renamed: ReconcileWorld) -> None:
    renamed.tag("v1.3.0")
    report = renamed.service().by_mirror(MIRROR, Order())
    assert renamed.found(report) == {"v1.3.0": "missing_in_mirror"}
    assert [renamed.run(run).target.mirror for run in report.runs] == [NEW_PLACE]


def test_a_dry_run_notes_no_other_mirror(renamed: ReconcileWorld) -> None:
    assert renamed.service().by_mirror(MIRROR, Order(dry_run=True)).items == ()
    assert NEW_PLACE not in renamed.repositories.mirrors(renamed.clock.now() + timedelta(days=1))


MOVED = replace(RULES[0], mirror="mirrors/renamed/{repo}")


def placing(world: ReconcileWorld, *rules: Rule, sources: Sequence[str] = ("platform",)) -> None:
    """From now on these rules and sources count."""
    options = {name: SourceOptions(name, "article", (), allow=("https://git.example/**",)) for name in sources}
    world.planner = Planner(options, rules, world.new_id)


class TwoMirrors(ReconcileWorld):
    """GitLab has the other mirror, too, and the proxy asks it as well."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.other = self.git.repositories[f"{self.gitlab.url}/{NEW_PLACE}.git"] = FakeRepository()

    def show_refs(self) -> None:
        super().show_refs()
        for project in self.gitlab.projects.values():
            for ref, at in self.other.refs.items():
                self.gitlab.push(project.id, ref, at)

    def cache(self, version: str) -> None:
        if at := self.other.refs.get(f"refs/tags/{version}"):
            self.proxy.hold(MODULE, ProxyInfo(version, None, at), GO_MOD, at.encode())
        else:
            super().cache(version)

    def told_by_the_other(self, version: str) -> None:
        """A release that source `other` told of; brought to the other mirror."""
        plan = replace(self.planned(version, self.tag(version), mirror=NEW_PLACE), source="other")
        delivery = NewDelivery(
            id=self.new_id("d"), source="other", dedupe="other", scheme="article", secret_id="x",
            received_at=self.clock.now(), headers={}, body=b"{}", verdict="accepted",
        )  # fmt: skip
        (receipt,) = SqlIntakeStore(self.engine).record(delivery, [plan])[2]
        self.settle(receipt.run_id)
        assert self.run(receipt.run_id).status is Status.DONE

    def compared(self) -> list[tuple[str, ...]]:
        """What the scheduled comparisons of both mirrors began."""
        begun = []
        for mirror in (MIRROR, NEW_PLACE):
            report = self.service().by_mirror(mirror, Order())
            self.settle(*report.runs, rounds=200)
            begun.append(report.runs)
        self.clock.advance(43200)
        return begun


@pytest.fixture
def two(tmp_path: Path) -> TwoMirrors:
    """Two releases in the old mirror; one in the other one."""
    world = TwoMirrors(tmp_path)
    world.settle(world.take().run_id)
    world.release("v1.1.0")
    return world


def test_what_two_sources_release_to_two_mirrors_stays_where_its_own_source_sends_it(two: TwoMirrors) -> None:
    placing(two, replace(RULES[0], source="platform"), replace(MOVED, source="other"), sources=("platform", "other"))
    two.told_by_the_other("v1.2.0")
    for _ in range(4):
        assert two.compared() == [(), ()]
    assert {run.attempt for run in two.runs()} == {1}
    assert set(two.other.refs) & {"refs/tags/v1.0.0", "refs/tags/v1.1.0"} == set()


def test_a_source_that_was_renamed_together_with_the_mirror_begins_nothing_at_the_old_one(two: TwoMirrors) -> None:
    placing(two, MOVED, sources=("other",))
    two.told_by_the_other("v1.2.0")
    for _ in range(4):
        assert two.compared() == [(), ()]
    assert {run.attempt for run in two.runs()} == {1}


def test_a_mirror_that_nothing_is_missing_in_tells_of_the_one_that_its_module_goes_to(two: TwoMirrors) -> None:
    placing(two, MOVED)
    two.repositories.note = noted = Mock(wraps=two.repositories.note)  # type: ignore[method-assign]
    for _ in range(2):
        assert two.service().by_mirror(MIRROR, Order()).items == ()
    assert [call.args[0].mirror for call in noted.call_args_list if call.args[0].mirror != MIRROR] == [NEW_PLACE]

    assert [len(runs) for runs in two.compared()] == [0, 2]
    assert {ref for ref in two.other.refs if ref.startswith("refs/tags/")} == {"refs/tags/v1.0.0", "refs/tags/v1.1.0"}
    assert two.compared() == [(), ()]


def test_made_modules_go_to_the_new_mirror_those_in_directories_for_who_names_them(tmp_path: Path) -> None:
    world = tagging(tmp_path)
    made_here(world)
    sdk = ModulePath.parse(f"{MODULE}/sdk")
    commit = world.source.commit({"sdk/go.mod": f"module {sdk}\n".encode()})
    item = Item(Finding.ADOPTED, "sdk/v1.0.0", sdk, Version.parse("v1.0.0"), "sdk", commit)
    assert world.repositories.adopt([item], world.clock.now()) == 1
    placing(world, replace(MAKING[0], mirror=MOVED.mirror))
    service = world.service()
    assert service.by_mirror(MIRROR, Order()).items == ()

    missing = {"v1.0.0": "missing_in_mirror"}
    found = service.by_mirror(NEW_PLACE, Order(dry_run=True))
    assert ([str(item.module) for item in found.items], world.found(found)) == ([MODULE], missing)
    named = service.one(service.repository_of(sdk), Order(dry_run=True, module=sdk))
    assert (named.mirror, [str(item.module) for item in named.items]) == (NEW_PLACE, [str(sdk)])
