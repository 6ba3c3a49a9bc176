"""The GitLab adapter against the stand-in GitLab and against servers that misbehave."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from pydantic import SecretStr

from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.domain.errors import SyncError
from tests.integration.keep_alive import keep_alive_server
from tests.sandbox.gitlab import GitLab, faults
from tests.sandbox.gitlab.model import Level, ProtectedBranch
from tests.sandbox.serve import LoopbackServer

PATH = "mirrors/go/ledger"
TOKEN = "glpat-known-secret-value"


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        yield server


@pytest.fixture
def connect(gitlab: GitLab) -> Callable[..., GitLabApi]:
    """Makes an adapter for `gitlab`, as another process would have it; keywords are GitLabOptions'."""

    def make(**options: Any) -> GitLabApi:
        token = options.pop("token", None) or gitlab.create_token(scopes=["api"])
        return GitLabApi(GitLabOptions(gitlab.url, SecretStr(token), **options))

    return make


def asked(gitlab: GitLab, method: str = "") -> list[str]:
    return [f"{one.method} {one.path}" for one in gitlab.requests if method in one.method]


def refusal(act: Callable[[], object]) -> SyncError:
    with pytest.raises(SyncError) as caught:
        act()
    return caught.value


def everything_said(error: BaseException) -> str:
    """What a log could show of an error: its text, its arguments, its traceback, and all exceptions behind it."""
    said, seen = "".join(traceback.format_exception(error)), error.__context__
    while seen is not None:
        said += repr(seen) + repr(vars(seen))
        seen = seen.__context__
    return said + repr(vars(error))


# --- provisioning -----------------------------------------------------------------------------------------------------


def test_a_new_project_is_empty_and_ready_before_anything_is_pushed(
    gitlab: GitLab, connect: Callable[..., GitLabApi]
) -> None:
    made = connect(ci_config_path="precache.yml@platform/ci").ensure_project(PATH)
    project = gitlab.project(PATH)
    assert gitlab.refs(PATH) == {}
    assert made.clone_url == f"{gitlab.url}/{PATH}.git"
    assert project.visibility == "private"
    assert project.settings["ci_config_path"] == "precache.yml@platform/ci"
    assert project.settings["auto_devops_enabled"] is False
    assert project.settings["ci_pipeline_variables_minimum_override_role"] == "maintainer"
    branch = project.protected_branches["ci-sync"]
    assert (branch.allow_force_push, branch.push, branch.merge) == (True, Level.MAINTAINER, Level.MAINTAINER)
    assert {name: rule.create for name, rule in project.protected_tags.items()} == {
        "v*": Level.MAINTAINER,
        "*/v*": Level.MAINTAINER,
    }


def test_a_known_good_project_costs_one_get(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    api = connect()
    api.ensure_project(PATH)
    before = len(gitlab.requests)
    api.ensure_project(PATH)
    assert asked(gitlab)[before:] == ["GET /api/v4/projects/mirrors%2Fgo%2Fledger"]


def test_another_process_verifies_a_good_project_without_writing(
    gitlab: GitLab, connect: Callable[..., GitLabApi]
) -> None:
    connect().ensure_project(PATH)
    before = len(gitlab.requests)
    connect().ensure_project(PATH)
    assert {line.split()[0] for line in asked(gitlab)[before:]} == {"GET"}


def test_drift_is_mended(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    connect().ensure_project(PATH)
    project = gitlab.project(PATH)
    project.settings["auto_devops_enabled"] = True
    project.protected_branches["ci-sync"].allow_force_push = False
    del project.protected_tags["*/v*"]
    connect().ensure_project(PATH)
    assert project.settings["auto_devops_enabled"] is False
    assert project.protected_branches["ci-sync"].allow_force_push is True
    assert set(project.protected_tags) == {"v*", "*/v*"}


def test_drift_of_a_setting_is_seen_by_the_one_get(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    api = connect()
    api.ensure_project(PATH)
    gitlab.project(PATH).settings["auto_devops_enabled"] = True
    before = len(gitlab.requests)
    api.ensure_project(PATH)
    assert asked(gitlab)[before:] == ["GET /api/v4/projects/mirrors%2Fgo%2Fledger", "PUT /api/v4/projects/1"]


def test_a_project_made_anew_at_the_same_path_is_set_up_again(
    gitlab: GitLab, connect: Callable[..., GitLabApi]
) -> None:
    api = connect()
    first = api.ensure_project(PATH)
    del gitlab.world.projects[first.id]
    assert api.ensure_project(PATH).id != first.id
    assert "ci-sync" in gitlab.project(PATH).protected_branches


def test_inputs_leave_the_variables_role_alone(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    connect(pipeline_parameters="inputs").ensure_project(PATH)
    assert gitlab.project(PATH).settings["ci_pipeline_variables_minimum_override_role"] == "no_one_allowed"


def _meanwhile(act: Callable[[], object]) -> faults.Action:
    """Somebody else does something just before the request arrives."""

    def faster(call: faults.Call) -> Iterable[bytes]:
        act()
        return call.forward()

    return faster


def test_somebody_else_was_faster_with_the_group(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    gitlab.faults.add("POST /api/v4/groups", _meanwhile(lambda: gitlab.create_group("mirrors/go")))
    assert connect().ensure_project(PATH).path == PATH
    assert next(one.status for one in gitlab.requests if one.method == "POST") == 400


def test_somebody_else_was_faster_with_the_project(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    gitlab.faults.add("POST /api/v4/projects$", _meanwhile(lambda: gitlab.create_project(PATH)))
    made = connect().ensure_project(PATH)
    assert made.id == gitlab.project(PATH).id
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True


def test_somebody_else_was_faster_with_the_protections(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    def protect() -> None:
        project = gitlab.project(PATH)
        project.protected_branches["ci-sync"] = ProtectedBranch(99, "ci-sync", allow_force_push=False)
        connect_other.ensure_project(PATH)
        project.protected_branches["ci-sync"].allow_force_push = False

    connect_other = connect()
    gitlab.faults.add("POST .*/protected_branches", _meanwhile(protect))
    connect().ensure_project(PATH)
    assert 409 in {one.status for one in gitlab.requests}
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True


def test_protected_tags_that_came_meanwhile_are_no_error(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    other = connect()
    gitlab.faults.add("POST .*/protected_tags", _meanwhile(lambda: other.ensure_project(PATH)))
    connect().ensure_project(PATH)
    assert 422 in {one.status for one in gitlab.requests}
    assert set(gitlab.project(PATH).protected_tags) == {"v*", "*/v*"}


def test_two_threads_race_for_one_project(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    apis, made, start = [connect(), connect()], [], Barrier(2)

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


def test_a_path_that_somebody_hidden_holds(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    gitlab.create_project("mirrors/go/other")
    gitlab.faults.add("GET /api/v4/projects/mirrors%2Fgo%2Fother", faults.status(404), times=2)
    error = refusal(lambda: connect().ensure_project("mirrors/go/other"))
    assert (error.code, "taken" in error.message) == ("project_missing", True)


def test_a_moved_project_names_its_new_place(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    made = connect().ensure_project(PATH)
    gitlab.create_group("mirrors/elsewhere")
    gitlab.move_project(PATH, "mirrors/elsewhere/ledger")
    error = refusal(lambda: connect().ensure_project(PATH))
    assert error.code == "project_missing"
    assert f"moved to project {made.id}" in error.message


def test_an_archived_project_is_refused_before_the_push(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    connect().ensure_project(PATH)
    gitlab.project(PATH).archived = True
    error = refusal(lambda: connect().ensure_project(PATH))
    assert (error.code, "archived" in error.message) == ("gitlab_refused", True)


def test_a_role_that_may_not_make_projects(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    gitlab.add_member("mirrors", "weak", Level.REPORTER)
    api = connect(token=gitlab.create_token(user="weak", scopes=["api"]))
    assert refusal(lambda: api.ensure_project("mirrors/ledger")).code == "forbidden"
    assert refusal(lambda: api.ensure_project(PATH)).code == "forbidden"


# --- pipelines and logs -----------------------------------------------------------------------------------------------


@pytest.fixture
def ready(gitlab: GitLab, tmp_path: Path) -> int:
    """A project with a commit on ci-sync and a CI file that fails as it is told."""
    ci_file = tmp_path / "ci.yml"
    ci_file.write_text(
        "spec:\n  inputs:\n    module:\n      default: none\n---\n"
        "workflow:\n  name: 'modsync $MODSYNC_RUN $[[ inputs.module ]]'\n"
        "allowed:\n  script: [a]\n  allow_failure: true\nwarm:\n  script: [b]\n"
    )
    gitlab.settings.ci_file = ci_file
    project = gitlab.create_project(PATH)
    project.settings["ci_pipeline_variables_minimum_override_role"] = "maintainer"
    gitlab.world.repository(project).seed("ci-sync", {"go.mod": "module example.com/x\n"}, "release")
    return project.id


def test_variables_reach_the_pipeline(gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]) -> None:
    hostile = "$(id) `id` \"';\n$CI_JOB_TOKEN"
    made = connect().create_pipeline(ready, "ci-sync", {"MODSYNC_RUN": "r1", "X": hostile})
    kept = gitlab.world.pipelines[made.id].variables
    assert {key: one.value for key, one in kept.items()} == {"MODSYNC_RUN": "r1", "X": hostile}


def test_inputs_take_the_place_of_variables(gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]) -> None:
    gitlab.project(PATH).settings["ci_pipeline_variables_minimum_override_role"] = "no_one_allowed"
    made = connect(pipeline_parameters="inputs").create_pipeline(ready, "ci-sync", {"module": "example.com/x"})
    assert made.name is not None
    assert made.name.endswith("example.com/x")
    error = refusal(lambda: connect().create_pipeline(ready, "ci-sync", {"module": "example.com/x"}))
    assert (error.code, "set pipeline variables" in error.message) == ("pipeline_refused", True)


def test_a_missing_ci_file_is_its_own_error(gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]) -> None:
    gitlab.settings.ci_file = None
    assert refusal(lambda: connect().create_pipeline(ready, "ci-sync", {})).code == "no_ci_config"
    gitlab.project(PATH).settings["ci_config_path"] = "precache.yml@platform/none"
    error = refusal(lambda: connect().create_pipeline(ready, "ci-sync", {}))
    assert (error.code, "platform/none" in error.message) == ("no_ci_config", True)


def test_an_unknown_status_is_passed_on(gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]) -> None:
    made = connect().create_pipeline(ready, "ci-sync", {})
    gitlab.force_status(made.id, "waiting_for_callback")
    assert connect().pipeline(ready, made.id).status == "waiting_for_callback"


def _fail(gitlab: GitLab, log: bytes) -> None:
    for _ in range(2):
        job = gitlab.jobs.take(lambda: False)
        assert job is not None
        gitlab.jobs.append(job.job_id, log)
        gitlab.jobs.finish(job.job_id, "failed")


def test_the_guilty_job_is_the_one_that_may_not_fail_and_its_log_is_plain(
    gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]
) -> None:
    token = gitlab.create_token(scopes=["api"])
    api = connect(token=token)
    made = api.create_pipeline(ready, "ci-sync", {})
    marks = b"\x1b[0Ksection_start:1700000000:step_script[collapsed=true]\r\x1b[0K\x1b[32;1mWarming\x1b[0;m\n"
    lines = b"".join(b"line %d\r\n" % number for number in range(40))
    _fail(gitlab, marks + lines + b" 10%\r 99%\rdone\n\n" + f"curl -H 'X: {token}' \xff\n".encode("latin-1") + marks)
    found = api.failed_job(ready, made.id)
    assert found is not None
    name, page, log = found
    assert name == "warm"
    assert page.startswith(gitlab.url)
    shown = log.splitlines()
    assert len(shown) == 30
    assert (shown[0], shown[-1], shown[-3]) == ("line 13", "Warming", "done")
    assert token not in log


def test_a_log_that_cannot_be_had_does_not_hide_the_job(
    gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]
) -> None:
    made = connect().create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"x")
    gitlab.faults.add("GET .*/trace", faults.status(500))
    found = connect().failed_job(ready, made.id)
    assert found is not None
    assert (found[0], found[2].startswith("(log not available: gitlab_unavailable")) == ("warm", True)


def test_an_endless_log_is_held_in_bounded_memory(
    gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi]
) -> None:
    made = connect().create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"x" * (8 * 1024 * 1024) + b"\nthe end\n")
    found = connect().failed_job(ready, made.id)
    assert found is not None
    assert found[2].splitlines()[-1] == "the end"
    assert len(found[2]) < 1000


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "code", "waits"),
    [
        (faults.rate_limited(17), "rate_limited", True),
        (faults.rate_limited_until(60), "rate_limited", True),
        (faults.rate_limited_bare(), "rate_limited", False),
        (faults.unavailable(30), "gitlab_unavailable", True),
        (faults.status(502, "<html>Bad gateway</html>"), "gitlab_unavailable", False),
        (faults.reset(), "gitlab_unreachable", False),
        (faults.truncated(), "gitlab_unreachable", False),
        (faults.status(200, "<html>log in</html>"), "gitlab_unreachable", False),
        (faults.status(200, "[1]"), "gitlab_unreachable", False),
        (faults.status(200, '{"id": "1"}'), "gitlab_unreachable", False),
        (faults.status(200, "x" * 100), "gitlab_unreachable", False),
        (faults.status(418, '{"message": null}'), "gitlab_refused", False),
    ],
)
def test_a_failure_is_asked_once_and_says_its_code(
    gitlab: GitLab, connect: Callable[..., GitLabApi], action: faults.Action, code: str, waits: bool
) -> None:
    gitlab.faults.add("GET /api/v4/projects", action)
    error = refusal(lambda: connect().ensure_project(PATH))
    assert (error.code, error.retry_after is not None) == (code, waits)
    assert PATH in error.message
    gitlab.stop()  # waits for what it still does, so that its record is whole
    assert len(gitlab.requests) == 1


@pytest.mark.parametrize("action", [faults.accept_then_cut(), faults.truncated(), faults.reset()])
def test_a_post_whose_answer_is_cut_off_is_not_sent_twice(
    gitlab: GitLab, ready: int, connect: Callable[..., GitLabApi], action: faults.Action
) -> None:
    gitlab.faults.add("POST .*/pipeline$", action)
    error = refusal(lambda: connect().create_pipeline(ready, "ci-sync", {}))
    assert error.code == "gitlab_unreachable"
    gitlab.stop()
    assert len(asked(gitlab, "POST")) == 1
    assert len(gitlab.pipelines(PATH)) <= 1


def test_a_creation_of_a_project_that_was_cut_off_is_found_the_next_time(
    gitlab: GitLab, connect: Callable[..., GitLabApi]
) -> None:
    gitlab.faults.add("POST /api/v4/projects$", faults.accept_then_cut())
    api = connect()
    assert refusal(lambda: api.ensure_project(PATH)).code == "gitlab_unreachable"
    assert api.ensure_project(PATH).id == gitlab.project(PATH).id
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True


def test_silence_ends_after_the_time_limit(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    gitlab.faults.add("GET", faults.slow(30))
    error = refusal(lambda: connect(timeout_seconds=0.2).ensure_project(PATH))
    assert (error.code, "time limit" in error.message) == ("gitlab_unreachable", True)


def test_nobody_listens(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    api = connect()
    gitlab.stop()
    error = refusal(lambda: api.ensure_project(PATH))
    assert (error.code, "refused" in error.message) == ("gitlab_unreachable", True)


def test_maintenance(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    gitlab.settings.read_only = "maintenance"
    gitlab.settings.retry_after = 12
    error = refusal(lambda: connect().ensure_project(PATH))
    assert (error.code, error.retry_after) == ("read_only", 12.0)


def test_a_bad_token(gitlab: GitLab, connect: Callable[..., GitLabApi]) -> None:
    expired = gitlab.create_token(scopes=["api"])
    gitlab.revoke(expired)
    assert refusal(lambda: connect(token=expired).ensure_project(PATH)).code == "token_expired"
    assert refusal(lambda: connect(token="unknown").ensure_project(PATH)).code == "token_expired"
    narrow = gitlab.create_token(scopes=["read_repository"])
    assert refusal(lambda: connect(token=narrow).ensure_project(PATH)).code == "forbidden"


# --- the token --------------------------------------------------------------------------------------------------------


class Stranger:
    """A server that must never be asked anything; `asked` has the headers it got all the same."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.append({key: str(value) for key, value in environ.items() if key.startswith("HTTP_")})
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"[]"]


def _sends_away(target: str) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """A GitLab that redirects, and whose lists go on elsewhere."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].endswith("/pipelines"):
            link = f'<{target}/api/v4/projects/1/pipelines?page=2>; rel="next"'
            start_response("200 OK", [("Content-Type", "application/json"), ("Link", link)])
            return [json.dumps([]).encode()]
        start_response("302 Found", [("Location", f"{target}/api/v4/projects/1")])
        return [b""]

    return app


def test_the_token_goes_to_no_other_host() -> None:
    stranger = Stranger()
    with LoopbackServer(stranger) as elsewhere, LoopbackServer(_sends_away(elsewhere.url)) as server:
        api = GitLabApi(GitLabOptions(server.url, SecretStr(TOKEN)))
        assert refusal(lambda: api.ensure_project(PATH)).code == "project_missing"
        assert refusal(lambda: api.create_pipeline(1, "ci-sync", {})).code == "project_missing"
        assert api.find_pipeline(1, "x") is None
    assert stranger.asked == []


def _echoes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("400 Bad Request", [("Content-Type", "application/json")])
    return [json.dumps({"message": f"cannot use {environ.get('HTTP_PRIVATE_TOKEN')}"}).encode()]


def test_the_token_is_in_no_exception() -> None:
    with LoopbackServer(_echoes) as server:
        options = GitLabOptions(server.url, SecretStr(TOKEN))
        error = refusal(lambda: GitLabApi(options).ensure_project(PATH))
        assert "cannot use" in error.message
        server.stop()
        down = refusal(lambda: GitLabApi(options).ensure_project(PATH))
        broken = refusal(lambda: GitLabApi(GitLabOptions(server.url, SecretStr(f"{TOKEN}\nX: y"))).ensure_project(PATH))
    assert TOKEN not in repr(options)
    for one in (error, down, broken):
        assert TOKEN not in everything_said(one)


def test_the_environment_changes_nothing(
    gitlab: GitLab, connect: Callable[..., GitLabApi], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert connect().ensure_project(PATH).path == PATH


def test_an_http_proxy_of_ours_is_used() -> None:
    stranger = Stranger()
    with LoopbackServer(stranger) as proxy:
        options = GitLabOptions("http://gitlab.invalid", SecretStr(TOKEN), http_proxy=proxy.url)
        GitLabApi(options).find_pipeline(1, "x")
    assert [headers["HTTP_HOST"] for headers in stranger.asked] == ["gitlab.invalid"]


def test_connections_are_kept_and_not_shared_with_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with keep_alive_server(b"[]") as (url, ports):
        client = GitLabApi(GitLabOptions(url, SecretStr(TOKEN)))
        for _ in range(2):
            client.find_pipeline(1, "x")
        monkeypatch.setattr("os.getpid", lambda: -1)
        client.find_pipeline(1, "x")
        client.close()
        client.find_pipeline(1, "x")
    assert ports[0] == ports[1]
    assert len(set(ports)) == 3
