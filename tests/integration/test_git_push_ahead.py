"""A push that is begun while the source is fetched: nothing happens before its time, and it ends as `git push` would."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import psutil
import pytest

from app.adapters.git_copy import Copy
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate
from app.services.ports import Checkpoint
from tests.integration.git_world import MIRROR, SOURCE, World, credential, nothing, status
from tests.integration.test_git_door_safety import children, still_running

BRANCH, TAG = "refs/heads/ci-sync", "refs/tags/v1.0.1"
OPTIONS = ["ci.skip"]


class Ready:
    """A source with two releases, the first of which is in the mirror; `one` and `two` are their commits."""

    def __init__(self, root: Path) -> None:
        self.world, self.ready = World(root), True
        self.one, _ = self.world.release("v1.0.0")
        self.two, self.tag = self.world.release("v1.0.1", annotated=True)
        self.mirror = self.world.url(MIRROR)
        self.world.git(MIRROR, "config", "receive.advertisePushOptions", "true")
        with self.world.door().source(self.world.file_url(SOURCE), nothing) as copy:
            copy.fetch(["v1.0.0"], [])
            copy.push(self.world.file_url(MIRROR), [RefUpdate(BRANCH, self.one, None)], [], nothing)
        self.updates = [RefUpdate(BRANCH, self.two, self.one), RefUpdate(TAG, self.tag, None)]

    @contextmanager
    def reached(self, checkpoint: Checkpoint = nothing, mirror: str = "") -> Iterator[Copy]:
        """The source's copy with the second release, and the push begun."""
        door = self.world.door(lambda url: credential())
        with door.source(self.world.url(SOURCE), checkpoint) as copy:
            assert isinstance(copy, Copy)
            copy.reach(mirror or self.mirror, OPTIONS, lambda: self.ready)
            copy.fetch(["v1.0.1"], [])
            yield copy

    def asked(self) -> list[str]:
        """What the mirror was asked for."""
        return [path.rpartition(".git/")[2] for path, _ in self.world.front.seen if MIRROR in path]


def test_a_mirror_that_is_not_there_is_not_asked_for(ready: Ready) -> None:
    """GitLab would make it."""
    ready.ready = False
    with ready.reached() as copy:
        assert copy._ahead is not None
        assert copy._ahead._begun.wait(10)
        assert ready.asked() == []
        assert transports() == set()


def transports() -> set[psutil.Process]:
    """The git processes that talk to a remote side."""
    found = set()
    for child in children():
        with suppress(psutil.Error):  # it ends just now
            if "remote-http" in child.cmdline():
                found.add(child)
    return found


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Ready]:
    made = Ready(tmp_path)
    made.world.front.wants_token = (f"/{SOURCE}", f"/{MIRROR}")
    with made.world.server:
        yield made


def test_one_process_is_enough(ready: Ready) -> None:
    ready.world.hook(MIRROR, 'echo "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0" >options.txt')
    with ready.reached() as copy:
        copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.two, TAG: ready.tag}
    assert (ready.world.repositories.path(MIRROR) / "options.txt").read_text().strip() == "1 ci.skip"
    assert ready.asked() == ["info/refs", "git-receive-pack"]


def test_nothing_is_sent_before_the_push_and_no_process_is_left(ready: Ready) -> None:
    with ready.reached() as copy:
        ahead = copy._ahead
        assert ahead is not None
        assert ahead._begun.wait(30)
        seen = transports()
    assert len(seen) >= 1
    assert still_running(seen) == []
    assert ready.asked() == ["info/refs"]
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one}


def test_the_branch_may_go_back_under_its_lease(ready: Ready) -> None:
    for at, before in ((ready.two, ready.one), (ready.one, ready.two)):
        with ready.reached() as copy:
            copy.push(ready.mirror, [RefUpdate(BRANCH, at, before)], OPTIONS, nothing)
        assert ready.world.refs(MIRROR) == {BRANCH: at}


def test_what_is_there_already_is_no_conflict(ready: Ready) -> None:
    for _ in range(2):
        with ready.reached() as copy:
            copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.two, TAG: ready.tag}
    assert ready.asked() == ["info/refs", "git-receive-pack", "info/refs"]


def test_a_lease_that_does_not_hold_when_the_refs_are_read(ready: Ready) -> None:
    ready.world.git(MIRROR, "update-ref", "-d", BRANCH)
    with ready.reached() as copy:
        with pytest.raises(SyncError, match=r"mirror_moved: .*ci-sync.*stale info"):
            copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
        assert ready.world.refs(MIRROR) == {}
        copy.push(ready.mirror, [RefUpdate(BRANCH, ready.two, None)], OPTIONS, nothing)  # planned anew
    assert ready.world.refs(MIRROR) == {BRANCH: ready.two}


def test_somebody_is_faster_after_the_refs_were_read(ready: Ready) -> None:
    with ready.reached() as copy:
        assert copy._ahead is not None
        assert copy._ahead._begun.wait(30)
        ready.world.git(MIRROR, "update-ref", "refs/tags/v1.0.1", ready.one)
        with pytest.raises(SyncError, match="mirror_moved"):
            copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one, TAG: ready.one}  # whole, or not at all


def test_a_hook_refuses(ready: Ready) -> None:
    ready.world.hook(MIRROR, "for n in $(seq 3000); do echo GitLab: no, and here is a long text why >&2; done; exit 1")
    with ready.reached() as copy, pytest.raises(SyncError, match=r"push_refused: .*GitLab: no.*hook declined"):
        copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one}


def test_a_mirror_that_takes_no_push_options(ready: Ready) -> None:
    ready.world.git(MIRROR, "config", "receive.advertisePushOptions", "false")
    with ready.reached() as copy:
        copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.two, TAG: ready.tag}


@pytest.mark.parametrize(
    ("answer", "code"),
    [("404 Not Found", "project_missing"), ("403 Forbidden", "forbidden"), ("502 Bad Gateway", "gitlab_unavailable")],
)
def test_a_mirror_that_cannot_be_reached(ready: Ready, answer: str, code: str) -> None:
    ready.world.front.answers = {f"/{MIRROR}": status(answer)}
    with ready.reached() as copy:
        with pytest.raises(SyncError, match=code):
            copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
        assert ready.asked() == ["info/refs"]  # it is not asked again to find that out
        ready.world.front.answers = {}
        copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.two, TAG: ready.tag}


def test_a_mirror_that_dies_in_the_middle(ready: Ready) -> None:
    ready.world.front.answers = {f"/{MIRROR}.git/git-receive-pack": status("502 Bad Gateway")}
    with ready.reached() as copy, pytest.raises(SyncError, match="gitlab_unavailable"):
        copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one}


def test_a_lost_lease_ends_a_push_that_hangs(ready: Ready) -> None:
    runs = ready.world.root / "hook-runs"
    ready.world.hook(MIRROR, f"touch {runs}; mkfifo {ready.world.root}/hang; exec cat {ready.world.root}/hang")
    seen: set[psutil.Process] = set()

    def lost() -> None:
        if runs.exists():
            seen.update(transports())
            raise SyncError("overtaken", "another worker has this run")

    with ready.reached(lost) as copy:
        with pytest.raises(SyncError, match="overtaken"):
            copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
        assert len(seen) >= 1
        assert still_running(seen) == []
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one}


def test_the_fence_is_asked_when_the_mirror_has_answered(ready: Ready) -> None:
    """However long that took: a run that was cancelled meanwhile pushes nothing."""
    pushing, go_on, had_answered = threading.Event(), threading.Event(), list[bool]()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert go_on.wait(30)
        ready.world.front.answers = {}
        return ready.world.front(environ, start_response)

    def waits() -> None:
        if pushing.is_set():
            go_on.set()

    ready.world.front.answers = {f"/{MIRROR}.git/info/refs": slow}
    with ready.reached(waits) as copy:
        ahead = copy._ahead
        assert ahead is not None

        def fence() -> None:
            had_answered.append(ahead._begun.is_set())
            raise SyncError("overtaken", "somebody cancelled this run")

        pushing.set()
        with pytest.raises(SyncError, match="overtaken"):
            copy.push(ready.mirror, ready.updates, OPTIONS, fence)
    assert had_answered == [True]
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one}


def test_another_push_than_was_announced(ready: Ready) -> None:
    with ready.reached(mirror=ready.world.url("mirror/other")) as copy:
        copy.push(ready.mirror, ready.updates, OPTIONS, nothing)
    assert ready.world.refs(MIRROR) == {BRANCH: ready.two, TAG: ready.tag}


def test_a_source_that_is_away_leaves_nothing(ready: Ready) -> None:
    ready.world.front.answers = {f"/{SOURCE}": status("503 Service Unavailable")}
    with pytest.raises(SyncError, match="source_unreachable"), ready.reached():
        pass  # pragma: no cover - the source is away
    assert ready.world.refs(MIRROR) == {BRANCH: ready.one}
    assert still_running(transports()) == []
