"""The breaker for modsync's login at GitLab, on both databases, and against the stand-in that bans who keeps failing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from app.adapters.database import connect
from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.adapters.gitlab_login import GitLabLogin
from app.domain.errors import SyncError
from app.services.gitlab_login import LoginState, TokenInfo, TokenWatch
from tests.integration.flow_world import FakeClock
from tests.integration.gitlab_helpers import PATH, asked, refusal
from tests.sandbox.gitlab import GitLab

SECONDS = 300.0
REFUSED = SyncError("token_expired", "GitLab, find project x: 401: invalid_token")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        yield server


def login(engine: Engine, clock: FakeClock, token: str = "one") -> GitLabLogin:
    """Another process's breaker."""
    return GitLabLogin(engine, clock, "gitlab.example", token, SECONDS)


def wait_of(breaker: GitLabLogin) -> float | None:
    """How long the breaker wants us to wait; None: it lets the request through."""
    try:
        breaker.check()
    except SyncError as error:
        return error.retry_after if error.code == "token_expired" else float("nan")
    return None


def test_a_refusal_stops_every_process_with_this_token(engine: Engine, clock: FakeClock) -> None:
    ours, theirs = login(engine, clock), login(engine, clock)
    assert wait_of(theirs) is None
    assert ours.refused(REFUSED).retry_after == SECONDS
    assert (wait_of(ours), wait_of(theirs)) == (SECONDS, SECONDS)
    assert wait_of(login(engine, clock, "another token")) is None


def test_other_errors_open_nothing(engine: Engine, clock: FakeClock) -> None:
    ours, error = login(engine, clock), SyncError("forbidden", "403")
    assert ours.refused(error) is error
    assert wait_of(ours) is None


def test_after_a_while_one_process_probes_and_a_success_closes_it_for_all(engine: Engine, clock: FakeClock) -> None:
    first, second = login(engine, clock), login(engine, clock)
    first.refused(REFUSED)
    clock.advance(SECONDS)
    assert wait_of(second) is None  # the probe
    assert wait_of(second) is None  # and what it does next
    assert wait_of(first) is not None
    second.worked()
    clock.advance(1)
    assert wait_of(first) is None
    assert first.state(clock.now()).refused is False


def test_a_probe_that_fails_opens_it_again(engine: Engine, clock: FakeClock) -> None:
    ours = login(engine, clock)
    ours.refused(REFUSED)
    clock.advance(SECONDS)
    assert wait_of(ours) is None
    ours.refused(REFUSED)
    assert wait_of(ours) == SECONDS


def test_of_many_at_once_one_probes(engine: Engine, clock: FakeClock) -> None:
    login(engine, clock).refused(REFUSED)
    clock.advance(SECONDS)
    through: list[None] = []
    start = threading.Barrier(6)

    def probe() -> None:
        breaker = login(engine, clock)
        start.wait()
        if wait_of(breaker) is None:
            through.append(None)

    threads = [threading.Thread(target=probe) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(through) == 1


def test_the_state_is_kept_and_shown(engine: Engine, clock: FakeClock) -> None:
    ours = login(engine, clock)
    assert ours.state(clock.now()) == LoginState()
    ours.looked(TokenInfo("group-bot", ("api", "write_repository"), date(2026, 12, 1)), clock.now())
    ours.refused(REFUSED)
    state = login(engine, clock).state(clock.now())
    assert (state.token_name, state.expires_at, state.days_left, state.refused) == ("group-bot", "2026-12-01", 9, True)
    assert "the token ends on 2026-12-01, in 9 days" in state.problems()
    assert any("refused the token" in problem for problem in state.problems())


def test_a_database_that_is_away_stops_nobody(tmp_path: Path, clock: FakeClock) -> None:
    ours = login(connect(f"sqlite:///{tmp_path / 'no-tables.db'}"), clock)
    assert wait_of(ours) is None
    assert ours.refused(REFUSED).retry_after == SECONDS
    assert wait_of(ours) == SECONDS  # from memory


def test_the_token_is_looked_at_every_six_hours(engine: Engine, clock: FakeClock) -> None:
    looks: list[None] = []

    def ask() -> TokenInfo:
        looks.append(None)
        return TokenInfo("bot", ("api", "write_repository"), None)

    watch = TokenWatch(login(engine, clock), ask, clock)
    assert (watch.once(), watch.once()) == (True, False)
    clock.advance(6 * 3600)
    assert watch.once() is True
    assert len(looks) == 2
    assert login(engine, clock).state(clock.now()).problems() == ()


def test_a_gitlab_that_does_not_answer_is_asked_again_later(engine: Engine, clock: FakeClock) -> None:
    def ask() -> TokenInfo:
        raise SyncError("gitlab_unreachable", "no answer")

    watch = TokenWatch(login(engine, clock), ask, clock)
    assert watch.once() is False
    assert login(engine, clock).state(clock.now()).checked_at is None


def test_nobody_is_banned(gitlab: GitLab, engine: Engine, clock: FakeClock) -> None:
    """Five processes whose token was revoked ask a hundred times; GitLab bans an address after 30."""
    token = gitlab.create_token()
    gitlab.revoke(token)
    apis = [guarded(gitlab, token, engine, clock) for _ in range(5)]
    errors = [refusal(lambda api=each: api.ensure_project(PATH)) for _ in range(20) for each in apis]  # type: ignore[misc]
    assert {error.code for error in errors} == {"token_expired"}
    assert all(error.retry_after for error in errors)
    assert len(asked(gitlab)) == 1
    guarded(gitlab, gitlab.create_token(), engine, clock).ensure_project(PATH)  # another token is not held off


def test_nobody_is_banned_when_a_token_ends_while_many_processes_use_it(
    gitlab: GitLab, engine: Engine, clock: FakeClock
) -> None:
    """What each of them has just learned, that all is well, is asked again."""
    token = gitlab.create_token()
    connect_as = [guarded(gitlab, token, engine, clock) for _ in range(40)]
    connect_as[0].ensure_project(PATH)
    for api in connect_as:
        assert api.find_project(PATH) is not None
    gitlab.revoke(token)
    assert {refusal(lambda api=each: api.find_project(PATH)).code for each in connect_as} == {"token_expired"}  # type: ignore[misc]
    assert [one.status for one in gitlab.requests].count(401) == 1


def guarded(gitlab: GitLab, token: str, engine: Engine, clock: FakeClock) -> GitLabApi:
    guard = GitLabLogin(engine, clock, gitlab.url, token, SECONDS)
    return GitLabApi(GitLabOptions(gitlab.url, SecretStr(token)), guard)


def test_the_tokens_own_end_is_read(gitlab: GitLab) -> None:
    ends = gitlab.world.clock().date() + timedelta(days=10)
    token = gitlab.create_token(scopes=["read_api"], expires_at=ends)
    found = GitLabApi(GitLabOptions(gitlab.url, SecretStr(token))).token()
    assert (found.scopes, found.expires_at) == (("read_api",), ends)
    eternal = GitLabApi(GitLabOptions(gitlab.url, SecretStr(gitlab.create_token(eternal=True)))).token()
    assert eternal.expires_at is None


@pytest.mark.parametrize("days", [0, -1, 21])
def test_an_end_that_is_near_is_a_problem(days: int) -> None:
    assert LoginState(days_left=days, expires_at="2026-12-01", scopes=("api", "write_repository")).problems()


def test_an_end_that_is_far_is_none() -> None:
    assert LoginState(days_left=22, expires_at="2026-12-01").problems() == ()
