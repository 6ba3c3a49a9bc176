"""Released versions that would change are caught everywhere, and named with both commits and h1 values."""

import io
from pathlib import Path

import pytest

from app.domain.modules import ModulePath, Version
from app.domain.run import Status
from app.services.checksum import zip_sums
from app.services.ports import ProxyInfo
from tests.integration.flow_world import GO_MOD, MODULE, REGISTRY, SOURCE, zip_of
from tests.integration.moves_world import VERSION, Moving, h1


@pytest.fixture
def moving(tmp_path: Path) -> Moving:
    return Moving(tmp_path)


def test_a_move_is_caught_at_intake_with_both_commits_and_the_known_h1(moving: Moving) -> None:
    moving.released_then_moved()
    refused = moving.world.take(commit=moving.new)
    run = moving.run(refused.run_id)
    assert (refused.status, run.error) == (Status.REJECTED, "version_moved")
    assert run.error_message is not None
    never = f"h1 not known: it was never fetched; `modsync checksum {MODULE}@{VERSION} --repo {SOURCE}` prints it"
    for part in (f"{moving.old} ({h1(moving.old)})", f"{moving.new} ({never})"):
        assert part in run.error_message
    assert run.facts["conflict"] == {
        "old_commit": moving.old, "old_h1": h1(moving.old), "new_commit": moving.new, "new_h1": None,
    }  # fmt: skip


def test_a_move_that_an_event_without_commit_tells_is_caught_with_the_same(moving: Moving) -> None:
    """The worker finds the commit, and the version another's."""
    moving.released_then_moved()
    moving.world.clock.advance(1)
    refused = moving.world.take(commit="", ref=f"refs/tags/{VERSION}").run_id
    moving.world.settle(refused)
    run = moving.run(refused)
    assert (run.status, run.error) == (Status.REJECTED, "version_moved")
    assert f"`modsync checksum {MODULE}@{VERSION} --repo {SOURCE}`" in (run.error_message or "")
    assert run.facts["conflict"] == {
        "old_commit": moving.old, "old_h1": h1(moving.old), "new_commit": moving.new, "new_h1": None,
    }  # fmt: skip


def test_a_move_is_caught_at_fetch(moving: Moving) -> None:
    """The run was released at the old commit, which was seen there; the source has the tag elsewhere now."""
    moving.released_then_moved()
    moving.replayed()
    run = moving.run(moving.first)
    assert (run.status, run.error) == (Status.REJECTED, "version_moved")
    assert run.facts["conflict"] == {
        "old_commit": moving.old, "old_h1": h1(moving.old), "new_commit": moving.new, "new_h1": h1(moving.new),
    }  # fmt: skip
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == moving.old


@pytest.mark.parametrize("kept", [True, False], ids=["commit-at-the-source", "commit-gone"])
def test_a_move_is_caught_at_fetch_where_the_cache_saw_nothing_of_it(moving: Moving, kept: bool) -> None:
    """Another host's cache, or one that was built anew: what the version was is in the books."""
    moving.released_then_moved()
    moving.world.git.caches.clear()
    if not kept:
        del moving.world.source.commits[moving.old]
        moving.world.source.commits[moving.new] = (moving.world.source.commits[moving.new][0], None)
    moving.replayed()
    run = moving.run(moving.first)
    assert (run.status, run.error) == (Status.REJECTED, "version_moved")
    assert run.facts["conflict"] == {
        "old_commit": moving.old, "old_h1": h1(moving.old), "new_commit": moving.new, "new_h1": h1(moving.new),
    }  # fmt: skip


def test_a_move_is_caught_at_push_with_what_the_source_knows_of_the_other_commit(moving: Moving) -> None:
    """No tag names it and no cache has it, but it is in the source's history."""
    other = moving.world.source.commit({"other.go": b""}, branch="elsewhere")
    moving.world.source.commits[other] = ({"go.mod": GO_MOD}, None)
    moving.world.mirror.tag(VERSION, other)
    moving.world.settle(moving.first)
    run = moving.run(moving.first)
    assert (run.status, run.error) == (Status.REJECTED, "version_moved")
    assert run.facts["conflict"] == {
        "old_commit": other, "old_h1": h1(other), "new_commit": moving.old, "new_h1": h1(moving.old),
    }  # fmt: skip
    for part in (f"{other} ({h1(other)})", f"{moving.old} ({h1(moving.old)})"):
        assert part in (run.error_message or "")


def test_a_move_is_caught_at_push(moving: Moving) -> None:
    """The mirror has the version from somewhere else: nobody here knows that content."""
    other = moving.world.mirror.commit({"other.go": b""})
    moving.world.mirror.tag(VERSION, other)
    moving.world.settle(moving.first)
    run = moving.run(moving.first)
    assert (run.status, run.error) == (Status.REJECTED, "version_moved")
    assert run.facts["conflict"] == {
        "old_commit": other, "old_h1": None, "new_commit": moving.old, "new_h1": h1(moving.old),
    }  # fmt: skip
    assert f"{other} (h1 not known)" in (run.error_message or "")


class Registered:
    """A module whose source is a registry: v1.0.0 was released, then the registry served another zip."""

    def __init__(self, moving: Moving) -> None:
        self.moving, self.world = moving, moving.world
        self.url = f"{REGISTRY}/{MODULE}"
        first, _ = self._delivered({"thing.go": b"package thing\n"})
        assert self.world.run(first).status is Status.DONE, self.world.run(first)
        self.old = self.world.run(first).commit
        self.refused, self.new_h1 = self._delivered({"thing.go": b"package other\n"})

    def tagged(self) -> str | None:
        """The commit that the mirror's tag names."""
        at = self.world.mirror.at(f"refs/tags/{VERSION}")
        return at.commit if at else None

    def _delivered(self, files: dict[str, bytes]) -> tuple[str, str]:
        served = zip_of({"go.mod": GO_MOD, **files}, VERSION)
        self.world.registry.hold(MODULE, ProxyInfo(VERSION, "2026-11-01T00:00:00Z", None), GO_MOD, served)
        self.world.clock.advance(1)
        run = self.world.take(commit="", tags="make", clone_url=self.url, content="goproxy").run_id
        self.world.settle(run)
        return run, zip_sums(io.BytesIO(served), ModulePath.parse(MODULE), Version.parse(VERSION)).h1_zip


@pytest.fixture
def registered(tmp_path: Path) -> Registered:
    return Registered(Moving(tmp_path, begun=False))


def test_a_registrys_changed_zip_is_caught_with_both_commits_and_h1_values(registered: Registered) -> None:
    """The commit that modsync makes of the new zip is named, for accept-move wants it."""
    run = registered.world.run(registered.refused)
    assert (run.status, run.error, run.commit) == (Status.REJECTED, "version_moved", "")
    conflict = run.facts["conflict"]
    assert (conflict["old_commit"], conflict["old_h1"]) == (registered.old, h1(registered.old))
    assert conflict["new_h1"] == registered.new_h1
    for side in ("old", "new"):
        assert f"{conflict[f'{side}_commit']} ({conflict[f'{side}_h1']})" in (run.error_message or "")
    assert registered.tagged() == registered.old


def test_a_registrys_changed_zip_is_accepted_by_the_commit_that_the_rejection_names(registered: Registered) -> None:
    new = registered.world.run(registered.refused).facts["conflict"]["new_commit"]
    run_id = registered.moving.accept(new).run_id
    registered.world.settle(run_id)
    run = registered.world.run(run_id)
    assert (run.status, run.commit) == (Status.DONE, new)
    assert registered.tagged() == new
