"""The repository that a mirror is of, in both databases: recorded with the first push, under the lease, and once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.adapters.access_store import SqlAuditStore
from app.adapters.database import writing
from app.adapters.mirror_source import SqlMirrorSourceStore
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.tables import mirrors, repositories, runs
from app.domain.errors import SyncError
from app.domain.mirror_source import source_url
from app.services.mirror_source import SourceMoved, SourceOrder, lease_for
from app.services.stores import MirrorLease
from tests.integration.stored import LEASE, START, TARGET, Stored
from tests.integration.test_stores_races import at_once

PATH = TARGET.mirror
HERE = source_url(TARGET.clone_url)
ELSEWHERE = "https://elsewhere.example/platform/log"
PUSHING = {"r1": {"object": "a" * 40}}


def lease(stored: Stored, owner: str = "worker-1") -> MirrorLease:
    found = stored.flow.lease_mirror(PATH, owner, stored.now, LEASE)
    assert found is not None
    return found


def give_back(stored: Stored, held: MirrorLease) -> None:
    stored.flow.release_mirror(held, stored.now, project=None, branch_at=None)


def recorded(stored: Stored) -> str | None:
    with stored.engine.connect() as connection:
        found: str | None = connection.execute(select(mirrors.c.source_url)).scalar_one()
    return found


def entries(stored: Stored) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    found = SqlAuditStore(stored.engine).entries()
    return [(each.actor, each.object, dict(each.before), dict(each.after)) for each in found]


def old_mirror(stored: Stored, **values: object) -> None:
    """A mirror of before modsync recorded the repository."""
    with writing(stored.engine) as connection:
        connection.execute(insert(mirrors).values(path=PATH, fence=0, updated_at=START, **values))


def noted(stored: Stored, clone_url: str, **values: object) -> None:
    row = {"mirror": PATH, "source": "platform", "clone_url": clone_url, "result": {}, **values}
    with writing(stored.engine) as connection:
        connection.execute(insert(repositories).values(row))


def test_it_is_recorded_with_what_is_pushed_and_not_before(stored: Stored) -> None:
    held = replace(lease(stored), becomes=HERE)
    assert (held.source_url, stored.flow.source_of(PATH)) == (None, None)
    assert stored.flow.renew([], held, stored.now, LEASE)
    assert recorded(stored) is None
    assert stored.flow.renew([], held, stored.now, LEASE, PUSHING)
    assert recorded(stored) == stored.flow.source_of(PATH) == HERE
    give_back(stored, held)
    again = lease(stored)
    assert (again.source_url, again.becomes) == (HERE, None)
    assert entries(stored) == []  # the first is no change


def test_it_is_recorded_where_all_was_there_already(stored: Stored) -> None:
    give_back(stored, replace(lease(stored), becomes=HERE))
    assert recorded(stored) == HERE


def test_who_brings_nothing_decides_nothing(stored: Stored) -> None:
    give_back(stored, lease(stored))
    assert recorded(stored) is None
    assert lease(stored).source_url is None


def test_an_overtaken_worker_records_nothing(stored: Stored) -> None:
    late = replace(lease(stored), becomes=ELSEWHERE)
    stored.later(LEASE + 1)
    held = replace(lease(stored, "worker-2"), becomes=HERE)
    assert not stored.flow.renew([], late, stored.now, LEASE, PUSHING)
    give_back(stored, late)
    assert recorded(stored) is None
    assert stored.flow.renew([], held, stored.now, LEASE, PUSHING)
    give_back(stored, late)
    assert recorded(stored) == HERE


def test_a_change_by_the_configuration_is_audited_once(stored: Stored) -> None:
    give_back(stored, replace(lease(stored), becomes=HERE))
    held = replace(lease(stored), becomes=ELSEWHERE)
    for _ in range(2):
        assert stored.flow.renew([], held, stored.now, LEASE, PUSHING)
    give_back(stored, held)
    assert recorded(stored) == ELSEWHERE
    assert entries(stored) == [("configuration", f"mirror:{PATH}", {"source": HERE}, {"source": ELSEWHERE})]


def bring(stored: Stored, url: str, owner: str) -> str:
    """A worker's way with a first release, by turns with another one; what became of it."""
    while (held := stored.flow.lease_mirror(PATH, owner, stored.now, LEASE)) is None:
        pass
    run = stored.run(stored.release(version=None, ref=owner, target=replace(TARGET, clone_url=url)).run_id)
    try:
        turn = lease_for(held, run, lambda _: False)
    except SyncError as error:
        give_back(stored, held)
        return error.code
    assert stored.flow.renew([], turn, stored.now, LEASE, PUSHING)
    give_back(stored, turn)
    return url


def test_of_two_first_releases_of_two_repositories_one_gets_the_mirror(stored: Stored) -> None:
    for n in range(5):
        with writing(stored.engine) as connection:
            connection.execute(update(mirrors).values(source_url=None))
        urls = [TARGET.clone_url, ELSEWHERE]
        ends = at_once(*[partial(bring, stored, url, f"worker-{n}-{url}") for url in urls])
        (winner,) = (each for each in ends if each != "mirror_of_another")
        assert sorted(ends) == sorted([winner, "mirror_of_another"])
        assert recorded(stored) == source_url(winner)


def test_two_that_hold_the_mirror_one_after_the_other_do_not_both_push(stored: Stored) -> None:
    """The first was away for longer than its lease: whoever asks the database first before its push is the only one."""
    first = replace(lease(stored), becomes=HERE)
    stored.later(LEASE + 1)
    second = replace(lease(stored, "worker-2"), becomes=ELSEWHERE)
    ends = at_once(*[partial(stored.flow.renew, [], each, stored.now, LEASE, PUSHING) for each in (first, second)])
    assert ends == [False, True]
    assert recorded(stored) == ELSEWHERE


def test_an_older_mirror_is_of_what_was_pushed_there_last(stored: Stored) -> None:
    old_mirror(stored, project_id=7)
    for number, url in enumerate([ELSEWHERE, TARGET.clone_url]):
        target = replace(TARGET, clone_url=url)
        stored.later()
        stored.push(stored.claim(stored.release(version=f"v1.{number}.0", target=target).run_id))
    stored.release(version="v2.0.0", target=replace(TARGET, clone_url="https://third.example/x"))  # pushed nothing
    noted(stored, "https://fourth.example/x")
    assert (stored.flow.source_of(PATH), recorded(stored)) == (HERE, None)
    assert lease(stored).source_url == HERE
    assert recorded(stored) == HERE


@pytest.mark.parametrize(
    ("made", "compared", "known"), [(None, None, None), (7, None, ELSEWHERE), (None, START, ELSEWHERE)]
)
def test_without_runs_a_mirror_is_of_what_was_noted_of_it(
    stored: Stored, made: int | None, compared: object, known: str | None
) -> None:
    """Not of what was only asked for: the first release may have named a repository that there is not."""
    old_mirror(stored, project_id=made)
    noted(stored, f"{ELSEWHERE}.git", reconciled_at=compared)
    assert lease(stored).source_url == known
    assert recorded(stored) == known


def test_what_no_clone_url_is_any_more_says_nothing(stored: Stored) -> None:
    old_mirror(stored, project_id=7)
    run_id = stored.release().run_id
    stored.push(stored.claim(run_id))
    with writing(stored.engine) as connection:
        connection.execute(update(runs).values(target={"clone_url": "git@host:x", "mirror": PATH}))
    assert lease(stored).source_url is None


# --- a repository that moved --------------------------------------------------------------------------------------


def order(to: str = f"{ELSEWHERE}.git") -> SourceOrder:
    return SourceOrder.parse(PATH, to, "cli:alice", "a new host")


def move(stored: Stored, to: str = f"{ELSEWHERE}.git") -> SourceMoved:
    return SqlMirrorSourceStore(stored.engine).move(order(to), stored.now)


def test_a_move_is_recorded_with_before_and_after(stored: Stored) -> None:
    give_back(stored, replace(lease(stored), becomes=HERE))
    noted(stored, TARGET.clone_url)
    assert move(stored) == SourceMoved(PATH, HERE, ELSEWHERE)
    (entry,) = SqlAuditStore(stored.engine).entries()
    assert (entry.actor, entry.action, entry.object, entry.reason) == (
        "cli:alice", "mirror.source", f"mirror:{PATH}", "a new host",
    )  # fmt: skip
    assert (entry.before, entry.after) == ({"source": HERE}, {"source": ELSEWHERE})
    assert lease(stored).source_url == ELSEWHERE
    found = SqlRepositoryStore(stored.engine).find(PATH)
    assert (found and found.clone_url) == f"{ELSEWHERE}.git"


def test_a_move_of_a_mirror_that_was_of_nobody_known(stored: Stored) -> None:
    old_mirror(stored)
    assert move(stored) == SourceMoved(PATH, None, ELSEWHERE)
    assert entries(stored) == [("cli:alice", f"mirror:{PATH}", {"source": ""}, {"source": ELSEWHERE})]


def test_a_move_of_an_older_mirror_names_what_went_there_before(stored: Stored) -> None:
    old_mirror(stored, project_id=7)
    stored.push(stored.claim(stored.release().run_id))
    assert move(stored).before == HERE


def test_moves_that_are_none(stored: Stored) -> None:
    with pytest.raises(SyncError, match="not_found: there is no mirror 'go-mirrors/platform/log'"):
        move(stored)
    give_back(stored, replace(lease(stored), becomes=HERE))
    with pytest.raises(SyncError, match=r"bad_request: to: .* is of .* already") as caught:
        move(stored, "https://GIT.corp.example/platform/log")
    assert caught.value.field == "to"
    assert entries(stored) == []


def test_whoever_works_there_pushes_nothing_more(stored: Stored) -> None:
    give_back(stored, replace(lease(stored), becomes=HERE))
    held = lease(stored)
    move(stored)
    assert not stored.flow.renew([], held, stored.now, LEASE, PUSHING)
    give_back(stored, held)
    assert lease(stored, "worker-2").source_url == ELSEWHERE


def test_a_move_and_a_first_push_at_once_leave_what_the_person_said(stored: Stored) -> None:
    for n in range(5):
        third = f"https://third.example/{n}"
        held = replace(lease(stored, f"worker-{n}"), becomes=third)
        renew = partial(stored.flow.renew, [], held, stored.now, LEASE, PUSHING)
        to = f"https://elsewhere.example/{n}"
        pushed, moved = at_once(renew, partial(move, stored, to))
        assert (pushed, moved.before == third) in ((True, True), (False, False))
        assert recorded(stored) == to
        stored.later(LEASE + 1)


@pytest.mark.parametrize(
    ("to", "reason", "field"),
    [
        ("https://alice:hunter2@git.example/x", "why", "to"),
        ("http://git.example/x", "why", "to"),
        ("", "why", "to"),
        ("https://git.example/x", " ", "reason"),
        ("https://git.example/x", "x" * 501, "reason"),
    ],
)
def test_orders_that_are_none(to: str, reason: str, field: str) -> None:
    with pytest.raises(SyncError) as caught:
        SourceOrder.parse(PATH, to, "cli:alice", reason)
    assert (caught.value.code, caught.value.field) == ("bad_request", field)
    assert "hunter2" not in str(caught.value)
