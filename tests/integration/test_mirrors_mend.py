"""Mending a mirror's protections: at no moment does nothing protect them, wherever GitLab stops us; against the stand-in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from app.adapters.database import connect as connect_database
from app.adapters.database import writing
from app.adapters.gitlab_rules import Patience, holding
from app.adapters.tables import mirrors
from app.services.drift import MirrorCheck, check_mirror
from tests.integration.gitlab_helpers import PATH, asked, connect
from tests.integration.test_gitlab_check import Place
from tests.sandbox.gitlab import GitLab, faults
from tests.sandbox.gitlab.model import Level, Project, ProtectedTag
from tests.sandbox.gitlab.protection import branch_rules, can_push, tag_rules

TAGS, BRANCHES = {"v*", "*/v*"}, {"ci-sync"}
VERSIONS = ("v1.2.3", "sdk/v1.2.3")


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        connect(server).ensure_project(PATH)
        yield server


def closed(project: Project) -> None:
    """Rules that say nobody: what is mended is wrong, and still lets nobody in who should not be."""
    for rule in project.protected_tags.values():
        rule.create = Level.NONE
    project.protected_branches["ci-sync"].push = Level.NONE


def is_protected(project: Project) -> bool:
    """No developer may push the branch or make a version's tag, by the rules that GitLab has at this moment."""
    tags = [tag_rules(project, version) for version in VERSIONS]
    return (
        all(rules and all(rule.create != Level.DEVELOPER for rule in rules) for rules in tags)
        and bool(branch_rules(project, "ci-sync"))
        and not can_push(project, "ci-sync", Level.DEVELOPER)
    )


def mend(gitlab: GitLab, patience: Patience | None = None) -> MirrorCheck:
    return check_mirror(connect(gitlab).inspector(patience), PATH, fix=True)


def is_whole(project: Project) -> bool:
    tags = {name: rule.create for name, rule in project.protected_tags.items()}
    branches = {name: (rule.push, rule.allow_force_push) for name, rule in project.protected_branches.items()}
    return tags == dict.fromkeys(TAGS, Level.MAINTAINER) and branches == {"ci-sync": (Level.MAINTAINER, True)}


def watching(seen: list[bool], project: Project) -> faults.Action:
    """Notes before and after each request whether the refs are protected."""

    def act(call: faults.Call) -> Iterable[bytes]:
        seen.append(is_protected(project))
        answer = list(call.forward())
        seen.append(is_protected(project))
        return answer

    return act


def test_the_refs_are_protected_at_every_moment(gitlab: GitLab) -> None:
    project, seen = gitlab.project(PATH), list[bool]()
    closed(project)
    gitlab.faults.add(".*", watching(seen, project), times=1000)
    assert mend(gitlab).good
    assert (is_whole(project), set(seen), len(seen) > 20) == (True, {True}, True)


@pytest.mark.parametrize("action", [faults.reset(), faults.accept_then_cut()], ids=["before", "after"])
def test_wherever_it_is_stopped_the_refs_stay_protected_and_the_next_mend_ends_it(
    gitlab: GitLab, action: faults.Action
) -> None:
    project, number, cut = gitlab.project(PATH), 0, True
    while cut:
        closed(project)
        fault = gitlab.faults.add("/api/v4/", action, skip=number)
        found = mend(gitlab)
        cut = bool(fault.used)
        gitlab.faults.clear()
        assert (is_protected(project), found.good) == (True, not cut), f"request {number}"
        assert mend(gitlab).good
        assert is_whole(project), f"request {number}"
        number += 1
    assert number > 20


def _made_anew(kind: str) -> str:
    """The second rule of this kind that is made: the first one holds meanwhile."""
    return f"POST .*/protected_{kind}"


@pytest.mark.parametrize(("kind", "missing"), [("tags", "protected tags v*"), ("branches", "protected branch ci-sync")])
def test_too_many_requests_between_removal_and_creation(gitlab: GitLab, kind: str, missing: str) -> None:
    project = gitlab.project(PATH)
    closed(project)
    gitlab.faults.add(_made_anew(kind), faults.rate_limited(60), skip=1)
    found = mend(gitlab)
    assert found.error is not None
    assert (found.error.code, found.good, is_protected(project)) == ("rate_limited", False, True)
    before, _, name = missing.rpartition(" ")
    held = holding(name)
    assert f"rule {name} IS MISSING, as far as known, and {held} protects in its place" in found.error.message
    told = {each.what: each.found for each in found.drift}
    assert told[missing] == f"not protected, but by {held}"
    assert told[f"{before} {held}"] == "left over from a mending that was stopped"
    assert mend(gitlab).good
    assert is_whole(project)


@pytest.mark.parametrize(
    ("action", "seconds"),
    [(faults.rate_limited(60), 60.0), (faults.rate_limited_bare(), 2.0), (faults.unavailable(30), 30.0)],
)
def test_the_command_waits_as_long_as_gitlab_says_and_makes_the_rule(
    gitlab: GitLab, action: faults.Action, seconds: float
) -> None:
    slept: list[float] = []
    closed(gitlab.project(PATH))
    gitlab.faults.add(_made_anew("tags"), action, skip=1)
    assert mend(gitlab, Patience(100, slept.append)).good
    assert (slept, is_whole(gitlab.project(PATH))) == ([seconds], True)


def test_its_patience_ends(gitlab: GitLab) -> None:
    slept: list[float] = []
    closed(gitlab.project(PATH))
    gitlab.faults.add(_made_anew("tags"), faults.rate_limited(60), times=9, skip=1)
    found = mend(gitlab, Patience(150, slept.append))
    assert (slept, found.good, found.error is not None) == ([60.0, 60.0], False, True)


def test_what_attempts_take_counts_too(gitlab: GitLab) -> None:
    """A GitLab that takes connections and says nothing: each attempt lasts as long as its time limit."""
    slept: list[float] = []
    now = itertools.count(0, 30.0)
    closed(gitlab.project(PATH))
    gitlab.faults.add(_made_anew("tags"), faults.unavailable(2), times=99, skip=1)
    found = mend(gitlab, Patience(100, slept.append, lambda: next(now)))
    assert (slept, found.good, found.error is not None) == ([2.0] * 3, False, True)


def test_what_no_waiting_helps_is_not_waited_for(gitlab: GitLab) -> None:
    slept: list[float] = []
    closed(gitlab.project(PATH))
    gitlab.faults.add(_made_anew("tags"), faults.status(403, '{"message":"403 Forbidden"}'), skip=1)
    found = mend(gitlab, Patience(100, slept.append))
    assert found.error is not None
    assert (found.error.code, slept) == ("forbidden", [])


def test_somebodys_own_rule_of_that_name_is_left_alone(gitlab: GitLab) -> None:
    project = gitlab.project(PATH)
    project.protected_tags["v*"].create = Level.NONE
    project.protected_tags["v**"] = ProtectedTag("v**", Level.DEVELOPER)
    assert [(each.what, each.mendable) for each in mend(gitlab).drift] == [("protected tags v**", False)]
    assert project.protected_tags["v*"].create == Level.MAINTAINER


def test_force_pushes_are_allowed_without_making_the_rule_anew(gitlab: GitLab) -> None:
    gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push = False
    before = len(gitlab.requests)
    assert mend(gitlab).good
    assert [line.split()[0] for line in asked(gitlab)[before:] if not line.startswith("GET")] == ["PATCH"]


def _command(tmp_path: Path, gitlab: GitLab) -> Callable[..., tuple[int, str]]:
    place = Place(tmp_path, gitlab, gitlab.create_token())
    row = {"path": PATH, "project_id": 1, "fence": 0, "updated_at": datetime.now(UTC)}
    with writing(connect_database(place.settings.store.url)) as connection:
        connection.execute(insert(mirrors).values(**row))

    def run(*arguments: str) -> tuple[int, str]:
        shown = place.run(*arguments)
        return shown.exit_code, shown.stdout

    return run


def test_a_missing_rule_is_named_by_the_command_whose_status_says_so(tmp_path: Path, gitlab: GitLab) -> None:
    run = _command(tmp_path, gitlab)
    gitlab.project(PATH).protected_tags["v*"].create = Level.NONE
    gitlab.faults.add(_made_anew("tags"), faults.status(403, '{"message":"403 Forbidden"}'), skip=1)
    status, shown = run("mirrors", "check", PATH, "--fix", "--reason", "too quick")
    assert status == 1
    assert f"{PATH}: forbidden\n" in shown
    assert "  protected tags v*: not protected, but by v**, wanted created by maintainers\n" in shown
    assert "rule v* IS MISSING" in shown
    assert run("mirrors", "check", PATH, "--fix")[0] == 0
    assert run("mirrors", "check") == (0, f"{PATH}: good\n")
