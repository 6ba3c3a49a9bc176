"""Only so many pipelines of backfills at a time: who waits holds no worker, live releases do not wait, crashes leak nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from app.adapters.database import writing
from app.adapters.flow_store import SqlFlowStore
from app.adapters.pipeline_slots import WAITS, SqlSlotStore
from app.adapters.tables import runs
from app.domain.run import Lane, Stage, Status
from app.services.slots import Slots
from tests.integration.flow_world import FlowWorld
from tests.integration.fuses import CrashError, Fuse

LIMIT = 3


class FuseAt(Fuse):
    """Blows at the first call of this name."""

    def __init__(self, name: str, after: bool) -> None:
        super().__init__(after=after)
        self._name = name

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        self.at = len(self.seen) if name == self._name and self.at is None else self.at
        with super().around(name):
            yield


class Backfill:
    """A world with `LIMIT`, and runs v0.0.0, v0.1.0 ... of a backfill, oldest first."""

    def __init__(self, root: Path, url: str) -> None:
        self.world = FlowWorld(root, url)
        self.world.backfill_pipelines = LIMIT
        self.slots = Slots(SqlSlotStore(self.world.engine), self.world.clock, LIMIT)

    def take(self, count: int, lane: Lane = Lane.BACKFILL, name: str = "v0") -> list[str]:
        found = []
        for number in range(count):
            version = f"{name}.{number}.0"
            commit = self.world.source.commit({f"{version}.go": b""})
            self.world.source.tag(version, commit)
            found.append(self.world.take(version, commit, lane=lane).run_id)
        return found

    def stored(self, count: int, mirror: str = "mirrors/team/thing") -> list[str]:
        """Runs that came to the pipeline stage, without all that was before it."""
        found = [self.world.take(f"v0.{self._number()}.0", "a" * 40, lane=Lane.BACKFILL, mirror=mirror).run_id
                 for _ in range(count)]  # fmt: skip
        self.change(found, stage=Stage.PIPELINE, status=Status.PIPELINE)
        return found

    def change(self, which: list[str], **values: object) -> None:
        with writing(self.world.engine) as connection:
            connection.execute(update(runs).where(runs.c.id.in_(which)).values(values))

    def work(self) -> None:
        """One look of the sweeper, and its jobs."""
        self.slots.once()
        self.world.sweep.once()
        self.world.work()
        self.world.show_refs()
        self.world.clock.advance(1)

    def until_full(self) -> None:
        """Until as many pipelines are in flight as may be, and all others wait."""
        for _ in range(30):
            self.work()
            if len(self.in_flight()) == LIMIT and not self.world.queue.jobs:
                return
        raise AssertionError(self.in_flight())

    def in_flight(self) -> list[int]:
        return [number for number, made in self.world.gitlab.pipelines.items() if made.now.status == "created"]

    def waiting(self, which: list[str]) -> list[str]:
        return [each for each in which if self.world.run(each).error == WAITS]

    def finish(self, number: int) -> None:
        self.world.cache(self.world.gitlab.pipelines[number].variables["MODSYNC_VERSION"])
        self.world.gitlab.finish(number, "success")

    def to_the_end(self, which: list[str]) -> None:
        for _ in range(300):
            if all(self.world.run(each).status is Status.DONE for each in which):
                return
            self.work()
            assert len(self.in_flight()) <= LIMIT
            for number in self.in_flight()[:1]:
                self.finish(number)
        raise AssertionError([self.world.run(each) for each in which])

    def _number(self) -> int:
        self.made = getattr(self, "made", -1) + 1
        return self.made


@pytest.fixture
def backfill(tmp_path: Path, database_url: str) -> Backfill:
    return Backfill(tmp_path, database_url)


def test_all_versions_come_through_and_never_more_pipelines_than_the_limit_at_once(backfill: Backfill) -> None:
    taken = backfill.take(9)
    backfill.until_full()
    assert len(backfill.waiting(taken)) == 9 - LIMIT
    waits = backfill.world.run(backfill.waiting(taken)[-1])
    assert (waits.status, waits.lease_owner, waits.stage_since, waits.tries) == (Status.PIPELINE, None, None, 0)
    backfill.world.sweep.once()
    assert not {run for _, run in backfill.world.queue.jobs} & set(backfill.waiting(taken))

    backfill.to_the_end(taken)
    begun = [made.variables["MODSYNC_VERSION"] for made in backfill.world.gitlab.pipelines.values()]
    assert sorted(begun) == [f"v0.{number}.0" for number in range(9)]
    assert begun[LIMIT:] == sorted(begun[LIMIT:])


def test_a_live_release_does_not_wait(backfill: Backfill) -> None:
    old = backfill.take(5)
    backfill.until_full()
    (new,) = backfill.take(1, Lane.LIVE, "v1")
    for _ in range(8):
        backfill.work()
    assert backfill.world.run(new).facts["pipeline"]["id"] == LIMIT + 1
    assert len(backfill.waiting(old)) == 2


def test_a_waiting_one_that_a_webhook_tells_of_goes_on_at_once(backfill: Backfill) -> None:
    taken = backfill.take(5)
    backfill.until_full()
    one, other = backfill.waiting(taken)
    told = backfill.world.run(one)
    assert backfill.world.take(told.version, told.commit).duplicate
    backfill.work()
    assert "id" in backfill.world.run(one).facts["pipeline"]
    assert backfill.waiting(taken) == [other]


@pytest.mark.parametrize("call", ["store.take_slot", "gitlab.create_pipeline"])
@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_dies_over_its_pipeline_leaks_no_slot_and_makes_no_second_one(
    backfill: Backfill, call: str, after: bool
) -> None:
    taken = backfill.take(5)
    backfill.world.advance(taken[0])
    backfill.world.show_refs()
    for run in taken[1:3]:
        with pytest.raises(CrashError):
            backfill.world.advance(run, FuseAt(call, after))
    backfill.world.clock.advance(20)
    backfill.to_the_end(taken)
    assert len(backfill.world.gitlab.pipelines) == 5


def test_of_many_workers_at_the_same_moment_only_as_many_get_a_slot(backfill: Backfill) -> None:
    store, now = SqlFlowStore(backfill.world.engine), backfill.world.clock.now()
    claims = [store.claim(run, "w", now, 60) for run in backfill.stored(12)]

    def take(number: int) -> bool:
        claim = claims[number]
        assert claim is not None
        return store.take_slot(claim, {"pipeline": {"intent": f"modsync {number}"}}, LIMIT, now)

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(take, range(12))) == LIMIT


def test_a_short_backfill_goes_between_the_runs_of_a_long_one(backfill: Backfill) -> None:
    store, now = SqlSlotStore(backfill.world.engine), backfill.world.clock.now()
    long, short = backfill.stored(8, "mirrors/long"), backfill.stored(2, "mirrors/short")
    backfill.change(long[:2], facts={"pipeline": {"intent": "modsync x"}})
    later = backfill.world.clock.now().replace(year=2027)
    backfill.change(long[2:] + short, error=WAITS, due_at=later)
    assert store.wake(LIMIT, now) == 1
    assert backfill.world.run(short[0]).due_at == now
    assert store.wake(LIMIT, now) == 0  # who was woken has the slot as good as taken
    assert store.wake(LIMIT + 2, now) == 2
    assert backfill.world.run(short[1]).due_at == now
    assert backfill.world.run(long[2]).due_at == now
    assert store.wake(0, now) == 5  # no limit any more


def test_a_paused_run_holds_no_slot(backfill: Backfill) -> None:
    store, now = SqlFlowStore(backfill.world.engine), backfill.world.clock.now()
    held, (new,) = backfill.stored(LIMIT), backfill.stored(1)
    backfill.change(held, facts={"pipeline": {"intent": "modsync x"}})
    claim = store.claim(new, "w", now, 60)
    assert claim is not None
    assert not store.take_slot(claim, {"pipeline": {"intent": "n"}}, LIMIT, now)
    backfill.change(held[:1], error="paused")
    assert store.take_slot(claim, {"pipeline": {"intent": "n"}}, LIMIT, now)
