"""Faults of the stand-in GitLab, as python-gitlab, requests and git see them."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests
from gitlab import exceptions

from tests.integration.gitlab_world import Worktree, connect, make_project
from tests.sandbox.gitlab import GitLab, faults

PATH = "platform/widgets"
CI_SYNC = "HEAD:refs/heads/ci-sync"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as running:
        running.create_project(PATH)
        yield running


@pytest.fixture
def token(server: GitLab) -> str:
    return server.create_token()


@pytest.fixture
def work(tmp_path: Path) -> Worktree:
    return Worktree.create(tmp_path / "work")


def get(server: GitLab, token: str, path: str = "user") -> requests.Response:
    return requests.get(f"{server.url}/api/v4/{path}", headers={"PRIVATE-TOKEN": token}, timeout=9)


def test_a_fault_hits_so_many_matching_requests(server: GitLab, token: str) -> None:
    fault = server.faults.add(r"^GET /api/v4/user$", faults.status(500), times=2, skip=1)
    assert get(server, token, "version").status_code == 200
    assert [get(server, token).status_code for _ in range(4)] == [200, 500, 500, 200]
    assert fault.used == 2
    server.faults.add("", faults.status(500), times=99)
    server.faults.clear()
    assert get(server, token).status_code == 200


def test_429_in_its_three_forms(server: GitLab, token: str) -> None:
    for action in (faults.rate_limited(17), faults.rate_limited_bare(), faults.rate_limited_until(90)):
        server.faults.add("/user", action)
    full, bare, dated = (get(server, token) for _ in range(3))
    assert [answer.status_code for answer in (full, bare, dated)] == [429] * 3
    assert (full.headers["Retry-After"], full.headers["RateLimit-Remaining"]) == ("17", "0")
    assert not [name for name in bare.headers if "rate" in name.lower() or "retry" in name.lower()]
    assert parsedate_to_datetime(dated.headers["Retry-After"]).tzinfo is not None


def test_python_gitlab_is_as_bad_with_dates_as_we_were_told(server: GitLab, token: str) -> None:
    server.faults.add("/user", faults.rate_limited_until(90), times=2)
    api = connect(server, token)
    with pytest.raises(ValueError, match="invalid literal for int"):
        api.http_get("/user")
    with pytest.raises(exceptions.GitlabHttpError) as caught:
        api.http_get("/user", obey_rate_limit=False)
    assert caught.value.response_code == 429


def test_503_with_retry_after(server: GitLab, token: str) -> None:
    server.faults.add("/user", faults.unavailable(31))
    answer = get(server, token)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "31")


def test_a_reset_happens_before_the_effect_and_a_cut_after_it(server: GitLab, token: str) -> None:
    api = connect(server, token)
    server.faults.add("POST /api/v4/projects", faults.reset())
    with pytest.raises(requests.ConnectionError):
        make_project(api, "platform", "one")
    assert not server.has_project("platform/one")
    server.faults.add("POST /api/v4/projects", faults.accept_then_cut())
    with pytest.raises(requests.ConnectionError) as caught:
        make_project(api, "platform", "two")
    assert "reset by peer" in str(caught.value).lower()
    assert server.has_project("platform/two")
    assert [one.status for one in server.requests if one.method == "POST"] == [0, 0]


def test_a_truncated_answer(server: GitLab, token: str) -> None:
    server.faults.add("/user", faults.truncated())
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(server, token)


def test_a_slow_answer_outlasts_a_timeout_and_ends_with_the_server(server: GitLab, token: str) -> None:
    server.faults.add("/user", faults.slow(600), times=2)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/api/v4/user", headers={"PRIVATE-TOKEN": token}, timeout=0.2)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 30


def test_git_pushes_that_are_cut(server: GitLab, token: str, work: Worktree) -> None:
    server.faults.add("POST .*git-receive-pack", faults.reset())
    assert work.push(server, PATH, token, CI_SYNC).code != 0
    assert server.refs(PATH) == {}
    server.faults.add("POST .*git-receive-pack", faults.cut_in_the_middle())
    assert work.push(server, PATH, token, CI_SYNC).code != 0
    assert server.refs(PATH) == {}
    server.faults.add("POST .*git-receive-pack", faults.accept_then_cut())
    assert work.push(server, PATH, token, CI_SYNC).code != 0
    assert server.refs(PATH) == {"refs/heads/ci-sync": work.head()}
    assert work.push(server, PATH, token, CI_SYNC).said == "Everything up-to-date\n"


def test_git_services_fail_one_by_one(server: GitLab, token: str, work: Worktree) -> None:
    server.faults.add("service=git-receive-pack", faults.unavailable())
    assert work.ls_remote(server, PATH, token).code == 0
    assert "503" in work.push(server, PATH, token, CI_SYNC).said
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    server.faults.add("GET .*service=git-upload-pack", faults.truncated())
    assert work.ls_remote(server, PATH, token).code == 128


def test_a_stopped_server_comes_back_as_it_was(server: GitLab, token: str, work: Worktree) -> None:
    server.stop()
    with pytest.raises(requests.ConnectionError):
        get(server, token)
    server.start()
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    assert get(server, token).status_code == 200
