"""The stand-in GitLab's API, asked by a real python-gitlab."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import gitlab as client
import pytest
import requests
from gitlab import exceptions

from tests.integration.gitlab_world import Clock, connect, make_project
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.model import Level

LISTED = 45


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab", clock=clock) as running:
        running.create_group("platform/go")
        yield running


@pytest.fixture
def token(server: GitLab) -> str:
    return server.create_token()


@pytest.fixture
def api(server: GitLab, token: str) -> client.Gitlab:
    return connect(server, token)


def said(caught: "pytest.ExceptionInfo[Any]") -> tuple[int | None, Any]:
    return caught.value.response_code, caught.value.error_message


def test_version_user_and_the_token_itself(server: GitLab) -> None:
    ends = date(2031, 5, 1)
    api = connect(server, server.create_token(scopes=["read_api"], expires_at=ends))
    api.auth()
    own = api.personal_access_tokens.get("self")
    assert (api.version()[0], api.user.username if api.user else "") == ("18.5.1-ee", "modsync")
    assert (own.scopes, own.expires_at, own.revoked, own.active) == (["read_api"], "2031-05-01", False, True)


def test_a_bad_an_expired_and_a_revoked_token_are_401(server: GitLab, token: str) -> None:
    expired = server.create_token(expires_at=datetime.now(UTC).date())
    server.revoke(token)
    answers = [requests.get(f"{server.url}/api/v4/user", headers={"PRIVATE-TOKEN": secret}, timeout=9)
               for secret in ("wrong", expired, token)]  # fmt: skip
    assert [answer.status_code for answer in answers] == [401] * 3
    assert answers[0].json() == {"message": "401 Unauthorized"}
    assert [answer.json()["error"] for answer in answers[1:]] == ["invalid_token"] * 2
    with pytest.raises(exceptions.GitlabAuthenticationError):
        connect(server, "wrong").auth()


def test_a_bearer_is_as_good_and_a_scope_too_few_is_403(server: GitLab, token: str) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{server.url}/api/v4/user", headers=bearer, timeout=9).status_code == 200
    reader = connect(server, server.create_token(scopes=["read_api"]))
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        reader.projects.create({"name": "x"})
    assert caught.value.response_code == 403
    answer = requests.post(f"{server.url}/api/v4/projects", headers={"PRIVATE-TOKEN": reader.private_token or ""})
    assert answer.json()["error"] == "insufficient_scope"


def test_groups_by_id_path_and_as_subgroups(api: client.Gitlab) -> None:
    parent = api.groups.get("platform/go")
    made = api.groups.create({"name": "Deep", "path": "deep", "parent_id": parent.id})
    assert (made.full_path, made.parent_id) == ("platform/go/deep", parent.id)
    assert api.groups.get(made.id).full_path == "platform/go/deep"
    assert [one.full_path for one in api.groups.list(get_all=True)] == ["platform", "platform/go", "platform/go/deep"]
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        api.groups.create({"name": "Deep", "path": "deep", "parent_id": parent.id})
    assert said(caught) == (400, 'Failed to save group {:path=>["has already been taken"]}')


def test_an_unencoded_path_is_a_404(server: GitLab, token: str) -> None:
    answer = requests.get(f"{server.url}/api/v4/groups/platform/go", headers={"PRIVATE-TOKEN": token}, timeout=9)
    assert (answer.status_code, answer.json()) == (404, {"error": "404 Not Found"})


def test_a_project_is_made_empty_and_found_by_id_and_path(server: GitLab, api: client.Gitlab) -> None:
    made = make_project(api, "platform/go", "widgets", auto_devops_enabled=False, lfs_enabled=False)
    for found in (api.projects.get(made.id), api.projects.get("platform/go/widgets")):
        assert (found.path_with_namespace, found.empty_repo, found.default_branch) == (
            "platform/go/widgets",
            True,
            None,
        )
        assert (found.visibility, found.auto_devops_enabled, found.lfs_enabled) == ("private", False, False)
        assert found.http_url_to_repo == f"{server.url}/platform/go/widgets.git"
    assert [one.id for one in api.projects.list(search="widg", iterator=True)] == [made.id]


def test_settings_are_changed_and_kept(api: client.Gitlab) -> None:
    made = make_project(api, "platform/go", "widgets")
    assert made.ci_pipeline_variables_minimum_override_role == "no_one_allowed"
    made.ci_config_path = "precache.yml@platform/ci-templates"
    made.ci_pipeline_variables_minimum_override_role = "developer"
    made.save()
    found = api.projects.get(made.id)
    assert found.ci_config_path == "precache.yml@platform/ci-templates"
    assert found.ci_pipeline_variables_minimum_override_role == "developer"
    with pytest.raises(exceptions.GitlabUpdateError) as caught:
        api.projects.update(made.id, {"ci_pipeline_variables_minimum_override_role": "guest"})
    assert said(caught) == (400, "ci_pipeline_variables_minimum_override_role does not have a valid value")


def test_a_taken_project_says_so_three_times(api: client.Gitlab) -> None:
    make_project(api, "platform/go", "widgets")
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        make_project(api, "platform/go", "widgets")
    taken = ["has already been taken"]
    assert said(caught) == (400, {"project_namespace.name": taken, "name": taken, "path": taken})
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        make_project(api, "platform/go", "widgets", path="other")
    assert said(caught) == (400, {"project_namespace.name": taken, "name": taken})


def test_two_who_race_for_a_project_end_with_one(server: GitLab, token: str) -> None:
    barrier, outcomes = threading.Barrier(4), []

    def race() -> None:
        api = connect(server, token)
        barrier.wait()
        try:
            make_project(api, "platform/go", "widgets")
            outcomes.append(201)
        except exceptions.GitlabCreateError as error:
            outcomes.append(error.response_code or 0)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [201, 400, 400, 400]


@pytest.mark.parametrize("path", ["-x", "x.git", "a b", "ä", ".atom"])
def test_an_illegal_path_is_refused(api: client.Gitlab, path: str) -> None:
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        make_project(api, "platform/go", "fine", path=path)
    assert "path" in caught.value.error_message


def test_no_access_looks_like_not_there(server: GitLab, api: client.Gitlab) -> None:
    made = make_project(api, "platform/go", "widgets")
    stranger = connect(server, server.create_token(user="stranger"))
    with pytest.raises(exceptions.GitlabGetError) as caught:
        stranger.projects.get(made.id)
    assert said(caught) == (404, "404 Project Not Found")
    server.add_member("platform/go/widgets", "stranger", Level.DEVELOPER)
    assert stranger.projects.get(made.id).id == made.id
    with pytest.raises(exceptions.GitlabListError) as listed:
        stranger.projects.get(made.id).protectedbranches.list()
    assert listed.value.response_code == 403


def test_where_one_may_not_create(server: GitLab, api: client.Gitlab) -> None:
    stranger = connect(server, server.create_token(user="stranger"))
    number = api.groups.get("platform").id
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        stranger.projects.create({"name": "x", "namespace_id": number})
    assert said(caught) == (404, "404 Namespace Not Found")
    server.add_member("platform", "stranger", Level.REPORTER)
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        stranger.projects.create({"name": "x", "namespace_id": number})
    assert said(caught) == (400, {"namespace": ["is not valid"]})


def test_protected_branches(api: client.Gitlab) -> None:
    project = make_project(api, "platform/go", "widgets")
    project.protectedbranches.create({"name": "ci-sync", "allow_force_push": True, "push_access_level": 40})
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        project.protectedbranches.create({"name": "ci-sync"})
    assert said(caught) == (409, "Protected branch 'ci-sync' already exists")
    rule = project.protectedbranches.get("ci-sync")
    assert (rule.allow_force_push, rule.push_access_levels[0]["access_level"]) == (True, 40)
    change = {"allow_force_push": False, "push_access_level": 30, "allowed_to_push": [{"access_level": 30}]}
    project.protectedbranches.update("ci-sync", change)
    assert project.protectedbranches.get("ci-sync").push_access_levels[0]["access_level"] == 40  # the free edition
    assert [one.allow_force_push for one in project.protectedbranches.list(get_all=True)] == [False]
    project.protectedbranches.delete("ci-sync")
    with pytest.raises(exceptions.GitlabGetError):
        project.protectedbranches.get("ci-sync")


def test_protected_tags(api: client.Gitlab) -> None:
    project = make_project(api, "platform/go", "widgets")
    project.protectedtags.create({"name": "*v*", "create_access_level": 40})
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        project.protectedtags.create({"name": "*v*"})
    assert said(caught) == (422, ["Name has already been taken"])
    assert [one.name for one in project.protectedtags.list(get_all=True)] == ["*v*"]
    project.protectedtags.delete("*v*")
    assert project.protectedtags.list(get_all=True) == []


def test_branches_tags_and_commits_are_read(server: GitLab, api: client.Gitlab) -> None:
    server.create_project("platform/go/read", {"go.mod": "module example.com/read\n"})
    project = api.projects.get("platform/go/read")
    branch = project.branches.get("main")
    assert (branch.default, branch.commit["id"]) == (True, server.refs("platform/go/read")["refs/heads/main"])
    assert project.commits.get(branch.commit["id"][:9]).id == project.commits.get("main").id == branch.commit["id"]
    assert project.files.raw("go.mod", ref="main") == b"module example.com/read\n"
    for missing in (project.branches, project.tags, project.commits):
        with pytest.raises(exceptions.GitlabGetError) as caught:
            missing.get("no/where")
        assert caught.value.response_code == 404


def test_a_moved_project_answers_with_its_new_place(server: GitLab, token: str, api: client.Gitlab) -> None:
    made = make_project(api, "platform/go", "old")
    server.move_project("platform/go/old", "platform/new")
    place = f"{server.url}/api/v4/projects/platform%2Fgo%2Fold/pipelines?ref=x"
    answer = requests.get(place, headers={"PRIVATE-TOKEN": token}, allow_redirects=False, timeout=9)
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"{server.url}/api/v4/projects/{made.id}/pipelines?ref=x"
    assert api.projects.get("platform/new").id == made.id


def test_pages_have_links_and_totals_up_to_a_limit(server: GitLab, token: str, api: client.Gitlab) -> None:
    for number in range(LISTED):
        api.groups.create({"name": f"g{number:02}", "path": f"g{number:02}"})
    page = requests.get(f"{server.url}/api/v4/groups?page=2", headers={"PRIVATE-TOKEN": token}, timeout=9)
    shown = {name: page.headers[name] for name in ("X-Total", "X-Total-Pages", "X-Page", "X-Next-Page", "X-Prev-Page")}
    assert (len(page.json()), list(shown.values())) == (20, [str(LISTED + 2), "3", "2", "3", "1"])
    assert 'rel="last"' in page.headers["Link"]
    server.settings.totals_limit = LISTED
    page = requests.get(f"{server.url}/api/v4/groups?per_page=900", headers={"PRIVATE-TOKEN": token}, timeout=9)
    assert "X-Total" not in page.headers
    assert "last" not in page.headers["Link"]
    assert len(list(api.groups.list(iterator=True))) == LISTED + 2


def test_writes_to_a_read_only_instance_are_503(server: GitLab, api: client.Gitlab) -> None:
    server.settings.read_only, server.settings.retry_after = "maintenance", 7
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        api.groups.create({"name": "x", "path": "x"})
    assert caught.value.response_code == 503
    assert api.groups.get("platform").id


def test_thirty_bad_logins_ban_for_an_hour(server: GitLab, token: str, clock: Clock) -> None:
    def look(secret: str) -> requests.Response:
        return requests.get(f"{server.url}/api/v4/user", headers={"PRIVATE-TOKEN": secret}, timeout=9)

    def ask(secret: str) -> int:
        return look(secret).status_code

    server.settings.old_ban = True
    assert [ask("wrong") for _ in range(29)] == [401] * 29
    assert ask(token) == 200  # a success starts the count anew
    assert [ask("wrong") for _ in range(30)] == [401] * 30
    assert (ask(token), ask("wrong")) == (403, 403)
    assert (look(token).text, look(token).headers["Content-Type"]) == ("Forbidden\n", "text/plain")
    server.settings.old_ban = False
    assert ask(token) == 200  # since 15 the ban is git's alone
    server.settings.old_ban = True
    assert ask(token) == 403
    clock.advance(timedelta(hours=1, seconds=1).total_seconds())
    assert ask(token) == 200


def test_requests_are_recorded_without_secrets(server: GitLab, token: str, api: client.Gitlab) -> None:
    requests.get(f"{server.url}/api/v4/user?private_token={token}", timeout=9)
    api.groups.get("platform/go")
    lines = [(one.method, one.path, one.status) for one in server.requests]
    assert lines == [("GET", "/api/v4/user", 200), ("GET", "/api/v4/groups/platform%2Fgo", 200)]
    assert token not in repr(server.requests)


def test_without_a_token_only_public_things_are_there(server: GitLab, api: client.Gitlab) -> None:
    server.create_group("open", visibility="public")
    make_project(api, "open", "p", visibility="public")
    make_project(api, "open", "secret")
    nobody = connect(server, None)
    assert nobody.projects.get("open/p").visibility == "public"
    with pytest.raises(exceptions.GitlabGetError) as caught:
        nobody.projects.get("open/secret")
    assert said(caught) == (404, "404 Project Not Found")
    with pytest.raises(exceptions.GitlabAuthenticationError):
        nobody.groups.create({"name": "x", "path": "x"})


def test_a_project_is_no_more_visible_than_its_group(api: client.Gitlab) -> None:
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        make_project(api, "platform/go", "open", visibility="public")
    assert said(caught) == (400, {"visibility_level": ["public is not allowed in a private group."]})
