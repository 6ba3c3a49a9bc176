"""The GitLab adapter makes and keeps mirror projects, against the stand-in GitLab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Barrier, Thread

import pytest
from pydantic import SecretStr

from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.adapters.shared_seen import SeenHere
from tests.integration.gitlab_helpers import PATH, asked, connect, refusal
from tests.sandbox.gitlab import GitLab, faults
from tests.sandbox.gitlab.model import Level, ProtectedBranch, ProtectedTag


def test_a_new_project_is_empty_and_ready_before_anything_is_pushed(gitlab: GitLab) -> None:
    made = connect(gitlab, ci_config_path="precache.yml@platform/ci").ensure_project(PATH)
    project = gitlab.project(PATH)
    assert gitlab.refs(PATH) == {}
    assert made.clone_url == f"{gitlab.url}/{PATH}.git"
    assert project.visibility == "private"
    assert project.settings["ci_config_path"] == "precache.yml@platform/ci"
    assert project.settings["auto_devops_enabled"] is False
    assert project.settings["lfs_enabled"] is False
    assert project.settings["ci_pipeline_variables_minimum_override_role"] == "maintainer"
    branch = project.protected_branches["ci-sync"]
    assert (branch.allow_force_push, branch.push, branch.merge) == (True, Level.MAINTAINER, Level.MAINTAINER)
    assert {name: rule.create for name, rule in project.protected_tags.items()} == {
        "v*": Level.MAINTAINER,
        "*/v*": Level.MAINTAINER,
    }


def test_a_known_good_project_costs_one_get(gitlab: GitLab) -> None:
    api = connect(gitlab)
    api.ensure_project(PATH)
    before = len(gitlab.requests)
    api.ensure_project(PATH)
    assert asked(gitlab)[before:] == ["GET /api/v4/projects/mirrors%2Fgo%2Fledger"]


def test_a_removed_protection_is_back_with_a_release_when_the_last_look_is_an_hour_ago(gitlab: GitLab) -> None:
    now = [1000.0]
    seen = SeenHere(clock=lambda: now[0])
    api = GitLabApi(GitLabOptions(gitlab.url, SecretStr(gitlab.create_token(scopes=["api"]))), seen=seen)
    api.ensure_project(PATH)
    del gitlab.project(PATH).protected_tags["v*"]
    del gitlab.project(PATH).protected_branches["ci-sync"]
    before = len(gitlab.requests)
    now[0] += 3599
    api.find_project(PATH)
    assert (len(gitlab.requests) - before, set(gitlab.project(PATH).protected_tags)) == (1, {"*/v*"})
    now[0] += 1
    api.find_project(PATH)
    assert set(gitlab.project(PATH).protected_tags) == {"v*", "*/v*"}
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True
    del gitlab.project(PATH).protected_tags["v*"]
    now[0] += 3600
    api.ensure_project(PATH)
    assert set(gitlab.project(PATH).protected_tags) == {"v*", "*/v*"}


def test_another_process_verifies_a_good_project_without_writing(gitlab: GitLab) -> None:
    connect(gitlab).ensure_project(PATH)
    before = len(gitlab.requests)
    connect(gitlab).ensure_project(PATH)
    assert {line.split()[0] for line in asked(gitlab)[before:]} == {"GET"}


def test_projects_are_listed_below_a_path_by_their_ids(gitlab: GitLab) -> None:
    gitlab.create_group("mirrors/go")
    gitlab.create_group("mirrors-of-others")
    made = {gitlab.create_project(f"mirrors/go/p{number}").id: f"mirrors/go/p{number}" for number in range(105)}
    gitlab.create_project("mirrors-of-others/go")
    api, found, pages, after = connect(gitlab), dict[int, str](), 0, 0
    while page := api.below("mirrors", after):
        pages, after = pages + 1, page[-1][0]
        found.update(page)
    assert (found, list(found) == sorted(found), pages) == (made, True, 2)


def test_drift_is_mended(gitlab: GitLab) -> None:
    connect(gitlab).ensure_project(PATH)
    project = gitlab.project(PATH)
    project.settings["auto_devops_enabled"] = True
    project.protected_branches["ci-sync"].allow_force_push = False
    del project.protected_tags["*/v*"]
    connect(gitlab).ensure_project(PATH)
    assert project.settings["auto_devops_enabled"] is False
    assert project.protected_branches["ci-sync"].allow_force_push is True
    assert set(project.protected_tags) == {"v*", "*/v*"}


def test_drift_of_a_setting_is_seen_by_the_one_get(gitlab: GitLab) -> None:
    api = connect(gitlab)
    api.ensure_project(PATH)
    gitlab.project(PATH).settings["auto_devops_enabled"] = True
    before = len(gitlab.requests)
    api.ensure_project(PATH)
    assert asked(gitlab)[before:] == ["GET /api/v4/projects/mirrors%2Fgo%2Fledger", "PUT /api/v4/projects/1"]


def test_a_project_made_anew_at_the_same_path_is_set_up_again(gitlab: GitLab) -> None:
    api = connect(gitlab)
    first = api.ensure_project(PATH)
    del gitlab.world.projects[first.id]
    assert api.ensure_project(PATH).id != first.id
    assert "ci-sync" in gitlab.project(PATH).protected_branches


def test_inputs_leave_the_variables_role_alone(gitlab: GitLab) -> None:
    connect(gitlab, pipeline_parameters="inputs").ensure_project(PATH)
    assert gitlab.project(PATH).settings["ci_pipeline_variables_minimum_override_role"] == "no_one_allowed"


def _meanwhile(act: Callable[[], object]) -> faults.Action:
    """Somebody else does something just before the request arrives."""

    def faster(call: faults.Call) -> Iterable[bytes]:
        act()
        return call.forward()

    return faster


def test_somebody_else_was_faster_with_the_group(gitlab: GitLab) -> None:
    gitlab.faults.add("POST /api/v4/groups", _meanwhile(lambda: gitlab.create_group("mirrors/go")))
    assert connect(gitlab).ensure_project(PATH).path == PATH
    assert next(one.status for one in gitlab.requests if one.method == "POST") == 400


def test_somebody_else_was_faster_with_the_project(gitlab: GitLab) -> None:
    gitlab.faults.add("POST /api/v4/projects$", _meanwhile(lambda: gitlab.create_project(PATH)))
    made = connect(gitlab).ensure_project(PATH)
    assert made.id == gitlab.project(PATH).id
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True


def test_somebody_else_was_faster_with_the_protections(gitlab: GitLab) -> None:
    def protect() -> None:
        project = gitlab.project(PATH)
        project.protected_branches["ci-sync"] = ProtectedBranch(99, "ci-sync", allow_force_push=False)
        connect_other.ensure_project(PATH)
        project.protected_branches["ci-sync"].allow_force_push = False

    connect_other = connect(gitlab)
    gitlab.faults.add("POST .*/protected_branches", _meanwhile(protect))
    connect(gitlab).ensure_project(PATH)
    assert 409 in {one.status for one in gitlab.requests}
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True


def test_protected_tags_that_came_meanwhile_are_no_error(gitlab: GitLab) -> None:
    other = connect(gitlab)
    gitlab.faults.add("POST .*/protected_tags", _meanwhile(lambda: other.ensure_project(PATH)))
    connect(gitlab).ensure_project(PATH)
    assert 422 in {one.status for one in gitlab.requests}
    assert set(gitlab.project(PATH).protected_tags) == {"v*", "*/v*"}


def test_rules_behind_a_hundred_others_are_seen_and_not_made_again(gitlab: GitLab) -> None:
    connect(gitlab).ensure_project(PATH)
    rules = gitlab.project(PATH).protected_tags
    ours, before = dict(rules), len(gitlab.requests)
    rules.clear()
    rules.update({f"x{number}": ProtectedTag(f"x{number}", Level.MAINTAINER) for number in range(120)}, **ours)
    connect(gitlab).ensure_project(PATH)
    assert {line.split()[0] for line in asked(gitlab)[before:]} == {"GET"}


def test_two_threads_race_for_one_project(gitlab: GitLab) -> None:
    apis, made, start = [connect(gitlab), connect(gitlab)], [], Barrier(2)

    def ensure(api: GitLabApi) -> None:
        start.wait()
        made.append(api.ensure_project("mirrors/new/sub/ledger"))

    threads = [Thread(target=ensure, args=(api,)) for api in apis]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert made[0] == made[1]
    assert [one.path for one in gitlab.world.projects.values()] == ["mirrors/new/sub/ledger"]


def test_a_path_that_somebody_hidden_holds(gitlab: GitLab) -> None:
    gitlab.create_project("mirrors/go/other")
    gitlab.faults.add("GET /api/v4/projects/mirrors%2Fgo%2Fother", faults.status(404), times=2)
    error = refusal(lambda: connect(gitlab).ensure_project("mirrors/go/other"))
    assert (error.code, "taken" in error.message) == ("project_missing", True)


def test_a_moved_project_names_its_new_place(gitlab: GitLab) -> None:
    made = connect(gitlab).ensure_project(PATH)
    gitlab.create_group("mirrors/elsewhere")
    gitlab.move_project(PATH, "mirrors/elsewhere/ledger")
    error = refusal(lambda: connect(gitlab).ensure_project(PATH))
    assert error.code == "project_missing"
    assert f"moved to project {made.id}" in error.message


def test_an_archived_project_is_refused_before_the_push(gitlab: GitLab) -> None:
    connect(gitlab).ensure_project(PATH)
    gitlab.project(PATH).archived = True
    error = refusal(lambda: connect(gitlab).ensure_project(PATH))
    assert (error.code, "archived" in error.message) == ("gitlab_refused", True)


def test_a_role_that_may_not_make_projects(gitlab: GitLab) -> None:
    gitlab.add_member("mirrors", "weak", Level.REPORTER)
    api = connect(gitlab, token=gitlab.create_token(user="weak", scopes=["api"]))
    assert refusal(lambda: api.ensure_project("mirrors/ledger")).code == "forbidden"
    assert refusal(lambda: api.ensure_project(PATH)).code == "forbidden"


def test_an_answer_about_another_project_is_not_taken_for_ours(gitlab: GitLab) -> None:
    gitlab.faults.add("GET .*/projects/", faults.status(200, '{"id": 7, "path_with_namespace": "mirrors/other"}'))
    error = refusal(lambda: connect(gitlab).ensure_project(PATH))
    assert (error.code, "moved to project mirrors/other" in error.message) == ("project_missing", True)


@pytest.mark.parametrize("what", ["branches", "tags"])
def test_a_protection_that_is_refused_ends_the_set_up(gitlab: GitLab, what: str) -> None:
    gitlab.faults.add(f"POST .*/protected_{what}", faults.status(403, '{"message":"403 Forbidden"}'))
    api = connect(gitlab)
    assert refusal(lambda: api.ensure_project(PATH)).code == "forbidden"
    api.ensure_project(PATH)  # what is not verified is tried again
    assert set(gitlab.project(PATH).protected_tags) == {"v*", "*/v*"}
