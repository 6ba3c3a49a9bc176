"""The search for mirrors that are not known, by schedule: once a day, and again when it is lost."""

from pathlib import Path

import pytest

from app.domain.errors import SyncError
from tests.integration.databases import wait_until
from tests.integration.fuses import CrashError
from tests.integration.reconcile_world import ReconcileWorld
from tests.integration.scheduled import Ends, Scheduled


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    return ReconcileWorld(tmp_path)


def test_mirrors_that_are_not_known_are_looked_for_once_a_day(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    for seconds in (0, 60, 1800, 1800):  # it waits: a long backfill is before it
        given.after(seconds)
        assert given.calls.searches == 1
    given.search(world.unknown()).run()
    given.after(3600 * 23)
    assert given.calls.searches == 1
    given.after(3600)
    assert given.calls.searches == 2


def test_a_search_that_was_lost_with_redis_or_killed_is_given_again_within_a_minute(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    given.calls.queued.clear()
    given.after(40)
    assert given.calls.searches == 2
    with pytest.raises(CrashError):
        given.search(Ends(CrashError("killed"))).run()
    given.after(30)
    assert given.calls.searches == 2
    given.after(10)
    assert given.calls.searches == 3


def test_a_search_that_is_at_work_is_left_alone(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)

    def works() -> None:
        for _ in range(5):
            world.clock.advance(30)
            now = world.clock.now()
            wait_until(lambda: (world.repositories.search_job() or (None,))[0] == now)  # noqa: B023
            given.schedule.once()
            assert given.calls.searches == 1

    with pytest.raises(CrashError):
        given.search(Ends(CrashError("killed"), works), beat=0.01).run()


@pytest.mark.parametrize("hangs", [True, False])
def test_an_interrupted_search_ends_well_and_is_handed_back(world: ReconcileWorld, hangs: bool) -> None:
    given = Scheduled(world)
    given.after(0)
    if hangs:
        job = given.search(Ends(CrashError("killed"), lambda: job.give_up()))
        with pytest.raises(CrashError):
            job.run()
    else:
        given.search(Ends(SyncError("interrupted", "the worker was asked to stop"))).run()
    given.after(5)
    assert given.calls.searches == 2


@pytest.mark.parametrize("error", [SyncError("gitlab_unreachable", "no route"), ValueError("a defect")])
def test_after_an_error_is_searched_again_later(world: ReconcileWorld, error: Exception) -> None:
    given = Scheduled(world)
    given.after(0)
    with pytest.raises(type(error)):
        given.search(Ends(error)).run()
    given.after(60)
    assert given.calls.searches == 1
    given.after(1800)
    assert given.calls.searches == 2


def test_a_search_that_is_killed_each_time_waits_as_after_an_error(world: ReconcileWorld) -> None:
    given = Scheduled(world)
    given.after(0)
    for count in range(1, 5):
        with pytest.raises(CrashError):
            given.search(Ends(CrashError("killed"))).run()
        given.after(40)
        assert given.calls.searches == count + 1
    with pytest.raises(CrashError):
        given.search(Ends(CrashError("killed"))).run()
    for _ in range(40):
        given.after(40)
    assert given.calls.searches == 5
    assert (world.repositories.search_job() or ("", ""))[1] == "internal"
    given.after(300)
    assert given.calls.searches == 6
