"""Releases that come at once are mirrored by one fetch and one push, although several workers take their jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from app.adapters.flow_store import SqlFlowStore
from app.domain.run import Status
from app.services.turn import TurnOptions
from tests.integration.flow_world import LEASE, FlowWorld
from tests.integration.fuses import Fuse

SECONDS = 20.0


class Meeting(Fuse):
    """The second worker has claimed its run and is held up before it asks for the mirror, until the first looks for others."""

    def __init__(self, *, first: bool, claimed: threading.Event, looked: threading.Event) -> None:
        super().__init__()
        self._first, self._claimed, self._looked = first, claimed, looked

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        if name == "store.lease_mirror":
            if self._first:
                assert self._claimed.wait(SECONDS)
            else:
                self._claimed.set()
                assert self._looked.wait(SECONDS)
        with super().around(name):
            yield
        if self._first and name == "store.claim_siblings":
            self._looked.set()


def test_a_run_that_another_worker_has_just_taken_comes_along(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    runs = [world.take().run_id]
    for number in range(1, 6):
        commit = world.source.commit({f"{number}.go": b""})
        world.source.tag(f"v1.0.{number}", commit)
        runs.append(world.take(f"v1.0.{number}", commit).run_id)
    claimed, looked = threading.Event(), threading.Event()
    second = threading.Thread(
        target=world.advance, args=(runs[1], Meeting(first=False, claimed=claimed, looked=looked)), daemon=True
    )

    def wait(seconds: float) -> None:
        """Until the other run is given back, however busy this machine is."""
        second.join(max(seconds, SECONDS))

    world.clock.wait = wait  # type: ignore[method-assign]
    second.start()
    world.advance(runs[0], Meeting(first=True, claimed=claimed, looked=looked))
    second.join(SECONDS)
    assert not second.is_alive()
    assert world.git.calls.count("fetch") == world.git.calls.count("push") == 1
    assert world.mirror.refs.keys() == {"refs/heads/ci-sync", *(f"refs/tags/v1.0.{number}" for number in range(6))}
    world.settle(*runs)
    assert {world.run(run).status for run in runs} == {Status.DONE}
    assert len(world.gitlab.pipelines) == 6
    assert world.git.calls.count("push") == 1


def test_a_run_that_is_not_given_back_is_waited_for_a_moment_by_the_clock(tmp_path: Path) -> None:
    world = FlowWorld(tmp_path)
    runs = [world.take(f"v1.0.{number}", world.commit).run_id for number in range(3)]
    world.source.tag("v1.0.1", world.commit)
    began = world.clock.now()
    assert SqlFlowStore(world.engine).claim(runs[2], "another worker", began, LEASE)
    world.advance(runs[0])
    options = TurnOptions()
    assert world.clock.waits == [options.look_seconds] * options.looks
    assert world.clock.now() - began == timedelta(seconds=sum(world.clock.waits))
    assert world.mirror.refs.keys() == {"refs/heads/ci-sync", "refs/tags/v1.0.0", "refs/tags/v1.0.1"}
