"""`modsync mirrors check [--fix]`: what people changed at a mirror project is named, and mended, against the stand-in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert
from werkzeug.serving import make_server

from app import create_app
from app.adapters.access_store import SqlAuditStore
from app.adapters.database import connect as connect_database
from app.adapters.database import writing
from app.adapters.tables import mirrors
from app.bootstrap import Container
from app.cli import cli
from app.domain.access import Role
from app.domain.errors import SyncError
from app.services.drift import MirrorCheck, check_mirror
from app.web.mirror_turns import turn
from tests.integration.gitlab_helpers import PATH, connect
from tests.integration.test_gitlab_check import Place
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.model import Level, Project, ProtectedBranch, ProtectedTag
from tests.sandbox.gitlab.protection import can_push

OPTIONS = {"ci_config_path": "precache.yml@platform/ci"}
Change = Callable[[Project], object]


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        connect(server, **OPTIONS).ensure_project(PATH)
        yield server


def check(gitlab: GitLab, path: str = PATH, *, fix: bool = False) -> MirrorCheck:
    return check_mirror(connect(gitlab, **OPTIONS).inspector(), path, fix=fix)


def _no_force(project: Project) -> None:
    project.protected_branches["ci-sync"].allow_force_push = False


def _open_branch(project: Project) -> None:
    project.protected_branches["ci-sync"].push = Level.DEVELOPER


def _open_tags(project: Project) -> None:
    project.protected_tags["v*"].create = Level.DEVELOPER


DRIFTS: dict[str, Change] = {
    "auto_devops_enabled": lambda project: project.settings.update(auto_devops_enabled=True),
    "lfs_enabled": lambda project: project.settings.update(lfs_enabled=True),
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


@pytest.mark.parametrize("name", ["*", "ci-*", "*-sync", "c*c"])
def test_a_wider_rule_of_the_branch_is_named_and_left_alone(gitlab: GitLab, name: str) -> None:
    rules = gitlab.project(PATH).protected_branches
    rules[name] = ProtectedBranch(99, name, Level.DEVELOPER, Level.MAINTAINER, allow_force_push=False)
    rules["main"] = ProtectedBranch(98, "main", Level.DEVELOPER, Level.DEVELOPER, allow_force_push=True)
    for fix in (False, True):
        drift = check(gitlab, fix=fix).drift
        assert [(each.what, each.found, each.mendable) for each in drift] == [
            (f"protected branch {name}", "push by developers, also to ci-sync", False)
        ]
    assert rules.keys() == {"ci-sync", name, "main"}


def test_a_rule_that_lets_developers_merge_into_the_branch(gitlab: GitLab) -> None:
    rule = ProtectedBranch(99, "ci-*", Level.NONE, Level.DEVELOPER, allow_force_push=False)
    gitlab.project(PATH).protected_branches["ci-*"] = rule
    assert [each.found for each in check(gitlab).drift] == ["merge by developers, also to ci-sync"]
    rule.merge = Level.MAINTAINER  # a narrower rule beside ours takes nothing from us, and lets nobody in
    assert check(gitlab).good


def test_the_stand_in_lets_developers_in_by_the_wider_rule(gitlab: GitLab) -> None:
    """Why it is named: of several rules that match, the most permissive one decides."""
    project = gitlab.project(PATH)
    assert not can_push(project, "ci-sync", Level.DEVELOPER)
    project.protected_branches["ci-*"] = ProtectedBranch(
        99, "ci-*", Level.DEVELOPER, Level.NONE, allow_force_push=False
    )
    assert can_push(project, "ci-sync", Level.DEVELOPER)


@pytest.mark.parametrize(("name", "matters"), [("v1*", True), ("sdk/*", True), ("*-rc*", True), ("nightly", False)])
def test_a_rule_of_tags_matters_where_it_can_match_a_version(gitlab: GitLab, name: str, matters: bool) -> None:
    gitlab.project(PATH).protected_tags[name] = ProtectedTag(name, Level.DEVELOPER)
    assert [each.what for each in check(gitlab).drift] == ([f"protected tags {name}"] if matters else [])


def test_a_rule_behind_many_others_is_seen(gitlab: GitLab) -> None:
    tags = gitlab.project(PATH).protected_tags
    tags.update({f"x{number}": ProtectedTag(f"x{number}", Level.MAINTAINER) for number in range(120)})
    tags["v2*"] = ProtectedTag("v2*", Level.DEVELOPER)
    assert [each.what for each in check(gitlab).drift] == ["protected tags v2*"]


def test_what_more_people_can_see_than_shall_is_hidden_again(gitlab: GitLab) -> None:
    gitlab.project(PATH).visibility = "public"
    assert [(each.what, each.found, each.wanted) for each in check(gitlab).drift] == [
        ("visibility", "public", "private")
    ]
    assert check(gitlab, fix=True).good
    assert gitlab.project(PATH).visibility == "private"


def test_what_fewer_people_can_see_than_may_is_left_to_a_person(gitlab: GitLab) -> None:
    inspector = connect(gitlab, visibility="internal", **OPTIONS).inspector()
    for fix in (False, True):
        found = check_mirror(inspector, PATH, fix=fix)
        assert [(each.what, each.found, each.mendable) for each in found.drift] == [("visibility", "private", False)]
    assert gitlab.project(PATH).visibility == "private"


def test_a_mirror_that_is_gone_is_an_error_and_is_not_made(gitlab: GitLab) -> None:
    for fix in (False, True):
        found = check(gitlab, "mirrors/go/gone", fix=fix)
        assert found.error is not None
        assert found.error.code == "project_missing"
    assert not gitlab.has_project("mirrors/go/gone")


@pytest.fixture
def far(tmp_path: Path, gitlab: GitLab) -> Iterator[Callable[..., Result]]:
    """The command from another machine: it knows only the address and a token of this role."""
    place = Place(tmp_path, gitlab, gitlab.create_token())
    container = Container(place.settings)
    with writing(container.engine) as connection:
        row = {"path": PATH, "project_id": 1, "fence": 0, "updated_at": datetime.now(UTC)}
        connection.execute(insert(mirrors).values(**row))
        connection.execute(insert(mirrors).values({**row, "path": "mirrors/never/made", "project_id": None}))
    secrets = {role: container.access.create_token(f"a-{role}", role, 1, "cli:test")[0] for role in Role}
    server = make_server("127.0.0.1", 0, create_app(container), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def run(role: Role, *arguments: str) -> Result:
        environment = {"MODSYNC_URL": f"http://127.0.0.1:{server.server_port}", "MODSYNC_TOKEN": secrets[role]}
        return CliRunner(env=environment).invoke(cli, list(arguments))

    try:
        yield run
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_commands_from_another_machine(far: Callable[..., Result], gitlab: GitLab) -> None:
    listed = json.loads(far(Role.VIEWER, "mirrors", "list", "--json").stdout)["items"]
    assert [each["path"] for each in listed] == [PATH, "mirrors/never/made"]
    assert PATH in far(Role.VIEWER, "mirrors", "list").stdout
    gitlab.project(PATH).settings["auto_devops_enabled"] = True
    shown = far(Role.OPERATOR, "mirrors", "check")
    assert (shown.exit_code, shown.stdout.splitlines()[:2]) == (
        1, [f"{PATH}: drift", "  auto_devops_enabled: on, wanted off"],
    )  # fmt: skip
    unknown = far(Role.OPERATOR, "mirrors", "check", "no/such", PATH, "--json")
    assert [(each["error"] or {}).get("code") for each in json.loads(unknown.stdout)] == ["not_found", None]
    fix = ("mirrors", "check", PATH, "--fix", "--reason", "too quick", "--json")
    refused = far(Role.OPERATOR, *fix)
    assert isinstance(refused.exception, SyncError)
    assert refused.exception.code == "forbidden_role"
    assert gitlab.project(PATH).settings["auto_devops_enabled"] is True
    mended = json.loads(far(Role.ADMIN, *fix).stdout)[0]["mended"]
    assert "auto_devops_enabled" in [each["what"] for each in mended]
    assert gitlab.project(PATH).settings["auto_devops_enabled"] is False


def test_a_busy_server_is_told_for_each_mirror_and_stops_nothing(far: Callable[..., Result]) -> None:
    with turn(), turn():
        shown = far(Role.OPERATOR, "mirrors", "check", PATH, "no/such")
    assert shown.exit_code == 1
    assert [line for line in shown.stdout.splitlines() if line[0] != " "] == [f"{PATH}: busy", "no/such: not_found"]


def test_a_source_is_tested_on_the_server(tmp_path: Path, gitlab: GitLab) -> None:
    place = Place(tmp_path, gitlab, gitlab.create_token())
    found = place.run("sources", "test", "platform", "--json")
    assert (found.exit_code, json.loads(found.stdout)["verdict"]) == (0, "accepted")


def test_a_source_is_tested_from_another_machine(far: Callable[..., Result]) -> None:
    found = far(Role.ADMIN, "sources", "test", "platform")
    assert (found.exit_code, found.stdout.splitlines()[0]) == (0, "accepted")
    assert "  good  secret one: signs, and the signature is found right" in found.stdout


def test_the_command_checks_the_mirrors_that_are_known(tmp_path: Path, gitlab: GitLab) -> None:
    place = Place(tmp_path, gitlab, gitlab.create_token())
    row = {"path": PATH, "project_id": 1, "fence": 0, "updated_at": datetime.now(UTC)}
    with writing(connect_database(place.settings.store.url)) as connection:
        connection.execute(insert(mirrors).values(**row))
    gitlab.project(PATH).settings["auto_devops_enabled"] = True
    shown = place.run("mirrors", "check")
    assert (shown.exit_code, shown.stdout) == (1, f"{PATH}: drift\n  auto_devops_enabled: on, wanted off\n")
    fixed = place.run("mirrors", "check", PATH, "--fix", "--reason", "too quick", "--json")
    assert (fixed.exit_code, json.loads(fixed.stdout)[0]["mended"][0]["what"]) == (0, "auto_devops_enabled")
    (entry,) = SqlAuditStore(connect_database(place.settings.store.url)).entries()
    assert (entry.action, entry.object, entry.reason) == ("mirror.mend", f"mirror:{PATH}", "too quick")
    assert place.run("mirrors", "check").stdout == f"{PATH}: good\n"
