"""A repository's root tag v2 and above without go.mod, told by an event that names no module: Go calls it +incompatible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.database import reading
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.ops_store import SqlReplayStore
from app.adapters.tables import releases
from app.domain.modules import ModulePath, Version
from app.domain.run import Lane, Run, Stage, Status, semantic_key
from app.services.replay import Replay
from app.services.stores import NewDelivery, PlannedRun, ReplayOrder
from tests.integration.flow_world import MODULE, FakeClock, FakeQueue, FlowWorld
from tests.integration.fuses import CrashError, Fuse
from tests.integration.stored import A, Stored
from tests.integration.test_platform_events import MODULE as LOG
from tests.integration.test_platform_events import RULE, Platform, only

GUESSED, VERSION = f"{MODULE}/v2", "v2.0.0"
TRUE = (MODULE, "v2.0.0+incompatible")
OLD = ModulePath.parse(LOG), Version.parse("v2.0.0+incompatible")


class Old:
    """A world whose repository has no go.mod and the tag v2.0.0."""

    def __init__(self, directory: Path) -> None:
        self.world = FlowWorld(directory)
        self.commit = self.world.source.commit({"go.mod": b"", "log.go": b"package log\n"})
        del self.world.source.commits[self.commit][0]["go.mod"]
        self.world.source.tag(VERSION, self.commit)
        self._made = 0

    def take(
        self, module: str = GUESSED, version: str = VERSION, *, lane: str = Lane.LIVE, named: str | None = None
    ) -> str:
        """The run of a delivery whose event names this module."""
        self._made += 1
        plan = self.world.planned(version, self.commit, VERSION, lane=lane)
        key = semantic_key(module, version, VERSION, self.commit)
        return self._recorded(replace(plan, module=module, semantic=key, event={"module": named}))

    def _recorded(self, plan: PlannedRun) -> str:
        delivery = NewDelivery(
            id=f"d{self._made:019d}", source="platform", dedupe=f"{self._made}", scheme="github", secret_id="x",
            received_at=self.world.clock.now(), headers={}, body=b"{}", verdict="accepted",
        )  # fmt: skip
        return SqlIntakeStore(self.world.engine).record(delivery, [plan])[2][0].run_id

    def until_pushed(self, run: str, fuse: Fuse | None = None) -> Run:
        for each in (fuse, None, None):
            if self.run(run).stage is Stage.MIRROR:
                self.world.advance(run, each)
        return self.run(run)

    def run(self, run: str) -> Run:
        return self.world.run(run)

    def held(self) -> Mapping[tuple[str, str], str]:
        with reading(self.world.engine) as connection:
            return {(row.module, row.version): row.run_id for row in connection.execute(releases.select())}


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_it_goes_on_under_the_name_that_go_has_for_it(old: Old) -> None:
    run = old.take()
    assert old.held() == {(GUESSED, VERSION): run}
    old.world.advance(run)
    between = old.run(run)
    assert ((between.module, between.version), between.stage, between.error) == (TRUE, Stage.MIRROR, None)
    assert between.status in (Status.QUEUED, Status.MIRROR)
    pushed = old.until_pushed(run)
    assert ((pushed.module, pushed.version), pushed.stage, pushed.commit) == (TRUE, Stage.PIPELINE, old.commit)
    assert old.world.mirror.refs["refs/tags/v2.0.0"] == old.commit
    assert old.held() == {TRUE: run}


def test_the_end_is_the_same_wherever_the_worker_dies(tmp_path: Path) -> None:
    whole = Fuse()
    first = Old(tmp_path / "first")
    first.world.advance(first.take(), whole)
    calls = [(at, after) for at in range(len(whole.seen)) for after in (False, True)]
    assert "store.take_name" in whole.seen
    for at, after in calls:
        each = Old(tmp_path / f"{at}-{after}")
        run = each.take()
        with pytest.raises(CrashError):
            each.world.advance(run, Fuse(at, after=after))
        each.world.clock.advance(60)
        assert (each.until_pushed(run).stage, each.held()) == (Stage.PIPELINE, {TRUE: run}), whole.seen[at]


def test_a_module_that_the_platform_names_is_taken_at_its_word(old: Old) -> None:
    run = old.take(named=GUESSED)
    old.world.advance(run)
    assert (old.run(run).module, old.run(run).status, old.run(run).error) == (GUESSED, Status.FAILED, "go_mod_missing")


def test_what_reconcile_guesses_is_no_word_of_the_platform(old: Old) -> None:
    run = old.take(lane=Lane.BACKFILL, named=GUESSED)
    assert (old.until_pushed(run).module, old.run(run).version) == TRUE


def test_below_the_root_there_is_no_such_version(old: Old) -> None:
    plan = old.world.planned(VERSION, old.commit, f"sdk/{VERSION}", subdir="sdk")
    old.world.source.tag(f"sdk/{VERSION}", old.commit)
    module = f"{MODULE}/sdk/v2"
    run = old._recorded(replace(plan, module=module, semantic=semantic_key(module, VERSION, plan.ref, old.commit)))
    old.world.advance(run)
    assert (old.run(run).module, old.run(run).error) == (module, "go_mod_missing")


def test_two_events_of_one_release_make_it_once(old: Old) -> None:
    first = old.take()
    second = old.take(*TRUE)
    assert first != second
    old.until_pushed(second)
    old.world.advance(first)
    assert (old.run(first).status, old.run(first).error) == (Status.REJECTED, "duplicate_release")
    assert second in (old.run(first).error_message or "")
    assert old.held()[TRUE] == second


# --- on both databases ------------------------------------------------------------------------------------------------


def test_the_name_is_written_by_whoever_holds_the_run(stored: Stored) -> None:
    github = Platform(stored.engine, "github")
    run = only(github.pushed("v2.0.0"))
    assert (stored.run(run).module, stored.run(run).version) == (f"{LOG}/v2", "v2.0.0")
    claim = stored.claim(run)
    assert stored.flow.take_name(claim, *OLD, stored.now) is None
    after = stored.run(run)
    assert (after.path, after.released, after.commit) == (*OLD, A)
    with reading(stored.engine) as connection:
        rows = connection.execute(releases.select()).all()
    assert [(row.module, row.version, row.run_id, row.commit) for row in rows] == [(LOG, str(OLD[1]), run, A)]


def test_a_replay_keeps_the_name(stored: Stored) -> None:
    github = Platform(stored.engine, "github")
    run = only(github.pushed("v2.0.0"))
    stored.flow.take_name(stored.claim(run), *OLD, stored.now)
    stored.later(60)
    stored.fail(run)
    replay = Replay(SqlReplayStore(stored.engine), FakeQueue(), FakeClock(), github.planner.today)
    replay.replay(run, ReplayOrder("cli:me", "again"))
    assert (stored.run(run).path, stored.run(run).released, stored.run(run).status) == (*OLD, Status.QUEUED)
    assert stored.run(run).target.rule == RULE.modules
