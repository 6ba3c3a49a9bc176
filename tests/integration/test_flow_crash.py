"""A worker dies at each call it makes to git, HTTP, the database or the queue, in turn; the runs end the same.

Dead at a call is dead after the call before it: nothing of a dead worker gets through (Fuse), so one of the two is enough.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from app.adapters.access_store import SqlAuditStore
from app.adapters.database import reading
from app.adapters.tables import mirrors, runs
from app.domain.modules import ModulePath
from app.domain.run import Lane, Status
from app.services.ports import ProxyInfo
from tests.integration.flow_world import GO_MOD, LEASE, MIRROR, MODULE, REGISTRY, FlowWorld, zip_of
from tests.integration.fuses import CrashError, Fuse

Begin = Callable[[FlowWorld], None]


def plain(world: FlowWorld) -> None:
    world.take()


def second(world: FlowWorld) -> None:
    """The next release of a repository: its project and where its branch was left are remembered."""
    world.settle(world.take().run_id)
    commit = world.source.commit({"next.go": b""})
    world.source.tag("v1.1.0", commit)
    world.take("v1.1.0", commit)


def siblings(world: FlowWorld) -> None:
    """Three releases that share a fetch and a push."""
    world.take()
    for version in ("v1.1.0", "v1.2.0"):
        commit = world.source.commit({f"{version}.go": b""})
        world.source.tag(version, commit)
        world.take(version, commit)


def made_tag(world: FlowWorld) -> None:
    world.take("v1.1.0", tags="make")


def no_commit(world: FlowWorld) -> None:
    """The event named a tag and no commit."""
    world.take(commit="")


def branch(world: FlowWorld) -> None:
    """A branch whose commit carries three versions."""
    world.source.tag("v1.1.0", world.commit)
    world.source.tag("v1.2.0", world.commit, annotated=True)
    world.take(None, ref="main")


def registry(world: FlowWorld) -> None:
    """A registry's version becomes a commit."""
    zipped = zip_of({"go.mod": GO_MOD, "thing.go": b"package thing\n"}, "v1.0.0")
    world.registry.hold(MODULE, ProxyInfo("v1.0.0", "2026-11-01T00:00:00Z", None), GO_MOD, zipped)
    world.take(commit="", tags="make", clone_url=f"{REGISTRY}/{ModulePath.parse(MODULE).escaped}")


def static(world: FlowWorld) -> None:
    """modsync writes the proxy's files itself."""
    world.take(proxy="static")


def backfill(world: FlowWorld) -> None:
    """Old versions of which one pipeline may be in flight."""
    world.backfill_pipelines = 1
    for version in ("v0.1.0", "v0.2.0"):
        commit = world.source.commit({f"{version}.go": b""})
        world.source.tag(version, commit)
        world.take(version, commit, lane=Lane.BACKFILL)


# The calls between which each of them differs from those before.
FLOWS: dict[Begin, tuple[str, str]] = {
    plain: ("", ""), static: ("", ""), backfill: ("store.take_slot", "gitlab.create_pipeline"),
    **dict.fromkeys((second, siblings, made_tag, no_commit, branch, registry), ("", "gitlab.pipeline")),
}  # fmt: skip


@pytest.mark.parametrize("begin", FLOWS, ids=lambda begin: begin.__name__)
def test_the_end_is_the_same_wherever_a_worker_dies(tmp_path: Path, migrated_sqlite: Path, begin: Begin) -> None:
    calls = _through(tmp_path, migrated_sqlite, begin, Fuse())
    assert len(calls) > 12
    for number in _places(calls, *FLOWS[begin]):
        seen = _through(tmp_path, migrated_sqlite, begin, Fuse(at=number))
        assert len(seen) > number  # so it did die


def test_the_next_release_goes_by_what_is_remembered(tmp_path: Path, migrated_sqlite: Path) -> None:
    """So it is another flow: GitLab is asked for the project while the source is fetched, the mirror is not observed before."""
    first, later = (_through(tmp_path, migrated_sqlite, begin, Fuse()) for begin in (plain, second))
    assert "cache.reach" not in first
    assert later[later.index("cache.reach") :][:3] == ["cache.reach", "cache.fetch", "gitlab.find_project"]
    assert "gitlab.ensure_project" in first
    assert "gitlab.ensure_project" not in later
    assert [calls[: calls.index("cache.push")].count("git.remote_refs") for calls in (first, later)] == [1, 0]


def _places(calls: list[str], first: str, last: str) -> range:
    start = calls.index(first) if first else 0
    if not last:
        return range(start, len(calls))
    return range(start, (len(calls) - calls[::-1].index(last)) if first else calls.index(last))


def _through(root: Path, database: Path, begin: Begin, fuse: Fuse) -> list[str]:
    """All that it takes until every run has ended well; the outside calls of the workers."""
    directory = root / f"died at {fuse.at}"
    directory.mkdir()
    shutil.copyfile(database, directory / "flow.db")
    world = FlowWorld(directory)
    begin(world)
    while left := _not_ended(world):
        world.settle(*left, rounds=90, fuse=fuse)
    _check(world, f"died at {fuse.at}: {fuse.seen[fuse.at or 0]}")
    world.engine.dispose()
    shutil.rmtree(directory)
    return fuse.seen


def _not_ended(world: FlowWorld) -> list[str]:
    with reading(world.engine) as connection:
        return list(connection.execute(select(runs.c.id).where(runs.c.active)).scalars())


def _check(world: FlowWorld, where: str) -> None:
    with reading(world.engine) as connection:
        rows = connection.execute(select(runs)).all()
    assert {(row.status, row.error_message) for row in rows} == {(Status.DONE, None)}, where
    assert _lease(world) is None, where
    released = {f"refs/tags/{row.version}": row.commit for row in rows}
    at = {ref: seen.commit for ref in world.mirror.refs if (seen := world.mirror.at(ref))}
    head = at.pop("refs/heads/ci-sync", None)
    assert (at, head in at.values()) == (released, True), where
    assert len(world.gitlab.pipelines) == sum(row.target["proxy"] != "static" for row in rows), where
    pushes = [each.after for each in SqlAuditStore(world.engine).entries() if each.action == "push"]
    assert sorted(f"refs/tags/{each['tag']}" for each in pushes) == sorted(released), where
    for row in rows:
        assert row.facts["verify"]["h1"] == row.facts["proof"]["h1"], where


def test_a_mirror_whose_worker_died_is_free_when_its_lease_is_over(tmp_path: Path) -> None:
    """Nothing that a dead worker would still do gives it back."""
    world = FlowWorld(tmp_path)
    run = world.take().run_id
    fuse = Fuse()
    world.advance(run, fuse)
    died = fuse.seen.index("store.release_mirror")
    (tmp_path / "other").mkdir()
    other = FlowWorld(tmp_path / "other")
    run = other.take().run_id
    with pytest.raises(CrashError):
        other.advance(run, Fuse(at=died - 1))
    assert _lease(other) is not None
    other.clock.advance(LEASE + 0.1)
    other.settle(run)
    assert (other.run(run).status, _lease(other)) == (Status.DONE, None)


def _lease(world: FlowWorld) -> str | None:
    with reading(world.engine) as connection:
        return connection.execute(select(mirrors.c.lease_owner).where(mirrors.c.path == MIRROR)).scalar_one_or_none()


@pytest.mark.parametrize("after", [False, True])
def test_the_sweeper_brings_a_run_back_whose_worker_died(tmp_path: Path, after: bool) -> None:
    world = FlowWorld(tmp_path)
    run = world.take().run_id
    with pytest.raises(CrashError):
        world.advance(run, Fuse(at=6, after=after))
    world.sweep.once()
    assert world.queue.jobs == []  # the lease still holds
    world.clock.advance(LEASE + 0.1)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_an_interrupted_run_goes_on_before_all_that_wait(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    run = world.take().run_id
    with pytest.raises(CrashError):
        world.advance(run, Fuse(at=6))
    world.queue.jobs[:] = [("another-1-1", "another")]
    world.clock.advance(LEASE + 0.1)
    world.sweep.once()
    assert [each for _, each in world.queue.jobs] == [run, "another"]


def test_a_run_that_only_waited_goes_on_in_its_turn(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    run = world.take_to_pipeline()
    world.queue.jobs[:] = [("another-1-1", "another")]
    world.clock.advance(LEASE + 0.1)
    world.sweep.once()
    assert [each for _, each in world.queue.jobs] == ["another", run]


def test_a_run_that_kills_each_worker_is_an_error_that_is_retried_and_ends(tmp_path: Path) -> None:
    """Else it would be the first in the queue for ever, and nobody would be told."""
    world = FlowWorld(tmp_path)
    run = world.take().run_id
    for died in range(5):
        assert world.run(run).error is None, died
        with pytest.raises(CrashError):
            world.advance(run, Fuse(at=6))
        world.clock.advance(LEASE + 0.1)
        world.sweep.once()
    world.advance(run)
    waiting = world.run(run)
    assert (waiting.status, waiting.error) == (Status.MIRROR, "internal")
    assert "5 workers in a row died over it" in str(waiting.error_message)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_a_message_that_no_database_holds_ends_its_run_and_no_other(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    bad = world.source.commit({"go.mod": b"module go.example/\xfc\n"})
    world.source.tag("v1.1.0", bad)
    runs = world.take("v1.1.0", bad).run_id, world.take().run_id
    world.settle(*runs)
    assert [world.run(each).status for each in runs] == [Status.FAILED, Status.DONE]
    assert world.run(runs[0]).error == "module_mismatch"
    assert "\\udcfc" in str(world.run(runs[0]).error_message)
