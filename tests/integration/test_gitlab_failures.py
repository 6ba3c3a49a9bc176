"""The GitLab adapter when GitLab fails, refuses, lies or leads away: one code each, one request, no token told."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from pydantic import SecretStr

from app.adapters.gitlab import GitLabApi, GitLabOptions
from tests.integration.gitlab_helpers import PATH, asked, connect, refusal
from tests.integration.keep_alive import keep_alive_server
from tests.sandbox.gitlab import GitLab, faults
from tests.sandbox.serve import LoopbackServer

TOKEN = "glpat-known-secret-value"


def everything_said(error: BaseException) -> str:
    """What a log could show of an error: its text, its arguments, its traceback, and all exceptions behind it."""
    said, seen = "".join(traceback.format_exception(error)), error.__context__
    while seen is not None:
        said += repr(seen) + repr(vars(seen))
        seen = seen.__context__
    return said + repr(vars(error))


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
    gitlab: GitLab, action: faults.Action, code: str, waits: bool
) -> None:
    gitlab.faults.add("GET /api/v4/projects", action)
    error = refusal(lambda: connect(gitlab).ensure_project(PATH))
    assert (error.code, error.retry_after is not None) == (code, waits)
    assert PATH in error.message
    gitlab.stop()  # waits for what it still does, so that its record is whole
    assert len(gitlab.requests) == 1


@pytest.mark.parametrize("action", [faults.accept_then_cut(), faults.truncated(), faults.reset()])
def test_a_post_whose_answer_is_cut_off_is_not_sent_twice(gitlab: GitLab, ready: int, action: faults.Action) -> None:
    gitlab.faults.add("POST .*/pipeline$", action)
    error = refusal(lambda: connect(gitlab).create_pipeline(ready, "ci-sync", {}))
    assert error.code == "gitlab_unreachable"
    gitlab.stop()
    assert len(asked(gitlab, "POST")) == 1
    assert len(gitlab.pipelines(PATH)) <= 1


def test_a_creation_of_a_project_that_was_cut_off_is_found_the_next_time(gitlab: GitLab) -> None:
    gitlab.faults.add("POST /api/v4/projects$", faults.accept_then_cut())
    api = connect(gitlab)
    assert refusal(lambda: api.ensure_project(PATH)).code == "gitlab_unreachable"
    assert api.ensure_project(PATH).id == gitlab.project(PATH).id
    assert gitlab.project(PATH).protected_branches["ci-sync"].allow_force_push is True


@pytest.mark.parametrize("action", [faults.accept_then_cut(), faults.reset()], ids=["after", "before"])
def test_a_project_ends_the_same_wherever_its_creation_is_cut_off(gitlab: GitLab, action: faults.Action) -> None:
    """Each request of it in turn, before and after it takes effect; then another process begins anew."""
    connect(gitlab).ensure_project(PATH)
    whole, total = _set_up(gitlab, PATH), len(gitlab.requests)
    assert total > 8
    for number in range(total):
        path = f"mirrors/new{number}/ledger"
        fault = gitlab.faults.add("/api/v4/", action, skip=number)
        assert refusal(partial(connect(gitlab).ensure_project, path)).code == "gitlab_unreachable"
        assert fault.used == 1
        connect(gitlab).ensure_project(path)
        assert _set_up(gitlab, path) == whole, f"request {number}: {gitlab.requests[total + number]}"


def _set_up(gitlab: GitLab, path: str) -> tuple[object, ...]:
    project = gitlab.project(path)
    branches = {
        name: (rule.push, rule.merge, rule.allow_force_push) for name, rule in project.protected_branches.items()
    }
    tags = {name: rule.create for name, rule in project.protected_tags.items()}
    return project.settings, project.visibility, branches, tags


def test_silence_ends_after_the_time_limit(gitlab: GitLab) -> None:
    gitlab.faults.add("GET", faults.slow(30))
    error = refusal(lambda: connect(gitlab, timeout_seconds=0.2).ensure_project(PATH))
    assert (error.code, "time limit" in error.message) == ("gitlab_unreachable", True)


def test_an_answer_that_drips_ends_after_the_time_for_a_whole_one(gitlab: GitLab, ready: int) -> None:
    gitlab.faults.add("GET", faults.dripping(), times=9)
    error = refusal(lambda: connect(gitlab, total_seconds=0.3).find_project(PATH))
    assert (error.code, "time limit" in error.message) == ("gitlab_unreachable", True)


def test_nobody_listens(gitlab: GitLab) -> None:
    api = connect(gitlab)
    gitlab.stop()
    error = refusal(lambda: api.ensure_project(PATH))
    assert (error.code, "refused" in error.message) == ("gitlab_unreachable", True)


def test_maintenance(gitlab: GitLab) -> None:
    gitlab.settings.read_only = "maintenance"
    gitlab.settings.retry_after = 12
    error = refusal(lambda: connect(gitlab).ensure_project(PATH))
    assert (error.code, error.retry_after) == ("read_only", 12.0)


def test_a_bad_token(gitlab: GitLab) -> None:
    expired = gitlab.create_token(scopes=["api"])
    gitlab.revoke(expired)
    assert refusal(lambda: connect(gitlab, token=expired).ensure_project(PATH)).code == "token_expired"
    assert refusal(lambda: connect(gitlab, token="unknown").ensure_project(PATH)).code == "token_expired"
    narrow = gitlab.create_token(scopes=["read_repository"])
    assert refusal(lambda: connect(gitlab, token=narrow).ensure_project(PATH)).code == "forbidden"


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


def test_the_environment_changes_nothing(gitlab: GitLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert connect(gitlab).ensure_project(PATH).path == PATH


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
