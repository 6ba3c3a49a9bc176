"""A clone token that a source's host refuses is not sent until this address is banned there.

Git alone can tell GitLab's own word for a ban, but not whether a bare Forbidden is one, or means one path by what stands
before GitLab: the API is asked.
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
from app.services.host_limits import MANY_OF_KNOWN, MANY_PATHS
from tests.integration.embedded import embedded_redis
from tests.integration.git_world import nothing
from tests.integration.gitlab_helpers import PATH, gitlab, refusal
from tests.integration.test_gitlab_check import Place
from tests.sandbox.gitlab import GitLab, faults
from tests.sandbox.gitlab.model import Level

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


def ban(gitlab: GitLab, *, old: bool = False) -> None:
    """Of this address, as somebody else's failed logins bring it."""
    gitlab.settings.failed_logins, gitlab.settings.old_ban = 1, old
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
    ban(gitlab, old=True)
    first = looked(settings, gitlab, PATH, side)
    assert first
    assert (first.code, first.retry_after) == (LIMITED[side], 600)
    asked = len(gitlab.requests)
    assert looked(settings, gitlab, GOOD, side)
    assert refusal(lambda: Container(settings).gitlab.find_project(PATH)).code == "rate_limited"
    assert len(gitlab.requests) == asked


@SIDES
def test_a_ban_from_git_alone_holds_off_git_alone_and_nobody_is_asked(
    settings: Settings, gitlab: GitLab, side: Side
) -> None:
    ban(gitlab)
    first = looked(settings, gitlab, PATH, side)
    assert first
    assert (first.code, first.retry_after, "has banned this address" in first.message) == (LIMITED[side], 600, True)
    again = looked(settings, gitlab, GOOD, side)
    assert again
    assert (again.code, 590 < (again.retry_after or 0) <= 600) == (LIMITED[side], True)
    assert not [each.path for each in gitlab.requests if GOOD in each.path or "version" in each.path]
    assert Container(settings).gitlab.find_project(PATH)


def test_a_ban_by_another_host_is_told_to_all(tmp_path: Path, settings: Settings) -> None:
    with GitLab(tmp_path / "another") as another:
        for path in (PATH, GOOD):
            another.create_project(path)
        ban(another)
        settings = with_source(settings, another, another.create_token())
        first = looked(settings, another, PATH, "source")
        assert first
        assert (first.code, first.retry_after) == ("source_unreachable", 600)
        asked = len(another.requests)
        again = looked(settings, another, GOOD, "source")
        assert again
        assert again.code == "source_unreachable"
        assert len(another.requests) == asked


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
        assert f"/{GOOD} refused the token for git" in same.message
        for number in range(MANY_PATHS - 1):  # a token may be good for some repositories only
            each = looked(stale, another, f"good/another{number}", "source")
            assert each
            assert each.code == "source_denied"
        for number in range(20):  # by a process of its own each
            again = looked(stale, another, f"good/repo{number}", "source")
            assert again
            assert again.code == "source_unreachable"
            assert 290 < (again.retry_after or 0) <= settings.gitlab.breaker_seconds
            assert "refused the token for git" in again.message
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


@pytest.fixture
def as_bot(settings: Settings, gitlab: GitLab) -> Settings:
    """With a token as groups and projects have them: GitLab answers it 401 over git where it may not read."""
    gitlab.add_member(GOOD, "bot", Level.MAINTAINER)
    token = SecretStr(gitlab.create_token(user="bot", bot=True))
    return settings.model_copy(update={"gitlab": settings.gitlab.model_copy(update={"token": token})})


def is_left_alone(settings: Settings) -> bool:
    """Whether GitLab's breaker is open."""
    container = Container(settings)
    return container.gitlab_login.state(container.clock.now()).refused


@SIDES
def test_one_project_that_a_good_token_may_not_read_holds_off_itself_alone(
    as_bot: Settings, gitlab: GitLab, side: Side
) -> None:
    refused = looked(as_bot, gitlab, BAD, side)
    assert refused
    assert (refused.code, refused.retry_after) == ({"source": "source_denied", "mirror": "forbidden"}[side], None)
    assert "this token may not read; give it access" in refused.message
    assert as_bot.gitlab.token.get_secret_value() not in refused.message
    asked = len(gitlab.requests)
    again = looked(as_bot, gitlab, BAD, side)
    assert again
    assert (again.code, 290 < (again.retry_after or 0) <= as_bot.gitlab.breaker_seconds) == (LIMITED[side], True)
    assert f"/{BAD} refused the token for git" in again.message
    assert len(gitlab.requests) == asked
    assert looked(as_bot, gitlab, GOOD, side) is None
    assert Container(as_bot).gitlab.find_project(GOOD)
    assert not is_left_alone(as_bot)


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (faults.unavailable(), True),
        (faults.reset(), True),
        (faults.status(401, '{"message":"401 Unauthorized"}', Content_Type="application/json"), True),
        (faults.status(200, "<html>please log in", Content_Type="text/html"), True),
        (faults.status(403, "<html>no", Content_Type="text/html"), True),
        (
            faults.status(
                403, '{"message":"403 Forbidden - Your account has been blocked"}', Content_Type="application/json"
            ),
            True,
        ),
        (faults.status(403, '{"error":"insufficient_scope"}', Content_Type="application/json"), False),
    ],
    ids=["unavailable", "reset", "unknown", "login page", "front", "blocked", "scope"],
)
def test_without_the_apis_word_for_it_the_token_is_a_bad_one(
    as_bot: Settings, gitlab: GitLab, answer: faults.Action, *, opens: bool
) -> None:
    gitlab.faults.add("GET .*/version", answer)
    refused = looked(as_bot, gitlab, BAD, "mirror")
    assert refused
    assert (refused.code, refused.retry_after) == (("token_expired", 300) if opens else ("forbidden", None))
    assert is_left_alone(as_bot) == opens


@pytest.mark.parametrize("logins", [(30, 180), (10, 60)], ids=["as documented", "by GitLab's own code"])
def test_nobody_is_banned_by_projects_that_a_good_token_may_not_read(
    as_bot: Settings, gitlab: GitLab, logins: tuple[int, int]
) -> None:
    """As reconcile asks of many."""
    gitlab.world.settings.failed_logins, gitlab.world.settings.failed_seconds = logins
    for number in range(40):
        gitlab.create_project(f"bad/repo{number}")
        assert looked(as_bot, gitlab, f"bad/repo{number}", "source")
    assert len([each for each in gitlab.requests if each.status == 401]) == MANY_OF_KNOWN < logins[0]
    held = looked(as_bot, gitlab, GOOD, "source")
    assert held
    assert (held.code, "refused the token for git" in held.message) == ("source_unreachable", True)
    assert not is_left_alone(as_bot)


@SIDES
def test_where_the_api_will_not_say_now_that_run_alone_waits(as_bot: Settings, gitlab: GitLab, side: Side) -> None:
    gitlab.faults.add("GET .*/version", faults.status(429, "later", Retry_After="7"))
    refused = looked(as_bot, gitlab, BAD, side)
    assert refused
    assert (refused.code, refused.retry_after) == (LIMITED[side], 7)
    assert not is_left_alone(as_bot)
    assert looked(as_bot, gitlab, GOOD, side) is None


def test_a_probe_that_such_a_project_answers_closes_the_breaker(as_bot: Settings, gitlab: GitLab) -> None:
    at_once = as_bot.gitlab.model_copy(update={"breaker_seconds": 0})
    open_until_now = Container(as_bot.model_copy(update={"gitlab": at_once})).gitlab_login
    open_until_now.refused(SyncError("token_expired", "once"))
    assert is_left_alone(as_bot)
    assert looked(as_bot, gitlab, BAD, "source")
    assert not is_left_alone(as_bot)
