"""One answer of "too many requests" holds all processes off the host: the real git door and API, a real Redis between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from redis import Redis

from app.adapters import migrate
from app.adapters.git import GitDoor
from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.adapters.gitlab_client import NoGuard
from app.adapters.gitlab_guard import ApiGuard
from app.adapters.job_queue import redis_for_enqueue
from app.adapters.shared_holds import SharedHolds
from app.adapters.shared_seen import SEEN_SECONDS, SharedSeen
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.services.host_limits import LONGEST_SECONDS, MANY_PATHS, UNKNOWN_SECONDS, HostLimits
from tests.integration.embedded import embedded_redis
from tests.integration.git_world import MIRROR, SOURCE, World, nothing, status
from tests.integration.gitlab_helpers import PATH, ready_project, refusal
from tests.integration.gitlab_world import Clock
from tests.integration.test_gitlab_check import Place
from tests.integration.web_world import write_settings
from tests.sandbox.gitlab import GitLab, faults


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with embedded_redis() as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Redis:
    found = redis_for_enqueue(redis_url)
    found.flushall()
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.release("v1.0.0")
    with made.server:
        yield made


class Time:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def door(world: World, redis: Redis) -> GitDoor:
    """git's door of another process, with bootstrap's wiring."""
    limits = HostLimits(SharedHolds(redis))
    return world.door(
        limited=lambda url, error: limits.met("git", urlsplit(url).netloc, error),
        held=lambda url, code: limits.check("git", urlsplit(url).netloc, code),
    )


def fetched(of: GitDoor, url: str) -> SyncError:
    with of.source(url, nothing) as copy, pytest.raises(SyncError) as caught:
        copy.fetch(["v1.0.0"], [])
    return caught.value


def test_gits_429_keeps_every_process_from_asking(world: World, redis: Redis) -> None:
    world.front.answers = {f"/{MIRROR}.git": status("429 Too Many Requests")}
    first = refusal(lambda: door(world, redis).remote_refs(world.url(MIRROR), [], nothing))
    assert (first.code, first.retry_after) == ("rate_limited", UNKNOWN_SECONDS)
    asked = len(world.front.seen)
    for _ in range(3):
        again = refusal(lambda: door(world, redis).remote_refs(world.url(MIRROR), ["refs/tags/v1"], nothing))
        assert again.code == "rate_limited"
        assert 0 < (again.retry_after or 0) <= UNKNOWN_SECONDS
    assert fetched(door(world, redis), world.url(SOURCE)).code == "source_unreachable"  # on the same host
    assert len(world.front.seen) == asked


def test_a_source_that_limits_us_is_left_alone_and_asked_again_later(world: World, redis: Redis) -> None:
    world.front.answers = {f"/{SOURCE}.git": status("429 Too Many Requests")}
    first = fetched(door(world, redis), world.url(SOURCE))
    assert (first.code, first.retry_after) == ("source_unreachable", UNKNOWN_SECONDS)
    asked, world.front.answers = len(world.front.seen), {}
    assert fetched(door(world, redis), world.url(SOURCE)).code == "source_unreachable"
    assert len(world.front.seen) == asked
    redis.flushall()  # the time is up
    with door(world, redis).source(world.url(SOURCE), nothing) as copy:
        assert copy.fetch(["v1.0.0"], [])["v1.0.0"]


def api(gitlab: GitLab, redis: Redis) -> GitLabApi:
    """The API's door of another process."""
    guard = ApiGuard(NoGuard(), HostLimits(SharedHolds(redis)), urlsplit(gitlab.url).netloc)
    return GitLabApi(GitLabOptions(gitlab.url, SecretStr(gitlab.create_token(scopes=["api"]))), guard)


def test_the_apis_429_keeps_every_process_from_asking_and_does_not_stop_git(
    tmp_path: Path, redis: Redis, world: World
) -> None:
    with GitLab(tmp_path / "gitlab") as gitlab:
        gitlab.create_project(PATH)
        gitlab.faults.add("GET", faults.rate_limited(40))
        assert refusal(lambda: api(gitlab, redis).find_project(PATH)).retry_after == 40
        asked = len(gitlab.requests)
        again = refusal(lambda: api(gitlab, redis).find_project(PATH))
        assert (again.code, 30 < (again.retry_after or 0) <= 40) == ("rate_limited", True)
        assert len(gitlab.requests) == asked
        HostLimits(SharedHolds(redis)).check("git", urlsplit(gitlab.url).netloc, "rate_limited")


def test_a_429_of_one_kind_of_request_holds_nobody_off(tmp_path: Path, redis: Redis) -> None:
    with GitLab(tmp_path / "gitlab") as gitlab:
        gitlab.create_project(PATH)
        gitlab.faults.add("GET", faults.rate_limited_bare())
        assert refusal(lambda: api(gitlab, redis).find_project(PATH)).code == "rate_limited"
        assert api(gitlab, redis).find_project(PATH) is not None


def test_a_commits_limit_of_pipelines_holds_nobody_off(tmp_path: Path, redis: Redis) -> None:
    with GitLab(tmp_path / "gitlab", clock=Clock()) as gitlab:
        project, gitlab.settings.pipelines_a_minute = ready_project(gitlab), 1
        api(gitlab, redis).create_pipeline(project, "ci-sync", {})
        error = refusal(lambda: api(gitlab, redis).create_pipeline(project, "ci-sync", {}))
        assert (error.code, error.retry_after) == ("rate_limited", 60)
        assert api(gitlab, redis).find_project(PATH) is not None


@contextmanager
def banned(root: Path, clock: Clock) -> Iterator[GitLab]:
    """A GitLab that has just banned this address."""
    with GitLab(root, clock=clock) as gitlab:
        gitlab.create_project(PATH)
        gitlab.settings.failed_logins, gitlab.settings.old_ban = 1, True
        stranger = GitLabApi(GitLabOptions(gitlab.url, SecretStr("wrong")))
        assert refusal(lambda: stranger.find_project(PATH)).code == "token_expired"
        yield gitlab


def test_a_ban_of_the_address_holds_every_process_off_for_minutes(tmp_path: Path, redis: Redis) -> None:
    clock = Clock()
    with banned(tmp_path / "gitlab", clock) as gitlab:
        first = refusal(lambda: api(gitlab, redis).find_project(PATH))
        assert (first.code, first.retry_after, "banned" in first.message) == ("rate_limited", 600, True)
        asked = len(gitlab.requests)
        again = refusal(lambda: api(gitlab, redis).find_project(PATH))
        assert (again.code, 590 < (again.retry_after or 0) <= 600) == ("rate_limited", True)
        assert len(gitlab.requests) == asked
        redis.flushall()  # the time is up
        clock.advance(3601)
        assert api(gitlab, redis).find_project(PATH) is not None


def test_a_gateway_that_refuses_one_request_in_the_same_word_holds_nobody_off(tmp_path: Path, redis: Redis) -> None:
    """Traefik's allow list says just Forbidden, too, and may stand before one path or method."""
    with GitLab(tmp_path / "gitlab", clock=Clock()) as gitlab:
        project = ready_project(gitlab)
        gitlab.faults.add("POST .*/pipeline", faults.status(403, "Forbidden"))
        error = refusal(lambda: api(gitlab, redis).create_pipeline(project, "ci-sync", {}))
        assert (error.code, error.retry_after, "in front of it" in error.message) == ("forbidden", None, True)
        assert api(gitlab, redis).find_project(PATH) is not None


def test_git_is_banned_with_the_api(tmp_path: Path, redis: Redis, world: World) -> None:
    with banned(tmp_path / "gitlab", Clock()) as gitlab:
        url = f"{gitlab.url}/{PATH}.git"
        first = refusal(lambda: door(world, redis).remote_refs(url, [], nothing))
        assert (first.code, first.retry_after, "banned" in first.message) == ("rate_limited", 600, True)
        again = refusal(lambda: door(world, redis).remote_refs(url, [], nothing))
        assert 590 < (again.retry_after or 0) <= 600


def test_a_ban_that_a_source_meets_is_waited_for_and_told_to_all(tmp_path: Path, redis: Redis, world: World) -> None:
    with banned(tmp_path / "gitlab", Clock()) as gitlab:
        url = f"{gitlab.url}/{PATH}.git"
        first = fetched(door(world, redis), url)
        assert (first.code, first.retry_after, first.retryable) == ("source_unreachable", 600, True)
        asked = len(gitlab.requests)
        for again in (
            fetched(door(world, redis), url),
            refusal(lambda: door(world, redis).remote_refs(url, [], nothing, side="source")),
            refusal(lambda: door(world, redis).remote_refs(url, [], nothing)),
        ):
            assert 590 < (again.retry_after or 0) <= 600
        assert len(gitlab.requests) == asked


def test_the_longest_hold_counts_and_none_is_longer_than_it_may(redis: Redis) -> None:
    ours, theirs = SharedHolds(redis), SharedHolds(redis)
    ours.hold("git:one", 100)
    theirs.hold("git:one", 10)
    assert 90 < SharedHolds(redis).wait("git:one") <= 100
    error = HostLimits(ours).met("git", "two", SyncError("rate_limited", "x", retry_after=86400))
    assert error.retry_after == 86400  # the run itself does what it was told
    assert SharedHolds(redis).wait("git:two") <= LONGEST_SECONDS


def test_news_of_others_is_a_second_old_at_most(redis: Redis) -> None:
    time = Time()
    ours = SharedHolds(redis, time)
    assert ours.wait("git:one") == 0
    SharedHolds(redis).hold("git:one", 50)
    assert ours.wait("git:one") == 0  # asked a moment ago
    time.now += 1.1
    assert ours.wait("git:one") > 40


def test_without_redis_each_process_knows_its_own() -> None:
    time = Time()
    alone = SharedHolds(redis_for_enqueue("redis://127.0.0.1:1/0"), time)
    assert alone.wait("git:one") == 0
    alone.hold("git:one", 20)
    assert alone.wait("git:one") == 20
    time.now += 20
    assert alone.wait("git:one") == 0


def test_different_members_are_counted_by_all_together_and_each_once(redis: Redis) -> None:
    ours, theirs = SharedHolds(redis), SharedHolds(redis)
    assert ours.wait("git:one#login*") == 0
    counted = [each.count("git:one#login*", path, 30) for each in (ours, theirs, ours) for path in ("/a", "/b")]
    assert counted == [1, 2, 2, 2, 2, 2]
    assert theirs.count("git:one#other*", "/c", 30) == 1
    keys = redis.keys("*")
    assert all(0 < redis.pttl(key) <= 30_000 for key in keys)
    assert len(keys) == 2
    seen = str([(key, redis.smembers(key)) for key in keys])
    assert not [told for told in ("/a", "login", "one") if told in seen]


def test_without_redis_a_process_counts_its_own_for_a_while() -> None:
    time = Time()
    alone = SharedHolds(redis_for_enqueue("redis://127.0.0.1:1/0"), time)
    assert [alone.count("git:one", path, 20) for path in ("/a", "/a", "/b")] == [1, 1, 2]
    time.now += 20
    assert alone.count("git:one", "/c", 20) == 1


@pytest.mark.parametrize("away", [False, True])
def test_one_repository_that_many_refuse_holds_no_host(redis: Redis, *, away: bool) -> None:
    """However many processes ask for it before they know of each other; several repositories do."""
    limits = [HostLimits(SharedHolds(redis_for_enqueue("redis://127.0.0.1:1/0") if away else redis)) for _ in range(3)]
    for each in limits:
        each.check_login("host", "/mono", "login", "source_unreachable")
    for each in limits:
        for _ in range(3):
            each.refused("host", "/mono", "login", 300)
        assert refusal(lambda: each.check_login("host", "/mono", "login", "source_unreachable")).retry_after  # noqa: B023
        each.check_login("host", "/healthy", "login", "source_unreachable")
    for number in range(MANY_PATHS - 1):
        limits[0].check_login("host", f"/{number}", "login", "source_unreachable")
        limits[0].refused("host", f"/{number}", "login", 300)
    error = refusal(lambda: limits[0].check_login("host", "/healthy", "login", "source_unreachable"))
    assert (error.code, 290 < (error.retry_after or 0) <= 300) == ("source_unreachable", True)
    limits[0].check_login("host", "/healthy", "another login", "source_unreachable")


def test_the_service_is_wired_so(tmp_path: Path) -> None:
    """Both doors of a process ask before they ask the host."""
    container = Container(write_settings(tmp_path))
    url = container.settings.gitlab.url
    for what in ("git", "api"):
        container.limits.met(what, urlsplit(url).netloc, SyncError("rate_limited", "x"))
    assert refusal(lambda: container.git.remote_refs(f"{url}/a.git", [], nothing)).code == "rate_limited"
    migrate.upgrade(container.settings.store.url)
    assert "asked for fewer requests (api)" in refusal(lambda: container.gitlab.find_project("a")).message


def test_what_one_process_has_seen_the_others_need_not_look_at_for_a_while(redis: Redis) -> None:
    SharedSeen(redis).now("one")
    assert SharedSeen(redis).recently("one")
    assert not SharedSeen(redis).recently("two")
    assert 0 < redis.pttl(redis.keys("modsync:seen:*")[0]) <= SEEN_SECONDS * 1000


def test_without_redis_nothing_was_seen(caplog: pytest.LogCaptureFixture) -> None:
    alone = SharedSeen(redis_for_enqueue("redis://127.0.0.1:1/0"))
    alone.now("one")
    assert not alone.recently("one")
    assert [record.message for record in caplog.records] == ["seen_not_written", "seen_not_read"]


def test_what_a_job_has_verified_the_next_jobs_process_knows(tmp_path: Path, redis: Redis, redis_url: str) -> None:
    assert redis.keys() == []
    with GitLab(tmp_path / "gitlab") as gitlab:
        gitlab.create_group("mirrors")
        settings = Place(tmp_path, gitlab, gitlab.create_token()).settings
        queue = settings.queue.model_copy(update={"url": redis_url})
        settings = settings.model_copy(update={"queue": queue})
        Container(settings).gitlab.ensure_project(PATH)
        before = len(gitlab.requests)
        Container(settings).gitlab.find_project(PATH)
        assert len(gitlab.requests) - before == 1
