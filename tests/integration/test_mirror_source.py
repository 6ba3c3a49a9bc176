"""Two repositories whose releases name one mirror: the first one's it is, and nothing of the other is fetched or pushed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from app.adapters.access_store import SqlAuditStore
from app.adapters.database import writing
from app.adapters.mirror_source import SqlMirrorSourceStore
from app.adapters.tables import mirrors
from app.domain.mirror_source import source_url
from app.domain.routing import Rule
from app.domain.run import Run, Stage, Status
from app.services.mirror_source import SourceOrder
from app.services.planning import Planner, SourceOptions
from app.services.replay import Replay
from app.services.stores import ReplayOrder
from tests.contract.fake_git import FakeRepository
from tests.integration.flow_world import GO_MOD, MIRROR, MODULE, SOURCE, FlowWorld
from tests.integration.fuses import Fuse

OTHER = "https://git.example:8443/team/thing.git"
THIRD = "https://elsewhere.example/team/thing.git"


class TwoRepositories(FlowWorld):
    """Both have v2.0.0 and more of their own, at `others[URL]`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.others = {url: FakeRepository() for url in (OTHER, THIRD)}
        for url, repository in self.others.items():
            self.git.repositories[url] = repository
            commit = repository.commit({"go.mod": GO_MOD, url.replace("/", "_"): b""})
            for version in ("v1.0.0", "v1.1.0"):
                repository.tag(version, commit)

    def other(self, version: str = "v1.1.0", url: str = OTHER) -> str:
        """A run of the other repository's release."""
        commit = self.others[url].at(f"refs/tags/{version}")
        assert commit is not None
        return self.take(version, commit.commit, clone_url=url).run_id

    def recorded(self) -> str | None:
        with self.engine.connect() as connection:
            found: str | None = connection.execute(select(mirrors.c.source_url)).scalar_one()
        return found


@pytest.fixture
def world(tmp_path: Path) -> TwoRepositories:
    return TwoRepositories(tmp_path)


def rejected(run: Run) -> bool:
    return (run.status, run.error) == (Status.REJECTED, "mirror_of_another")


def test_the_first_repository_has_the_mirror_and_the_second_is_rejected(world: TwoRepositories) -> None:
    first = world.take().run_id
    world.settle(first)
    assert (world.run(first).status, world.recorded()) == (Status.DONE, source_url(SOURCE))
    before, calls = dict(world.mirror.refs), list(world.git.calls)
    made = list(world.gitlab.pipelines)

    second = world.other()
    world.settle(second)

    run = world.run(second)
    assert rejected(run)
    for named in (f"{MODULE}@v1.1.0", MIRROR, source_url(SOURCE), source_url(OTHER)):
        assert named in str(run.error_message)
    assert (world.mirror.refs, world.git.calls, list(world.gitlab.pipelines)) == (before, calls, made)
    assert world.recorded() == source_url(SOURCE)


def test_two_first_releases_of_two_repositories_at_once(world: TwoRepositories) -> None:
    first, second = world.take().run_id, world.other()
    world.settle(first, second)
    assert (world.run(first).status, rejected(world.run(second))) == (Status.DONE, True)
    assert world.mirror.refs.keys() == {"refs/heads/ci-sync", "refs/tags/v1.0.0"}


def test_other_spellings_of_the_repository_are_the_same(world: TwoRepositories) -> None:
    first = world.take().run_id
    world.settle(first)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    world.git.repositories["https://git.example/team/thing"] = world.source
    spelled = world.take("v1.0.1", commit, clone_url="https://git.example/team/thing").run_id
    world.settle(spelled)
    assert world.run(spelled).status is Status.DONE


def test_a_repository_that_brought_nothing_has_no_mirror(world: TwoRepositories) -> None:
    """A first release with a wrong clone URL must not keep the right one out."""
    wrong = world.take("v1.1.0", "f" * 40).run_id
    world.settle(wrong, rounds=200)
    assert (world.run(wrong).status, world.recorded()) == (Status.FAILED, None)
    right = world.other()
    world.settle(right)
    assert (world.run(right).status, world.recorded()) == (Status.DONE, source_url(OTHER))


def test_a_branch_of_the_other_repository_is_not_even_asked_for_its_tags(world: TwoRepositories) -> None:
    world.settle(first := world.take().run_id)
    assert world.run(first).status is Status.DONE
    at = world.others[OTHER].at("refs/tags/v1.1.0")
    assert at is not None
    calls = list(world.git.calls)
    branch = world.take(None, at.commit, "main", clone_url=OTHER).run_id
    world.settle(branch)
    run = world.run(branch)
    assert (rejected(run), run.version) == (True, None)
    assert world.git.calls == calls


def test_a_tag_without_a_commit_of_the_other_repository(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    calls = list(world.git.calls)
    tag = world.take("v1.1.0", "", clone_url=OTHER).run_id
    world.settle(tag)
    assert (rejected(world.run(tag)), world.git.calls) == (True, calls)


def test_a_version_that_the_other_repository_was_rejected_with_is_still_free(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    world.settle(second := world.other())
    mine = world.source.commit({"mine.go": b""})
    world.source.tag("v1.1.0", mine)
    right = world.take("v1.1.0", mine).run_id
    world.settle(right)
    assert (world.run(right).status, world.run(second).error) == (Status.DONE, "superseded")
    assert world.mirror.refs["refs/tags/v1.1.0"] == mine


def test_the_same_release_told_by_both_is_brought_from_the_right_one(world: TwoRepositories) -> None:
    """A copy of the repository, with the same commits, told first: the right one's delivery is not taken for a duplicate."""
    world.settle(world.take().run_id)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    copy = world.take("v1.0.1", commit, clone_url=THIRD).run_id
    world.settle(copy)
    assert rejected(world.run(copy))
    right = world.take("v1.0.1", commit)
    assert (right.run_id, right.duplicate) == (copy, True)
    world.settle(copy)
    assert world.run(copy).status is Status.DONE


def test_what_a_rule_itself_names_wins_and_is_audited(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    world.named_by_rule = lambda run: run.target.clone_url == OTHER
    second = world.other()
    world.settle(second)
    assert (world.run(second).status, world.recorded()) == (Status.DONE, source_url(OTHER))
    told = [each for each in SqlAuditStore(world.engine).entries() if each.action == "mirror.source"]
    assert [(each.object, each.before, each.after) for each in told] == [
        (f"mirror:{MIRROR}", {"source": source_url(SOURCE)}, {"source": source_url(OTHER)})
    ]


def test_a_mirror_that_the_database_forgot_is_the_next_ones_and_then_no_others(world: TwoRepositories) -> None:
    """As after a restore to before its first release: what is in the mirror still keeps its tags."""
    world.settle(first := world.take().run_id)
    with writing(world.engine) as connection:
        connection.execute(delete(mirrors))
    world.replays.replay(first, ReplayOrder("cli:me", "", Stage.MIRROR, force=True), None, world.clock.now())
    world.settle(first)
    assert (world.run(first).status, world.recorded()) == (Status.DONE, source_url(SOURCE))
    world.settle(second := world.other())
    assert rejected(world.run(second))


def test_a_mirror_of_before_this_was_recorded_is_of_what_was_pushed_there(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    with writing(world.engine) as connection:
        connection.execute(update(mirrors).values(source_url=None))
    world.settle(second := world.other())
    assert (rejected(world.run(second)), world.recorded()) == (True, source_url(SOURCE))


def test_what_is_remembered_of_the_branch_stays(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    with world.engine.connect() as connection:
        before = connection.execute(select(mirrors.c.branch_at, mirrors.c.project_id)).one()
    world.settle(world.other())
    with world.engine.connect() as connection:
        assert (
            connection.execute(select(mirrors.c.branch_at, mirrors.c.project_id)).one() == before == (world.commit, 1)
        )


def test_whoever_is_rejected_leaves_the_mirror_free(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    world.advance(world.other())
    with world.engine.connect() as connection:
        assert connection.execute(select(mirrors.c.lease_owner)).scalar_one() is None


MOVED = "https://elsewhere.example/moved/thing.git"


def move(world: FlowWorld, to: str = MOVED) -> None:
    order = SourceOrder.parse(MIRROR, to, "cli:me", "a new host")
    SqlMirrorSourceStore(world.engine).move(order, world.clock.now())


def replay(world: FlowWorld, run: str, *, force: bool = False) -> Run:
    world.replays.replay(run, ReplayOrder("cli:me", "", Stage.MIRROR, force), None, world.clock.now())
    world.settle(run)
    return world.run(run)


def test_a_repository_that_moved_goes_on_after_the_order_and_a_replay(world: TwoRepositories) -> None:
    world.settle(first := world.take().run_id)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    world.git.repositories[MOVED] = world.source
    told = world.take("v1.0.1", commit, clone_url=MOVED).run_id
    world.settle(told)
    assert rejected(world.run(told))
    assert rejected(replay(world, told))  # nobody has said yet that it moved

    move(world)

    assert replay(world, told).status is Status.DONE
    assert world.mirror.refs["refs/heads/ci-sync"] == commit
    assert rejected(replay(world, first, force=True))  # the old one is another one now


def of_the_day(world: FlowWorld) -> Replay:
    """As people replay: under rules that leave the clone URL to the payload."""
    options = SourceOptions(
        "platform",
        "article",
        (),
        ("https://git.example/**", "https://git.example:8443/**", "https://elsewhere.example/**"),
    )
    planner = Planner({"platform": options}, [Rule(MODULE, MIRROR)], str)
    return Replay(world.replays, world.queue, world.clock, planner.today)


def test_what_failed_at_the_old_place_is_brought_from_the_new_one_by_a_replay(world: TwoRepositories) -> None:
    world.settle(world.take().run_id)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    world.git.repositories[MOVED] = world.git.repositories.pop(SOURCE)
    failed, others = world.take("v1.0.1", commit).run_id, world.other()
    world.settle(failed, others, rounds=200)
    assert (world.run(failed).status, rejected(world.run(others))) == (Status.FAILED, True)
    replays, order = of_the_day(world), ReplayOrder("cli:me", "it has moved")

    move(world)
    for each in (failed, others):
        replays.replay(each, order)
        world.settle(each)

    assert (world.run(failed).status, world.run(failed).target.clone_url) == (Status.DONE, MOVED)
    assert rejected(world.run(others))  # which was never this mirror's


def test_a_delivery_from_the_new_place_is_remembered_for_the_replay(world: TwoRepositories) -> None:
    """Told by the old place and failed, told by the new one, rejected: after the order a replay goes to the new one."""
    world.settle(world.take().run_id)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    world.git.repositories[MOVED] = world.git.repositories.pop(SOURCE)
    run = world.take("v1.0.1", commit).run_id
    world.settle(run, rounds=200)
    again = world.take("v1.0.1", commit, clone_url=MOVED)
    assert (again.run_id, world.run(run).status) == (run, Status.QUEUED)
    world.settle(run)
    assert rejected(world.run(run))
    move(world, MOVED)
    of_the_day(world).replay(run, ReplayOrder("cli:me", "it has moved"))
    world.settle(run)
    assert world.run(run).status is Status.DONE


class Ordering(Fuse):
    """Somebody gives the order while the worker fetches, under the mirror's lease."""

    def __init__(self, order: Callable[[], None]) -> None:
        super().__init__()
        self._order: Callable[[], None] | None = order

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        if name == "cache.fetch" and self._order:
            self._order()
            self._order = None
        with super().around(name):
            yield


def test_an_order_while_a_worker_pushes_is_obeyed(world: TwoRepositories) -> None:
    """It has the mirror's lease, and asks the database before its push: nothing of the old repository goes there any more."""
    world.settle(world.take().run_id)
    commit = world.source.commit({"more.go": b""})
    world.source.tag("v1.0.1", commit)
    run = world.take("v1.0.1", commit).run_id
    before = dict(world.mirror.refs)
    world.advance(run, Ordering(lambda: move(world)))
    assert world.run(run).status is Status.MIRROR  # a worker that was overtaken leaves it to the next one
    world.settle(run)
    assert (rejected(world.run(run)), world.mirror.refs) == (True, before)
