"""A clone token that a source's host refuses is not sent until this address is banned there.

Git alone cannot tell whether a bare Forbidden is a ban of this address, or of one path by what stands before GitLab:
the API is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.adapters.git_errors import LIMITED, Side
from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.bootstrap import Container
from app.config_models import Settings
from app.domain.errors import SyncError
from app.services.host_limits import MANY_PATHS
from tests.integration.embedded import embedded_redis
from tests.integration.git_world import nothing
from tests.integration.gitlab_helpers import PATH, gitlab, refusal
from tests.integration.test_gitlab_check import Place
from tests.sandbox.gitlab import GitLab, faults

__all__ = ["gitlab"]
FORBIDDEN = faults.status(403, "Forbidden", Content_Type="text/plain")
SIDES = pytest.mark.parametrize("side", ["source", "mirror"])
BAD, GOOD = "bad/repo", "good/repo"


@pytest.fixture
def settings(tmp_path: Path, gitlab: GitLab) -> Iterator[Settings]:
    """For the stand-in, with a Redis that is empty."""
    for path in (PATH, BAD, GOOD):
        gitlab.create_project(path)
    found = Place(tmp_path, gitlab, gitlab.create_token()).settings
    with embedded_redis() as url:
        yield found.model_copy(update={"queue": found.queue.model_copy(update={"url": url})})


def ban(gitlab: GitLab) -> None:
    """Of this address, as somebody else's failed logins bring it."""
    gitlab.settings.failed_logins = 1
    stranger = GitLabApi(GitLabOptions(gitlab.url, SecretStr("wrong")))
    assert refusal(lambda: stranger.find_project(PATH)).code == "token_expired"


def with_source(settings: Settings, at: GitLab, token: str) -> Settings:
    """Another host's repositories as a source, with this clone token."""
    update = {"allow": (f"{at.url}/**",), "clone_token": SecretStr(token)}
    return settings.model_copy(update={"sources": (settings.sources[0].model_copy(update=update),)})


def looked(settings: Settings, gitlab: GitLab, path: str, side: Side) -> SyncError | None:
    """What a process of its own gets; None: an answer."""
    try:
        Container(settings).git.remote_refs(f"{gitlab.url}/{path}.git", ["refs/tags/*"], nothing, side=side)
    except SyncError as error:
        return error
    return None


@SIDES
def test_one_path_that_a_gateway_refuses_holds_nobody_off(settings: Settings, gitlab: GitLab, side: Side) -> None:
    gitlab.faults.add(f".* /{BAD}.git.*", FORBIDDEN, times=99)
    for _ in range(2):
        refused = looked(settings, gitlab, BAD, side)
        assert refused
        assert (refused.code, refused.retry_after) == ({"source": "source_denied", "mirror": "forbidden"}[side], None)
        assert "in front of it" in refused.message
        assert looked(settings, gitlab, GOOD, side) is None
    assert Container(settings).gitlab.find_project(GOOD)


@SIDES
def test_a_ban_that_git_meets_holds_off_the_api_as_well(settings: Settings, gitlab: GitLab, side: Side) -> None:
    ban(gitlab)
    first = looked(settings, gitlab, PATH, side)
    assert first
    assert (first.code, first.retry_after) == (LIMITED[side], 600)
    asked = len(gitlab.requests)
    assert looked(settings, gitlab, GOOD, side)
    assert refusal(lambda: Container(settings).gitlab.find_project(PATH)).code == "rate_limited"
    assert len(gitlab.requests) == asked


@pytest.mark.parametrize("answer", [faults.unavailable(), faults.reset()])
def test_without_an_answer_of_the_api_it_may_be_a_ban(
    settings: Settings, gitlab: GitLab, answer: faults.Action
) -> None:
    gitlab.faults.add(f".* /{BAD}.git.*", FORBIDDEN, times=99)
    gitlab.faults.add("GET .*/version", answer)
    refused = looked(settings, gitlab, BAD, "mirror")
    assert refused
    assert (refused.code, refused.retry_after) == ("rate_limited", 600)


def test_of_another_host_only_the_run_that_heard_it_waits(tmp_path: Path, settings: Settings) -> None:
    with GitLab(tmp_path / "another") as another:
        for path in (BAD, GOOD):
            another.create_project(path)
        settings = with_source(settings, another, another.create_token())
        another.faults.add(f".* /{BAD}.git.*", FORBIDDEN, times=99)
        refused = looked(settings, another, BAD, "source")
        assert refused
        assert (refused.code, refused.retry_after) == ("source_unreachable", 600)
        assert looked(settings, another, GOOD, "source") is None


def test_a_refused_clone_token_bans_nobody_and_another_one_is_tried_at_once(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """As reconcile asks: many repositories of one source; GitLab bans an address after thirty bad logins."""
    with GitLab(tmp_path / "another") as another:
        another.create_project(GOOD)
        stale = with_source(settings, another, "a-token-that-ended")
        first = looked(stale, another, GOOD, "source")
        assert first
        assert (first.code, first.retry_after) == ("source_denied", None)
        same = looked(stale, another, GOOD, "source")
        assert same
        assert same.code == "source_unreachable"
        assert f"/{GOOD} refused the source's clone token" in same.message
        for number in range(MANY_PATHS - 1):  # a token may be good for some repositories only
            each = looked(stale, another, f"good/another{number}", "source")
            assert each
            assert each.code == "source_denied"
        for number in range(20):  # by a process of its own each
            again = looked(stale, another, f"good/repo{number}", "source")
            assert again
            assert again.code == "source_unreachable"
            assert 290 < (again.retry_after or 0) <= settings.gitlab.breaker_seconds
            assert "refused the source's clone token" in again.message
        assert 0 < len([each for each in another.requests if each.status == 401]) <= 2 * MANY_PATHS
        assert looked(with_source(settings, another, another.create_token()), another, GOOD, "source") is None
        held = [vars(each)["host"] for each in caplog.records if each.message == "host_held"]
        assert set(held) == {f"git:{another.url.removeprefix('http://')}"}


def test_who_asks_without_a_token_holds_nobody_off(tmp_path: Path, settings: Settings) -> None:
    """A host may say 401 of what is not there."""
    with GitLab(tmp_path / "another") as another:
        for _ in range(2):
            refused = looked(settings, another, BAD, "source")
            assert refused
            assert refused.code == "source_denied"
