"""Released versions that would change are caught everywhere, and named with both commits and h1 values."""

from pathlib import Path

import pytest

from app.domain.run import Status
from tests.integration.flow_world import GO_MOD, MODULE, SOURCE
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
