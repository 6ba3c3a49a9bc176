"""What is pushed, with which lease: tables, and properties over any mirror."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.refs import PushPlan, RefUpdate, TagAt, Wanted, plan_push

A, B, C, T = "a" * 40, "b" * 40, "c" * 40, "f" * 40
BRANCH = "refs/heads/ci-sync"


def wanted(name: str, commit: str, tag: str | None = None) -> Wanted:
    return Wanted(name, tag or commit, commit)


def at(commit: str | None, tag: str | None = None) -> TagAt:
    return TagAt(tag or commit or T, commit)


CASES: dict[str, tuple[str | None, dict[str, TagAt], list[Wanted], PushPlan]] = {
    "nothing is wanted": (A, {}, [], PushPlan((), (), ())),
    "an empty mirror gets branch and tag": (
        None,
        {},
        [wanted("v1", A)],
        PushPlan((RefUpdate(BRANCH, A, None), RefUpdate("refs/tags/v1", A, None)), (), ()),
    ),
    "an annotated tag goes as its object, the branch as its commit": (
        B,
        {},
        [wanted("v1", A, T)],
        PushPlan((RefUpdate(BRANCH, A, B), RefUpdate("refs/tags/v1", T, None)), (), ()),
    ),
    "a branch that is there already is not pushed": (
        A,
        {},
        [wanted("v1", A)],
        PushPlan((RefUpdate("refs/tags/v1", A, None),), (), ()),
    ),
    "a tag on the same commit is settled, and the branch stays": (
        B,
        {"v1": at(A)},
        [wanted("v1", A)],
        PushPlan((), ("v1",), ()),
    ),
    "another tag object on the same commit is settled": (
        B,
        {"v1": at(A, T)},
        [wanted("v1", A)],
        PushPlan((), ("v1",), ()),
    ),
    "a tag on another commit has moved and pushes nothing": (
        B,
        {"v1": at(C)},
        [wanted("v1", A)],
        PushPlan((), (), (("v1", C),)),
    ),
    "a tag on a tree has moved": (B, {"v1": at(None, T)}, [wanted("v1", A)], PushPlan((), (), (("v1", T),))),
    "one moved tag does not hold the others up": (
        None,
        {"v1": at(C), "v2": at(B)},
        [wanted("v1", A), wanted("v2", B), wanted("v3", C)],
        PushPlan((RefUpdate(BRANCH, C, None), RefUpdate("refs/tags/v3", C, None)), ("v2",), (("v1", C),)),
    ),
    "a lost branch is made again at the last settled release": (
        None,
        {"v1": at(A), "v2": at(B)},
        [wanted("v1", A), wanted("v2", B)],
        PushPlan((RefUpdate(BRANCH, B, None),), ("v1", "v2"), ()),
    ),
    "the branch may go back to an old line's patch": (
        C,
        {"v2": at(C)},
        [wanted("v1.1", A)],
        PushPlan((RefUpdate(BRANCH, A, C), RefUpdate("refs/tags/v1.1", A, None)), (), ()),
    ),
}


@pytest.mark.parametrize(("branch_at", "tags_at", "releases", "expected"), CASES.values(), ids=CASES)
def test_plans(branch_at: str | None, tags_at: dict[str, TagAt], releases: list[Wanted], expected: PushPlan) -> None:
    assert plan_push("ci-sync", branch_at, tags_at, releases) == expected


def test_a_given_head_takes_the_branch() -> None:
    plan = plan_push("ci-sync", A, {}, [wanted("v1", B)], head=C)
    assert plan.updates == (RefUpdate(BRANCH, C, A), RefUpdate("refs/tags/v1", B, None))
    assert plan_push("ci-sync", C, {"v1": at(B)}, [wanted("v1", B)], head=C).updates == ()


commits = st.sampled_from([A, B, C])
observed = st.builds(TagAt, st.sampled_from([A, B, C, T]), st.one_of(st.none(), commits))
names = st.sampled_from([f"v1.0.{n}" for n in range(6)])
mirrors = st.tuples(st.one_of(st.none(), commits), st.dictionaries(names, observed))
releases = st.lists(st.builds(wanted, names, commits, st.sampled_from([None, T])), unique_by=lambda w: w.name)


@given(mirrors, releases)
def test_each_release_has_exactly_one_fate(mirror: tuple[str | None, dict[str, TagAt]], asked: list[Wanted]) -> None:
    plan = plan_push("ci-sync", *mirror, asked)
    pushed = [update.ref.removeprefix("refs/tags/") for update in plan.updates if update.ref.startswith("refs/tags/")]
    fates = [*pushed, *plan.settled, *(name for name, _ in plan.moved)]
    assert sorted(fates) == sorted(release.name for release in asked)


@given(mirrors, releases)
def test_tags_are_only_ever_created(mirror: tuple[str | None, dict[str, TagAt]], asked: list[Wanted]) -> None:
    for update in plan_push("ci-sync", *mirror, asked).updates:
        if update.ref != BRANCH:
            assert update.expected is None
            assert update.ref.removeprefix("refs/tags/") not in mirror[1]


@given(mirrors, releases)
def test_the_branch_is_only_ever_at_a_release_and_under_its_lease(
    mirror: tuple[str | None, dict[str, TagAt]], asked: list[Wanted]
) -> None:
    plan = plan_push("ci-sync", *mirror, asked)
    good = {release.commit for release in asked if release.name not in dict(plan.moved)}
    branch = [update for update in plan.updates if update.ref == BRANCH]
    assert len(branch) <= 1
    for update in branch:
        assert update.new in good
        assert update.expected == mirror[0] != update.new


@given(mirrors, releases)
def test_a_second_plan_after_the_push_finds_nothing_to_do(
    mirror: tuple[str | None, dict[str, TagAt]], asked: list[Wanted]
) -> None:
    plan = plan_push("ci-sync", *mirror, asked)
    branch_at, tags_at = mirror[0], dict(mirror[1])
    for update in plan.updates:
        if update.ref == BRANCH:
            branch_at = update.new
    pushed = {update.ref for update in plan.updates}
    tags_at |= {w.name: TagAt(w.object, w.commit) for w in asked if f"refs/tags/{w.name}" in pushed}
    again = plan_push("ci-sync", branch_at, tags_at, asked)
    assert again.updates == ()
    assert again.moved == plan.moved
