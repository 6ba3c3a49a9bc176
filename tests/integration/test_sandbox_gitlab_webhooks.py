"""Webhooks that the stand-in GitLab sends: when, how signed, and when it gives up."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from standardwebhooks import Webhook

from tests.integration.gitlab_world import Clock
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.model import Variable
from tests.sandbox.gitlab.pipelines import Order, create, create_skipped, refresh
from tests.sandbox.gitlab.webhooks import Sent
from tests.sandbox.serve import LoopbackServer

PATH = "mirrors/go/ledger"
SIGNING = "whsec_" + base64.b64encode(b"a signing key of 24 byte").decode()
STATES = ["pending", "running", "success"]


class Receiver:
    """Answers every POST with `status`; `seen` are the headers and bodies."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.server = LoopbackServer(self._answer)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-").lower(): str(environ[name]) for name in environ if name[:5] == "HTTP_"}
        self.seen.append((headers, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
        self.goes_on.wait()
        start_response(self.status, [("Content-Length", "0")])
        return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with receiver.server:
        yield receiver


@pytest.fixture
def gitlab(tmp_path: Path, clock: Clock) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab", clock=clock) as gitlab:
        project = gitlab.create_project(
            PATH, {".gitlab-ci.yml": "workflow:\n  name: 'modsync $RUN'\njob:\n  script: [a]\n"}
        )
        project.settings["ci_pipeline_variables_minimum_override_role"] = "developer"
        yield gitlab


def pipeline(gitlab: GitLab, *, run: bool = True) -> int:
    """A pipeline of one job, run to its success; its id."""
    world = gitlab.world
    with world.lock:
        made = create(world, gitlab.project(PATH), Order("main", "api", world.user("modsync")))
        refresh(world, made)
    if run:
        job = gitlab.jobs.take(lambda: False)
        assert job is not None
        gitlab.jobs.finish(job.job_id, "success")
    return made.id


def sent(gitlab: GitLab, enough: Callable[[list[Sent]], bool]) -> list[Sent]:
    """What was sent, as soon as it is enough."""
    with gitlab.world.changed:
        assert gitlab.world.changed.wait_for(lambda: enough(gitlab.webhooks.sent), 60), gitlab.webhooks.sent
        return list(gitlab.webhooks.sent)


def ended(found: list[Sent]) -> bool:
    return bool(found) and found[-1].state == "success"


def test_every_change_of_state_is_told_in_order(gitlab: GitLab, receiver: Receiver) -> None:
    gitlab.webhooks.add("mirrors", receiver.server.url, secret="token")
    number = pipeline(gitlab)
    found = sent(gitlab, lambda each: len(each) >= len(STATES))
    assert [each.pipeline for each in found] == [number] * 3
    assert found[-1].state == "success"  # the body shows the pipeline as it is when the event is sent
    headers, body = receiver.seen[-1]
    assert (headers["x-gitlab-token"], headers["x-gitlab-event"]) == ("token", "Pipeline Hook")
    assert "webhook-signature" not in headers
    event = json.loads(body)
    assert event["object_kind"] == "pipeline"
    assert event["project"]["path_with_namespace"] == PATH
    assert (event["object_attributes"]["id"], event["object_attributes"]["status"]) == (number, "success")
    assert [each["status"] for each in event["builds"]] == ["success"]


def test_a_signing_token_signs_as_standard_webhooks(gitlab: GitLab, receiver: Receiver, clock: Clock) -> None:
    gitlab.webhooks.add(PATH, receiver.server.url, signing=SIGNING)
    pipeline(gitlab)
    sent(gitlab, ended)
    headers, body = receiver.seen[-1]
    assert Webhook(SIGNING).verify(body, headers)["object_kind"] == "pipeline"
    assert headers["webhook-id"] == headers["idempotency-key"]
    assert "x-gitlab-token" not in headers


def test_values_of_variables_are_in_the_event(gitlab: GitLab, receiver: Receiver) -> None:
    gitlab.webhooks.add(PATH, receiver.server.url)
    world = gitlab.world
    order = Order("main", "api", world.user("modsync"), {"RUN": Variable("RUN", "r-1")})
    with world.lock:
        refresh(world, create(world, gitlab.project(PATH), order))
    sent(gitlab, bool)
    attributes = json.loads(receiver.seen[0][1])["object_attributes"]
    assert (attributes["name"], attributes["variables"]) == ("modsync r-1", [{"key": "RUN", "value": "r-1"}])


def test_other_groups_hooks_hear_nothing(gitlab: GitLab, receiver: Receiver) -> None:
    gitlab.webhooks.add("mirror", f"{receiver.server.url}/never")
    gitlab.webhooks.add("mirrors/go", f"{receiver.server.url}/group")
    pipeline(gitlab)
    assert {each.hook.path for each in sent(gitlab, ended)} == {"mirrors/go"}


def test_a_push_without_ci_is_told_as_skipped(gitlab: GitLab, receiver: Receiver) -> None:
    gitlab.webhooks.add(PATH, receiver.server.url)
    world = gitlab.world
    with world.lock:
        ref = world.repository(gitlab.project(PATH)).ref("refs/heads/main")
        assert ref is not None
        create_skipped(world, gitlab.project(PATH), world.user("modsync"), ref)
    assert [each.state for each in sent(gitlab, bool)] == ["skipped"]
    assert json.loads(receiver.seen[0][1])["object_attributes"]["name"] is None


def test_nothing_is_sent_again(gitlab: GitLab, receiver: Receiver) -> None:
    receiver.status = "503 Service Unavailable"
    gitlab.webhooks.add(PATH, receiver.server.url)
    pipeline(gitlab)
    assert [each.status for each in sent(gitlab, lambda each: len(each) >= len(STATES))] == [503] * 3
    assert len(receiver.seen) == 3


def test_four_failures_switch_a_hook_off_for_longer_and_longer(
    gitlab: GitLab, receiver: Receiver, clock: Clock
) -> None:
    receiver.status = "401 Unauthorized"
    hook = gitlab.webhooks.add(PATH, receiver.server.url)
    for count in (3, 4):
        pipeline(gitlab, run=count == 3)
        sent(gitlab, lambda each, count=count: len(each) >= count)  # type: ignore[misc]
    assert hook.off_until == clock.now + timedelta(minutes=1)

    clock.advance(61)
    last = pipeline(gitlab, run=False)
    sent(gitlab, lambda each: each[-1].pipeline == last)
    assert hook.off_until == clock.now + timedelta(minutes=2)

    clock.advance(121)
    receiver.status = "200 OK"
    last = pipeline(gitlab, run=False)
    sent(gitlab, lambda each: each[-1].pipeline == last)
    assert [each.status for each in gitlab.webhooks.sent][-1] == 200
    assert hook.failures == 0


def test_nobody_who_listens_is_a_failure_and_a_stopped_gitlab_sends_later(gitlab: GitLab, receiver: Receiver) -> None:
    receiver.server.stop()
    hook = gitlab.webhooks.add(PATH, receiver.server.url)
    pipeline(gitlab, run=False)
    assert [each.status for each in sent(gitlab, bool)] == [0]
    assert hook.failures == 1

    gitlab.stop()
    receiver.server.start()
    waiting = pipeline(gitlab, run=False)
    assert receiver.seen == []
    gitlab.start()
    assert sent(gitlab, lambda each: each[-1].pipeline == waiting)[-1].status == 200


def test_who_does_not_answer_in_time_has_failed(gitlab: GitLab, receiver: Receiver) -> None:
    assert gitlab.webhooks.timeout == 10
    gitlab.webhooks.timeout = 0.2
    receiver.goes_on.clear()
    hook = gitlab.webhooks.add(PATH, receiver.server.url)
    pipeline(gitlab, run=False)
    try:
        assert [each.status for each in sent(gitlab, bool)] == [0]
        assert (hook.failures, len(receiver.seen)) == (1, 1)
    finally:
        receiver.goes_on.set()
