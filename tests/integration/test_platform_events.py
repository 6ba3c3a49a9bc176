"""Events that name a repository and a tag only: the rules say which module, the worker which commit. Both databases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.ops_store import SqlReplayStore
from app.adapters.system import random_bits
from app.domain.errors import SyncError
from app.domain.events import Policy
from app.domain.modules import Version
from app.domain.routing import Rule
from app.domain.run import Stage, Status
from app.domain.webhook import SCHEMES, Secret
from app.services.deliveries import Deliveries, DeliveryFilter
from app.services.intake import Answer, Intake, SourceOptions, id_maker
from app.services.planning import Planner
from app.services.replay import Replay
from app.services.stores import ReplayOrder
from tests.integration.flow_world import FakeClock, FakeQueue
from tests.integration.stored import A, B, Stored
from tests.sandbox.webhook import signature

KEY = "a-secret-of-at-least-sixteen-characters"
SECRET = Secret("one", KEY.encode())
URL = "https://git.corp.example/platform/log.git"
RULE = Rule("go.corp.example/{team}/{repo}", "go-mirrors/{team}/{repo}", "https://git.corp.example/{team}/{repo}.git")
MODULE = "go.corp.example/platform/log"


class Platform:
    """A source of one scheme, its intake over a real database, and how it signs."""

    def __init__(
        self, engine: Engine, scheme: str, *rules: Rule, allow: str = "https://git.corp.example/**",
        secrets: tuple[Secret, ...] = (), policy: Policy = Policy(),  # noqa: B008 - a value that does not change
    ) -> None:  # fmt: skip
        self.queue, self.scheme, self.key, self.clock = FakeQueue(), scheme, KEY, FakeClock()
        sources = {"platform": SourceOptions("platform", scheme, secrets or (SECRET,), (allow,), policy)}
        new_id = id_maker(FakeClock(), random_bits)
        self.planner = Planner(sources, rules or (RULE,), new_id)
        store = SqlIntakeStore(engine)
        self.intake = Intake(sources, self.planner, store, self.queue, self.clock, new_id)

    def send(self, body: Mapping[str, Any], **headers: str) -> Answer:
        """Deliver `body`, signed."""
        raw = json.dumps(body).encode()
        hexed = signature(self.key, raw)
        signed = {
            "X-Hub-Signature-256": hexed, "X-Gitea-Signature": hexed.removeprefix("sha256="), "X-Gitlab-Token": KEY,
            "X-JFrog-Event-Auth": hexed.removeprefix("sha256="),
        }  # fmt: skip
        return self.intake.receive("platform", {**signed, "Content-Type": "application/json", **headers}, raw)

    def published(self, tag: str = "v1.0.0", url: str = URL, **more: Any) -> Answer:
        """GitHub's and Gitea's release event, which names no commit."""
        release = {"tag_name": tag, "draft": False, "prerelease": False}
        body = {"action": "published", "release": release, "repository": {"clone_url": url}, **more}
        return self.send(body, **{"X-GitHub-Event": "release", "X-Gitea-Event": "release"})

    def pushed(self, tag: str = "v1.0.0", commit: str = A) -> Answer:
        """GitHub's push event of a tag, which names its commit."""
        body = {"ref": f"refs/tags/{tag}", "after": commit, "head_commit": {"id": commit},
                "repository": {"clone_url": URL}}  # fmt: skip
        return self.send(body, **{"X-GitHub-Event": "push"})


@pytest.fixture
def github(engine: Engine) -> Platform:
    return Platform(engine, "github")


def only(answer: Answer) -> str:
    (receipt,) = answer.receipts
    return receipt.run_id


@pytest.mark.parametrize("scheme", ["github", "gitea", "forgejo"])
def test_a_release_of_a_repository_finds_its_module(engine: Engine, stored: Stored, scheme: str) -> None:
    platform = Platform(engine, scheme)
    run = stored.run(only(platform.published("sdk/v2.1.0")))
    assert (run.module, run.version, run.commit) == (f"{MODULE}/sdk/v2", "v2.1.0", "")
    assert (run.target.mirror, run.target.subdir, run.target.clone_url) == ("go-mirrors/platform/log", "sdk", URL)
    assert run.status is Status.QUEUED
    assert [job for _, job in platform.queue.jobs] == [run.id]


def test_gitlab_names_the_commit_and_not_the_module(engine: Engine, stored: Stored) -> None:
    platform = Platform(engine, "gitlab-token")
    project = {"git_http_url": URL}
    body = {"object_kind": "release", "action": "create", "tag": "v1.0.0", "commit": {"id": A}, "project": project}
    run = stored.run(only(platform.send(body)))
    assert (run.module, run.commit, stored.held()["run_id"]) == (MODULE, A, run.id)
    push = {"object_kind": "tag_push", "ref": "refs/tags/v1.0.0", "after": B, "checkout_sha": A, "project": project}
    answer = platform.send(push)
    assert (only(answer), answer.new) == (run.id, False)


def test_gitlab_names_no_commit_of_a_tag_that_it_does_not_find(engine: Engine, stored: Stored) -> None:
    """Its Test button in a project without tags, and a tag that is pushed anew: the source is asked."""
    platform = Platform(engine, "gitlab-token")
    push = {
        "object_kind": "tag_push",
        "ref": "refs/tags/v1.0.0",
        "after": B,
        "checkout_sha": None,
        "project": {"git_http_url": URL},
    }
    run = stored.run(only(platform.send(push)))
    assert (run.module, run.version, run.commit) == (MODULE, "v1.0.0", "")


def test_artifactory_names_the_module_and_not_the_commit(engine: Engine, stored: Stored) -> None:
    platform = Platform(engine, "artifactory")
    data = {"repo_key": "go-local", "path": f"{MODULE}/@v/v1.0.0.zip", "name": "v1.0.0.zip"}
    run = stored.run(only(platform.send({"domain": "artifact", "event_type": "deployed", "data": data})))
    assert (run.module, run.version, run.commit, run.target.clone_url) == (MODULE, "v1.0.0", "", URL)


def test_no_rule_is_recorded_and_a_replay_finds_the_new_rule(engine: Engine, stored: Stored) -> None:
    answer = Platform(engine, "github", replace(RULE, source="other")).published("sdk/v1.0.0")
    run = stored.run(only(answer))
    assert (run.status, run.error, run.module) == (Status.REJECTED, "no_rule", "git.corp.example/platform/log/sdk")
    today = Platform(engine, "github")
    replay = Replay(SqlReplayStore(engine), today.queue, FakeClock(), today.planner.today)
    assert replay.replay(run.id, ReplayOrder("cli:alice", "")).status is Status.QUEUED
    run = stored.run(run.id)
    assert (run.module, run.target.mirror, run.status) == (f"{MODULE}/sdk", "go-mirrors/platform/log", Status.QUEUED)
    assert only(today.published("sdk/v1.0.0", more=1)) == run.id


def test_a_redelivery_goes_on_with_the_run_that_no_rule_knew(engine: Engine, stored: Stored) -> None:
    refused = only(Platform(engine, "github", replace(RULE, source="other")).published("sdk/v1.0.0"))
    again = Platform(engine, "github").published("sdk/v1.0.0")
    assert (only(again), again.new) == (refused, False)
    run = stored.run(refused)
    assert (run.module, run.target.mirror, run.commit) == (f"{MODULE}/sdk", "go-mirrors/platform/log", "")
    assert (run.status, run.attempt, run.error) == (Status.QUEUED, 2, None)
    assert only(Platform(engine, "github").published("sdk/v1.0.0", more=1)) == refused


def test_a_redelivery_does_not_bring_a_release_twice(engine: Engine, stored: Stored) -> None:
    refused = only(Platform(engine, "github", replace(RULE, source="other")).published())
    today = Platform(engine, "github")
    other = only(today.published(more=1))
    assert only(today.published()) == other
    assert stored.run(refused).status is Status.REJECTED


def test_a_replay_does_not_bring_a_release_twice(engine: Engine, stored: Stored) -> None:
    run = only(Platform(engine, "github", replace(RULE, source="other")).published())
    today = Platform(engine, "github")
    other = only(today.published(more=1))
    replay = Replay(SqlReplayStore(engine), today.queue, FakeClock(), today.planner.today)
    with pytest.raises(SyncError, match=f"not_replayable: run {other}"):
        replay.replay(run, ReplayOrder("cli:alice", ""))


def test_names_that_are_too_long_are_recorded_and_answered(engine: Engine, stored: Stored) -> None:
    github = Platform(engine, "github")
    answer = github.published(f"v1.0.0-{'a' * 300}")
    assert (answer.ignored, answer.receipts) == ("not_a_version_tag", ())
    longest = f"v2.0.0-{'a' * 180}"
    assert (stored.run(only(github.pushed(longest))).version, len(longest)) == (longest, 187)
    run = stored.run(only(github.published(url=f"https://git.corp.example/{'x' * 300}/{'y' * 300}.git")))
    assert (run.status, run.error, len(run.module)) == (Status.REJECTED, "no_rule", 500)
    with pytest.raises(SyncError, match="longer than 187"):
        Platform(engine, "article").send(
            {"ref": "main", "commit_id": A, "module_path": MODULE, "version": longest + "a"}
        )


def test_prereleases_that_the_policy_leaves_out_are_named(engine: Engine) -> None:
    items = [{"ref": f"refs/tags/{tag}", "module_path": MODULE} for tag in ("v1.1.0-rc.1", "v1.0.0")]
    article = Platform(engine, "article", policy=Policy(prereleases=False))
    answer = article.send({"commit_id": A, "releases": items})
    assert (len(answer.receipts), answer.ignored) == (1, None)
    assert answer.message == f"prereleases, which this source's policy leaves out: {MODULE}@v1.1.0-rc.1"
    found = SqlDeliveryStore(engine).detail(answer.delivery)
    assert found is not None
    assert found.message == answer.message
    assert Platform(engine, "article").send({"commit_id": B, "releases": items}).message == ""


def test_tags_wait_for_their_release_where_the_policy_says_so(engine: Engine, stored: Stored) -> None:
    github = Platform(engine, "github", policy=Policy(tag_events=False, prereleases=False))
    assert github.pushed().ignored == "tag_event"
    assert stored.run(only(github.published())).version == "v1.0.0"


def test_an_artifact_whose_name_is_too_long_is_answered(engine: Engine) -> None:
    data = {"repo_key": "go-local", "path": f"go.corp.example/{'x/' * 260}y/@v/v1.0.0.zip", "name": "v1.0.0.zip"}
    answer = Platform(engine, "artifactory").send({"domain": "artifact", "event_type": "deployed", "data": data})
    assert (answer.ignored, answer.receipts) == ("not_a_release", ())


@pytest.mark.parametrize(
    "url", ["http://git.corp.example:3000/platform/log.git", "ssh://git@GIT.corp.example:22/platform/log"]
)
def test_how_the_platform_calls_the_repository_is_not_how_it_is_cloned(
    engine: Engine, stored: Stored, url: str
) -> None:
    run = stored.run(only(Platform(engine, "github").published(url=url)))
    assert (run.status, run.module, run.target.clone_url) == (Status.QUEUED, MODULE, URL)


def test_what_only_the_platform_itself_can_reach_is_said(engine: Engine, stored: Stored) -> None:
    run = stored.run(only(Platform(engine, "github").published(url="http://localhost:3000/platform/log.git")))
    assert (run.status, run.error) == (Status.REJECTED, "no_rule")
    assert run.error_message is not None
    assert "localhost/platform/log: the platform calls itself by an address that only it can use" in run.error_message
    run = stored.run(only(Platform(engine, "github").published(url="https://elsewhere.example/a/log.git", more=1)))
    assert (run.error_message or "").endswith("knows the repository of elsewhere.example/a/log")


@pytest.mark.parametrize("url", ["https://elsewhere.example/platform/log.git", "http://127.0.0.1/x/y", "git@host:a/b"])
def test_a_repository_that_nobody_knows_is_no_error_of_the_platform(engine: Engine, stored: Stored, url: str) -> None:
    run = stored.run(only(Platform(engine, "github").published(url=url)))
    assert (run.status, run.error) == (Status.REJECTED, "no_rule")


def test_a_clone_url_that_is_not_allowed_is_recorded(engine: Engine, stored: Stored) -> None:
    run = stored.run(only(Platform(engine, "github", allow="https://git.corp.example/other/**").published()))
    assert (run.status, run.error, run.target.clone_url) == (Status.REJECTED, "clone_url_refused", "")


def test_events_of_one_tag_are_one_run_while_it_is_in_flight(github: Platform, stored: Stored) -> None:
    pushed = only(github.pushed())
    published = github.published()
    assert (only(published), published.new) == (pushed, False)


def test_a_release_and_then_a_push_meet_at_the_commit(github: Platform, stored: Stored) -> None:
    published, pushed = only(github.published()), only(github.pushed())
    assert published != pushed
    claim = stored.claim(published)
    refusal = stored.flow.take_version(claim, Version.parse("v1.0.0"), A, stored.now)
    assert refusal is not None
    assert (refusal.code, pushed in refusal.message) == ("duplicate_release", True)


def test_a_push_after_the_commit_was_found_changes_nothing(github: Platform, stored: Stored) -> None:
    run = only(github.published())
    assert stored.flow.take_version(stored.claim(run), Version.parse("v1.0.0"), A, stored.now) is None
    assert (stored.run(run).commit, stored.held()["commit"]) == (A, A)
    assert only(github.pushed()) == run
    # The very same delivery again names the run that it made, though that has a commit now.
    again = github.published()
    assert (only(again), again.new) == (run, False)
    stored.later(60)
    stored.finish(run)
    assert only(github.published()) == run


def test_a_release_that_was_told_before_is_looked_at_again_once_it_ended(github: Platform, stored: Stored) -> None:
    first = only(github.pushed())
    stored.finish(first)
    second = only(github.published())
    assert second != first
    refusal = stored.flow.take_version(stored.claim(second), Version.parse("v1.0.0"), B, stored.now)
    assert refusal is not None
    assert refusal.code == "version_moved"


def test_a_release_that_failed_is_begun_anew_by_another_event(github: Platform, stored: Stored) -> None:
    failed = only(github.pushed())
    stored.fail(failed, error="tag_missing")
    second = only(github.published())
    refusal = stored.flow.take_version(stored.claim(second), Version.parse("v1.0.0"), A, stored.now)
    assert refusal is not None
    assert refusal.code == "duplicate_release"
    run = stored.run(failed)
    assert (run.status, run.attempt, run.stage) == (Status.QUEUED, 2, Stage.MIRROR)
    assert [due.id for due in stored.sweep.due(stored.now, stored.now, 10)] == [failed]


def test_every_scheme_has_a_platform_here() -> None:
    assert {"github", "gitea", "forgejo", "gitlab-token", "artifactory"} < set(SCHEMES)


def test_each_release_of_a_body_is_counted_and_what_is_too_much_leaves_nothing(engine: Engine) -> None:
    platform, counted = Platform(engine, "article"), list[tuple[str, int]]()

    def limit(source: str, further: int) -> None:
        counted.append((source, further))
        if further > 39:
            raise SyncError("source_rate_limited", "too many", retry_after=1)

    platform.intake._limit = limit
    platform.send(many_modules(40))
    with pytest.raises(SyncError, match="source_rate_limited"):
        platform.send(many_modules(41))
    assert counted == [("platform", 0), ("platform", 39), ("platform", 0), ("platform", 40)]
    log = Deliveries(SqlDeliveryStore(engine), platform.intake, lambda *_: None)
    (kept,) = log.list(DeliveryFilter()).items
    log.redeliver(kept.id, "cli:alice")
    assert len(counted) == 4


def many_modules(count: int) -> dict[str, Any]:
    releases = [{"module_path": f"{MODULE}/m{n}", "ref": f"refs/tags/m{n}/v1.0.0"} for n in range(count)]
    return {"commit_id": A, "releases": releases}
