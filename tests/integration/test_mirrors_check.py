"""`modsync mirrors check [--fix]`: what people changed at a mirror project is named, and mended, against the stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from app.adapters.database import connect as connect_database
from app.adapters.database import writing
from app.adapters.tables import mirrors
from app.services.drift import MirrorCheck, check_mirror
from tests.integration.gitlab_helpers import PATH, connect
from tests.integration.test_gitlab_check import Place
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.model import Level, Project, ProtectedTag

OPTIONS = {"ci_config_path": "precache.yml@platform/ci"}
Change = Callable[[Project], object]


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        connect(server, **OPTIONS).ensure_project(PATH)
        yield server


def check(gitlab: GitLab, path: str = PATH, *, fix: bool = False) -> MirrorCheck:
    return check_mirror(connect(gitlab, **OPTIONS).inspector, path, fix=fix)


def _no_force(project: Project) -> None:
    project.protected_branches["ci-sync"].allow_force_push = False


def _open_branch(project: Project) -> None:
    project.protected_branches["ci-sync"].push = Level.DEVELOPER


def _open_tags(project: Project) -> None:
    project.protected_tags["v*"].create = Level.DEVELOPER


DRIFTS: dict[str, Change] = {
    "auto_devops_enabled": lambda project: project.settings.update(auto_devops_enabled=True),
    "ci_config_path": lambda project: project.settings.update(ci_config_path=".gitlab-ci.yml"),
    "ci_pipeline_variables_minimum_override_role": lambda project: project.settings.update(
        ci_pipeline_variables_minimum_override_role="no_one_allowed"
    ),
    "protected branch ci-sync": lambda project: project.protected_branches.pop("ci-sync"),
    "protected tags */v*": lambda project: project.protected_tags.pop("*/v*"),
}
MORE: dict[str, tuple[str, Change]] = {
    "no force push": ("protected branch ci-sync", _no_force),
    "push by developers": ("protected branch ci-sync", _open_branch),
    "created by developers": ("protected tags v*", _open_tags),
}


def test_a_project_as_modsync_made_it_is_good(gitlab: GitLab) -> None:
    before = len(gitlab.requests)
    assert check(gitlab) == MirrorCheck(PATH)
    assert {each.method for each in gitlab.requests[before:]} == {"GET"}


@pytest.mark.parametrize("what", DRIFTS)
def test_each_drift_is_named_and_mended(gitlab: GitLab, what: str) -> None:
    DRIFTS[what](gitlab.project(PATH))
    found = check(gitlab)
    assert [each.what for each in found.drift] == [what]
    mended = check(gitlab, fix=True)
    assert (mended.good, [each.what for each in mended.mended]) == (True, [what])
    assert check(gitlab).good


@pytest.mark.parametrize("found", MORE)
def test_a_protection_that_says_something_else_is_made_anew(gitlab: GitLab, found: str) -> None:
    what, change = MORE[found]
    change(gitlab.project(PATH))
    assert [(each.what, each.found) for each in check(gitlab).drift] == [(what, found)]
    assert check(gitlab, fix=True).good
    project = gitlab.project(PATH)
    assert project.protected_branches["ci-sync"].allow_force_push is True
    assert project.protected_branches["ci-sync"].push == Level.MAINTAINER
    assert {rule.create for rule in project.protected_tags.values()} == {Level.MAINTAINER}


def test_somebodys_own_wider_rule_is_named_and_left_alone(gitlab: GitLab) -> None:
    gitlab.project(PATH).protected_tags["*"] = ProtectedTag("*", Level.DEVELOPER)
    for fix in (False, True):
        found = check(gitlab, fix=fix)
        assert [(each.what, each.mendable) for each in found.drift] == [("protected tags *", False)]
    assert "*" in gitlab.project(PATH).protected_tags


def test_a_mirror_that_is_gone_is_an_error_and_is_not_made(gitlab: GitLab) -> None:
    for fix in (False, True):
        found = check(gitlab, "mirrors/go/gone", fix=fix)
        assert found.error is not None
        assert found.error.code == "project_missing"
    assert not gitlab.has_project("mirrors/go/gone")


def test_the_command_checks_the_mirrors_that_are_known(tmp_path: Path, gitlab: GitLab) -> None:
    place = Place(tmp_path, gitlab, gitlab.create_token())
    row = {"path": PATH, "project_id": 1, "fence": 0, "updated_at": datetime.now(UTC)}
    with writing(connect_database(place.settings.store.url)) as connection:
        connection.execute(insert(mirrors).values(**row))
    gitlab.project(PATH).settings["auto_devops_enabled"] = True
    shown = place.run("mirrors", "check")
    assert (shown.exit_code, shown.stdout) == (1, f"{PATH}: drift\n  auto_devops_enabled: on, wanted off\n")
    fixed = place.run("mirrors", "check", PATH, "--fix", "--json")
    assert (fixed.exit_code, json.loads(fixed.stdout)[0]["mended"][0]["what"]) == (0, "auto_devops_enabled")
    assert place.run("mirrors", "check").stdout == f"{PATH}: good\n"
