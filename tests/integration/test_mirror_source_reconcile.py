"""Reconcile of a mirror that two repositories ask for: it knows the one that the mirror is of, and brings only that one's."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.mirror_source import SqlMirrorSourceStore
from app.domain.routing import Rule
from app.domain.run import Status, Target
from app.services.mirror_source import SourceOrder
from app.services.reconcile import Order
from app.services.reconcile_values import Report
from tests.contract.fake_git import FakeRepository
from tests.integration.flow_world import GO_MOD, MIRROR, MODULE, SOURCE, FlowWorld
from tests.integration.moves_world import Moving
from tests.integration.reconcile_world import RULES, ReconcileWorld

OTHER, MOVED = "https://git.example:8443/team/thing.git", "https://git.example/moved/thing.git"
BY_PAYLOAD = (Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}"),)


class World(ReconcileWorld):
    """A rule without `clone`; the mirror is of SOURCE, and OTHER sends a release for it, too."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, rules=BY_PAYLOAD)
        self.other = self.git.repositories[OTHER] = FakeRepository()
        self.settle(self.take().run_id)
        commit = self.other.commit({"go.mod": GO_MOD, "other.go": b""})
        self.other.tag("v1.1.0", commit)
        self.refused = self.take("v1.1.0", commit, clone_url=OTHER).run_id
        self.settle(self.refused)

    def compared(self) -> Report:
        report = self.service().by_mirror(MIRROR, Order(actor="cli:me"))
        self.settle(*report.runs)
        return report


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def moved(world: FlowWorld) -> None:
    """Somebody says that the repository is at MOVED now."""
    order = SourceOrder.parse(MIRROR, MOVED, "cli:me", "a new place")
    SqlMirrorSourceStore(world.engine).move(order, world.clock.now())


def test_the_mirrors_own_repository_is_compared(world: World) -> None:
    assert world.run(world.refused).error == "mirror_of_another"
    report = world.compared()
    assert (report.clone_url, report.items, report.error) == (SOURCE, (), None)


def test_a_lost_webhook_of_a_version_that_the_other_was_refused_with(world: World) -> None:
    commit = world.tag("v1.1.0")
    report = world.compared()
    assert world.found(report) == {"v1.1.0": "missing_in_mirror"}
    (run,) = map(world.run, report.runs)
    assert (run.status, run.commit, run.target.clone_url) == (Status.DONE, commit, SOURCE)
    assert world.run(world.refused).error == "superseded"


def test_what_was_brought_before_the_repository_moved_is_brought_from_where_it_is_now(world: World) -> None:
    world.git.repositories[MOVED] = world.source
    moved(world)
    world.mirror.refs.pop("refs/tags/v1.0.0")
    report = world.compared()
    assert world.found(report) == {"v1.0.0": "missing_in_mirror"}
    (run,) = map(world.run, report.runs)
    assert (run.status, run.attempt, run.target.clone_url) == (Status.DONE, 2, MOVED)


def test_an_accepted_move_comes_from_where_the_repository_is_now(tmp_path: Path) -> None:
    moving = Moving(tmp_path)
    moving.released_then_moved()
    moving.world.git.repositories[MOVED] = moving.world.source
    moved(moving.world)
    asked = moving.world.take("v1.0.0", moving.new, clone_url=MOVED)
    assert asked.error == "version_moved"
    run = moving.accept().run_id
    moving.world.settle(run)
    assert (run, moving.run(run).status) == (asked.run_id, Status.DONE)
    assert moving.world.mirror.refs["refs/tags/v1.0.0"] == moving.new


NAMED = RULES[0]
AS_NAMED = Target(SOURCE, MIRROR)
BY_PAYLOAD_TEXT = (NAMED.modules, NAMED.mirror)
EARLY = {"early": "https://early.example/**", "other": "https://early.example/**"}
TWO = (
    Rule(NAMED.modules, "mirrors/early/{team}/{repo}", clone="https://early.example/{team}/{repo}.git", source="early"),
    Rule(*BY_PAYLOAD_TEXT, clone="https://early.example/{team}/{repo}.git", source="other"),
)


@pytest.mark.parametrize(
    ("rules", "target", "says"),
    [
        ((NAMED,), AS_NAMED, True),
        ((NAMED,), Target(OTHER, MIRROR), False),  # by an older configuration
        ((NAMED,), Target(SOURCE, "mirrors/other/place"), False),
        (BY_PAYLOAD, AS_NAMED, False),
        ((*BY_PAYLOAD, NAMED), AS_NAMED, False),  # the first rule that matches
        ((Rule(NAMED.modules, NAMED.mirror, clone="https://not.allowed/{team}/{repo}"),), AS_NAMED, False),
        ((), AS_NAMED, False),
        ((*TWO, NAMED), AS_NAMED, False),  # it names both, and so none
        ((*TWO[:1], NAMED), AS_NAMED, True),  # of another source, and for a mirror of its own
        ((Rule(*BY_PAYLOAD_TEXT, source="early"), NAMED), AS_NAMED, True),
        (
            (Rule(NAMED.modules, NAMED.mirror, clone="https://git.example/go", content="goproxy"),),
            Target("https://git.example/go/go.example/team/thing", MIRROR, content="goproxy"), True,
        ),
    ],
)  # fmt: skip
def test_what_the_configuration_itself_names(
    tmp_path: Path, rules: tuple[Rule, ...], target: Target, says: bool
) -> None:
    world = ReconcileWorld(tmp_path, rules=rules, before=EARLY)
    given = {name: getattr(target, name) for name in ("clone_url", "mirror", "content")}
    run = world.run(world.take(**given).run_id)
    run.event.update(repo_url=target.clone_url, module=MODULE)  # the payload named the very same
    assert world.planner.names_source(run) == says
