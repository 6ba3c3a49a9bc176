"""Released versions that would change: moved only by accept-move."""

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import update

from app.adapters.access_store import SqlAuditStore
from app.adapters.tables import releases, runs
from app.domain.audit import verify
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.run import Stage, Status
from app.services.moves import MoveOrder
from app.services.ports import Checkpoint, ProxyInfo
from app.services.stages.publish import Packed
from app.services.stages.verify import VerifyRequest
from app.services.stores import ReplayOrder
from tests.integration import flow_world
from tests.integration.flow_world import GO_MOD, MIRROR, MODULE
from tests.integration.fuses import CrashError, Fuse
from tests.integration.moves_world import VERSION, Moving, h1


@pytest.fixture
def moving(tmp_path: Path) -> Moving:
    return Moving(tmp_path)


def test_an_accepted_move_ends_done_where_the_proxy_fetches_anew(moving: Moving) -> None:
    moving.released_then_moved()
    rejected = moving.world.take(commit=moving.new).run_id
    receipt = moving.accept()
    assert receipt.run_id == rejected  # a new attempt of the run that was rejected
    moving.world.settle(rejected)

    done = moving.run(rejected)
    assert (done.status, done.attempt) == (Status.DONE, 2)
    assert moving.world.mirror.refs == {"refs/heads/ci-sync": moving.new, f"refs/tags/{VERSION}": moving.new}
    assert moving.world.gitlab.calls.count("remove_tag") == 1
    assert moving.run(moving.first).status is Status.DONE  # what was true then stays true


def test_a_proxy_that_keeps_the_old_content_is_told_with_the_steps_to_purge_it(moving: Moving) -> None:
    moving.world.proxy_keeps = True
    moving.released_then_moved()
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    run = moving.run(run_id)
    assert (run.status, run.error) == (Status.FAILED, "proxy_holds_old")
    assert run.error_message is not None
    for part in (moving.old, moving.new, h1(moving.old), h1(moving.new), "from the proxy's storage"):
        assert part in run.error_message

    moving.world.proxy.held.clear()
    moving.world.cache(VERSION)
    moving.world.replays.replay(run_id, ReplayOrder("cli:me", "purged"), None, moving.world.clock.now())
    moving.world.settle(run_id)
    assert moving.run(run_id).status is Status.DONE


@pytest.mark.parametrize("names_commit", [True, False], ids=["athens", "artifactory"])
def test_an_accepted_move_after_the_catch_at_fetch_ends_proxy_holds_old(moving: Moving, names_commit: bool) -> None:
    """The replay forgot what it had proved; a proxy that names no commit is known by the content alone."""
    moving.world.proxy_keeps = True
    moving.released_then_moved()
    moving.replayed()
    held = moving.world.proxy.held[MODULE, VERSION]
    held.info = replace(held.info, commit=moving.old if names_commit else None)
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    run = moving.run(run_id)
    assert (run.status, run.error) == (Status.FAILED, "proxy_holds_old")
    assert (run.facts["moved"]["old_commit"], run.facts["moved"]["old_h1"]) == (moving.old, h1(moving.old))
    for part in (moving.old, moving.new, h1(moving.old), h1(moving.new), "from the proxy's storage"):
        assert part in (run.error_message or "")


def test_a_proxy_that_was_never_purged_holds_what_was_before_two_moves(moving: Moving) -> None:
    moving.world.proxy_keeps = True
    moving.released_then_moved()
    moving.world.settle(moving.accept().run_id)
    second = moving.new
    moving.move()
    moving.world.proxy.held[MODULE, VERSION].info = ProxyInfo(VERSION, None, None)
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    run = moving.run(run_id)
    assert (run.status, run.error) == (Status.FAILED, "proxy_holds_old")
    assert f"{moving.old} ({h1(moving.old)})" in (run.error_message or "")
    assert run.replaces == ((second, h1(second)), (moving.old, h1(moving.old)))


def test_a_move_that_never_reached_the_mirror_does_not_bar_the_next(moving: Moving) -> None:
    """The second commit broke a rule of modules; the mirror still has the first one's tag."""
    moving.released_then_moved()
    bad = moving.world.source.commit({"go.mod": b"module go.example/other\n"})
    moving.world.source.tag(VERSION, bad)
    run_id = moving.accept(bad).run_id
    moving.world.settle(run_id)
    assert moving.run(run_id).error == "module_mismatch"
    moving.new = moving.world.source.commit({"go.mod": GO_MOD})
    moving.world.source.tag(VERSION, moving.new)
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    assert moving.run(run_id).status is Status.DONE
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == moving.new


def test_after_a_move_that_never_reached_the_mirror_another_commit_needs_an_order_too(moving: Moving) -> None:
    """The release is nobody's to take: the mirror may have the old tag still, or none any more."""
    moving.released_then_moved()
    bad = moving.world.source.commit({"go.mod": b"module go.example/other\n"})
    moving.world.source.tag(VERSION, bad)
    moving.world.settle(moving.accept(bad).run_id)
    moving.new = moving.world.source.commit({"go.mod": GO_MOD})
    moving.world.source.tag(VERSION, moving.new)
    told = moving.world.take(commit=moving.new)
    assert (told.status, told.error) == (Status.REJECTED, "version_moved")
    message = moving.run(told.run_id).error_message or ""
    assert f"was given by accept-move to {bad}" in message
    assert moving.accept().run_id == told.run_id
    moving.world.settle(told.run_id)
    assert moving.run(told.run_id).status is Status.DONE
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == moving.new


def test_a_tag_in_the_mirror_that_nobody_knows_of_is_replaced_by_an_order(moving: Moving) -> None:
    """Found at the push: the version is the run's own, and its commit is not what the mirror has."""
    foreign = moving.world.source.commit({"foreign.go": b""})
    moving.world.mirror.refs[f"refs/tags/{VERSION}"] = foreign
    moving.world.settle(moving.first)
    refused = moving.run(moving.first)
    assert (refused.status, refused.error) == (Status.REJECTED, "version_moved")
    moving.new = refused.commit
    assert moving.accept().run_id == moving.first
    moving.world.settle(moving.first)
    run = moving.run(moving.first)
    assert (run.status, run.facts["moved"]["old_commit"]) == (Status.DONE, foreign)
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == refused.commit


def test_an_adopted_version_moves_once_a_run_wanted_it(moving: Moving) -> None:
    """It was there before modsync: no run holds it."""
    release = moving.world.planned()
    moving.world.settle(moving.first)
    with moving.world.engine.begin() as connection:
        connection.execute(update(releases).values(run_id=""))
        connection.execute(update(runs).values(version="v0.9.0"))  # as if no run had ever brought v1.0.0
    moving.move()
    with pytest.raises(SyncError, match="no run ever wanted it"):
        moving.accept()
    rejected = moving.world.take(commit=moving.new)
    assert (rejected.status, rejected.error) == (Status.REJECTED, "version_moved")
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    run = moving.run(run_id)
    assert (run_id, run.status) == (rejected.run_id, Status.DONE)
    assert run.facts["moved"] == {
        "old_commit": release.commit, "old_h1": None, "old_run": "", "earlier": [], "actor": "cli:me",
        "reason": "wrong branch",
    }  # fmt: skip


def test_who_why_old_and_new_are_recorded_before_anything_is_forced(moving: Moving) -> None:
    moving.released_then_moved()
    run_id = moving.accept(reason="INC-4711").run_id
    assert "remove_tag" not in moving.world.gitlab.calls
    audit = SqlAuditStore(moving.world.engine)
    entry = audit.newest(1)[0]
    assert (entry.actor, entry.action, entry.reason) == ("cli:me", "release.move", "INC-4711")
    assert entry.object == f"release:{MODULE}@{VERSION}"
    assert entry.before == {"commit": moving.old, "h1": h1(moving.old), "run": moving.first}
    assert entry.after == {"commit": moving.new, "run": run_id}
    assert verify(audit.entries())[2] is None
    assert moving.run(run_id).facts["moved"]["old_commit"] == moving.old


def test_the_old_run_cannot_come_back(moving: Moving) -> None:
    moving.released_then_moved()
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    with pytest.raises(SyncError) as caught:
        moving.world.replays.replay(
            moving.first, ReplayOrder("cli:me", "", Stage.MIRROR, force=True), None, moving.world.clock.now()
        )
    assert caught.value.code == "not_replayable"
    assert moving.world.take(commit="a" * 40).status is Status.REJECTED


def test_a_run_in_flight_loses_the_version_and_its_worker_is_fenced_off(moving: Moving) -> None:
    class AcceptMeanwhile(Fuse):
        def around(self, name: str):  # type: ignore[no-untyped-def]
            if name == "cache.push":
                moving.move()
                moving.run_id = moving.accept().run_id  # type: ignore[attr-defined]
            return super().around(name)

    moving.world.flow(AcceptMeanwhile()).advance(moving.first)
    old = moving.run(moving.first)
    assert (old.status, old.error) == (Status.REJECTED, "superseded")
    new_id: str = moving.run_id  # type: ignore[attr-defined]
    moving.world.settle(new_id)
    # What the old worker had pushed in that moment is what the move replaces.
    assert moving.run(new_id).status is Status.DONE
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == moving.new


def test_who_is_overtaken_while_it_packs_puts_no_old_content_over_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The static proxy's directory is shared by all hosts."""
    moving = Moving(tmp_path, begun=False)
    world, real, begun = moving.world, flow_world._pack, list[str]()
    first = world.take(proxy="static").run_id

    def pack(request: VerifyRequest, target: BinaryIO, checkpoint: Checkpoint) -> Packed:
        if not begun:
            begun.append(first)
            moving.move()
            begun.append(moving.accept().run_id)
            world.settle(begun[1])
        return real(request, target, lambda: None)  # as the real one, which asks nobody meanwhile

    monkeypatch.setattr(flow_world, "_pack", pack)
    world.settle(first)
    assert [world.run(each).status for each in begun] == [Status.REJECTED, Status.DONE]
    module, version = ModulePath.parse(flow_world.MODULE), Version.parse("v1.0.0")
    assert world.files.info(module, version).commit == moving.new
    with world.files.zip(module, version) as file:
        assert file.read() == moving.new.encode()


def test_the_move_waits_for_whoever_holds_the_mirror(moving: Moving) -> None:
    moving.released_then_moved()
    store = moving.world.flow()._store
    assert store.lease_mirror(MIRROR, "somebody", moving.world.clock.now(), 10) is not None  # type: ignore[attr-defined]
    run_id = moving.accept().run_id
    moving.world.work()
    assert "remove_tag" not in moving.world.gitlab.calls
    moving.world.clock.advance(11)
    moving.world.settle(run_id)
    assert moving.run(run_id).status is Status.DONE


@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_dies_anywhere_in_a_move_leaves_one_that_ends_well(tmp_path: Path, after: bool) -> None:
    calls = 40
    number = 0
    while number < calls:
        directory = tmp_path / f"{number}"
        directory.mkdir()
        moving = Moving(directory)
        moving.released_then_moved()
        run_id = moving.accept().run_id
        fuse = Fuse(number, after)
        try:
            moving.world.advance(run_id, fuse)
        except CrashError:
            moving.world.clock.advance(11)
        calls = min(calls, len(fuse.seen) if len(fuse.seen) <= number else calls)
        moving.world.settle(run_id)
        assert moving.run(run_id).status is Status.DONE, fuse.seen
        assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == moving.new
        told = [each for each in SqlAuditStore(moving.world.engine).entries() if each.actor == f"run:{run_id}"]
        assert [each.action for each in told] == ["tag.remove", "push"], fuse.seen
        assert told[0].before == {"tag": VERSION, "object": moving.old, "commit": moving.old}
        assert (told[0].reason, told[1].after["object"]) == ("wrong branch", moving.new)
        number += 1
    assert "gitlab.remove_tag" in fuse.seen


def test_a_tag_that_is_a_third_commits_is_left_alone(moving: Moving) -> None:
    moving.released_then_moved()
    third = moving.world.mirror.commit({"third.go": b""})
    moving.world.mirror.tag(VERSION, third)
    run_id = moving.accept().run_id
    moving.world.settle(run_id)
    assert (moving.run(run_id).status, moving.run(run_id).error) == (Status.REJECTED, "version_moved")
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == third


def test_a_commit_that_the_sources_tag_is_not_at_is_not_moved_to(moving: Moving) -> None:
    moving.released_then_moved()
    elsewhere = moving.world.source.commit({"elsewhere.go": b""})
    run_id = moving.accept(elsewhere).run_id
    moving.world.settle(run_id)
    assert moving.run(run_id).error == "commit_mismatch"
    assert moving.world.mirror.refs[f"refs/tags/{VERSION}"] == moving.old


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"version": "v1.9.9"}, "not_found", None),
        ({"version": "1.0"}, "bad_request", "version"),
        ({"module": "no dots"}, "bad_request", "module"),
        ({"commit": "abc1234"}, "bad_request", "commit"),
        ({"commit": "OLD"}, "bad_request", "commit"),
        ({"reason": "  "}, "bad_request", "reason"),
        ({"reason": "x" * 501}, "bad_request", "reason"),
    ],
)
def test_bad_orders(moving: Moving, change: dict[str, str], code: str, field: str | None) -> None:
    moving.released_then_moved()
    given = {"module": MODULE, "version": VERSION, "commit": moving.new, "actor": "cli:me", "reason": "why"} | change
    given["commit"] = given["commit"].replace("OLD", moving.old)
    with pytest.raises(SyncError) as caught:
        moving.moves.accept(MoveOrder.parse(**given))
    assert (caught.value.code, caught.value.field) == (code, field)
    assert moving.run(moving.first).status is Status.DONE


def test_the_same_order_twice_begins_one_run(moving: Moving) -> None:
    moving.released_then_moved()
    moving.accept()
    with pytest.raises(SyncError) as caught:
        moving.accept()
    assert (caught.value.code, caught.value.field) == ("bad_request", "commit")
