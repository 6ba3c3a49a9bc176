"""GitLab's pipeline events end a run's wait at once; polling alone does, too, and both together double nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.adapters.flow_store import SqlFlowStore
from app.adapters.wake_store import SqlWakeStore
from app.domain.errors import SyncError
from app.domain.run import Status
from app.domain.webhook import Secret
from app.services.pipeline_hook import PipelineHook
from app.services.ports import Pipeline
from tests.integration.flow_world import FlowWorld

TOKEN, SIGNING = "a-plain-secret-token", "whsec_" + base64.b64encode(b"a signing key of 24 byte").decode()


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def hook(world: FlowWorld, *secrets: str) -> PipelineHook:
    known = [Secret(str(at), each.encode()) for at, each in enumerate(secrets or (TOKEN, SIGNING))]
    return PipelineHook(known, SqlWakeStore(world.engine), world.queue, world.clock)


def event(run: str, status: str = "success", pipeline: int = 1, project: int = 1) -> bytes:
    attributes = {"id": pipeline, "name": f"modsync {run}-1", "status": status}
    body: dict[str, Any] = {"object_kind": "pipeline", "object_attributes": attributes, "project": {"id": project}}
    return json.dumps(body).encode()


def token(secret: str = TOKEN) -> dict[str, str]:
    return {"X-Gitlab-Token": secret, "X-Gitlab-Event": "Pipeline Hook"}


def signed(raw: bytes, at: datetime) -> Mapping[str, str]:
    signature = Webhook(SIGNING).sign("msg-1", at, raw.decode())
    return {"webhook-id": "msg-1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def waiting(world: FlowWorld) -> str:
    """A run that has looked at its running pipeline and waits for the next look."""
    run = world.take_to_pipeline()
    world.advance(run)
    found = world.run(run)
    assert (found.status, found.facts["pipeline"]["id"]) == (Status.PIPELINE, 1)
    assert found.due_at is not None
    assert found.due_at > world.clock.now()
    world.queue.jobs.clear()
    world.cache("v1.0.0")
    world.gitlab.finish(1, "success")
    return run


def test_a_token_event_ends_the_wait_at_once(world: FlowWorld) -> None:
    run = waiting(world)
    assert hook(world).receive(token(), event(run)) == run
    assert [each for _, each in world.queue.jobs] == [run]
    world.work()  # the clock stands still: polling would not have looked
    assert world.run(run).status is Status.DONE


def test_a_signed_event_does_the_same(world: FlowWorld) -> None:
    run = waiting(world)
    raw = event(run)
    assert hook(world).receive(signed(raw, world.clock.now()), raw) == run
    world.work()
    assert world.run(run).status is Status.DONE


def test_polling_alone_is_enough(world: FlowWorld) -> None:
    run = waiting(world)
    world.settle(run)
    assert world.run(run).status is Status.DONE


def test_an_event_that_comes_twice_or_late_doubles_nothing(world: FlowWorld) -> None:
    run = waiting(world)
    receiver = hook(world)
    assert [receiver.receive(token(), event(run)) for _ in range(3)] == [run, None, None]
    assert len(world.queue.jobs) == 1
    world.work()
    assert receiver.receive(token(), event(run)) is None
    assert world.run(run).status is Status.DONE
    assert list(world.gitlab.pipelines) == [1]
    assert len(world.run(run).facts["verify"]) > 0


def test_the_body_is_a_hint_and_gitlab_is_asked(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.advance(run)
    assert hook(world).receive(token(), event(run, "success")) == run  # it is not: somebody lies
    world.work()
    assert world.run(run).status is Status.PIPELINE


def test_a_failure_is_known_at_once_with_its_job_and_log(world: FlowWorld) -> None:
    run = waiting(world)
    world.gitlab.finish(1, "failed", "it broke")
    hook(world).receive(token(), event(run, "failed"))
    world.work()
    failed = world.run(run)
    assert (failed.status, failed.error) == (Status.FAILED, "pipeline_failed")
    assert "job precache (" in (failed.error_message or "")
    assert "it broke" in (failed.error_message or "")


@pytest.mark.parametrize("other", [{"pipeline": 2}, {"project": 9}, {"status": "running"}])
def test_another_pipelines_event_wakes_nobody(world: FlowWorld, other: dict[str, Any]) -> None:
    run = waiting(world)
    assert hook(world).receive(token(), event(run, **other)) is None
    assert world.queue.jobs == []


def test_a_run_that_somebody_works_on_is_left_alone(world: FlowWorld) -> None:
    run = waiting(world)
    world.clock.advance(60)
    assert SqlFlowStore(world.engine).claim(run, "somebody", world.clock.now(), 10)
    assert hook(world).receive(token(), event(run)) is None
    assert world.queue.jobs == []


def test_a_run_that_is_due_already_does_not_wait_for_the_sweeper(world: FlowWorld) -> None:
    run = waiting(world)
    world.clock.advance(60)  # time for the next look, and nobody has given it a job yet
    receiver = hook(world)
    assert [receiver.receive(token(), event(run)) for _ in range(2)] == [run, None]
    assert [each for _, each in world.queue.jobs] == [run]


def told_while_looking(world: FlowWorld, told: str) -> str:
    """A worker asks GitLab, the pipeline ends and its event comes, and only then the worker has its answer: it runs."""
    run = world.take_to_pipeline()
    world.cache("v1.0.0")
    ask = world.gitlab.pipeline

    def overtaken(project: int, pipeline: int) -> Pipeline:
        answer = ask(project, pipeline)
        world.gitlab.pipeline = ask  # type: ignore[method-assign]
        world.gitlab.finish(1, told)
        assert hook(world).receive(token(), event(run, told)) is None
        return answer

    world.gitlab.pipeline = overtaken  # type: ignore[method-assign]
    world.queue.jobs.clear()
    world.clock.advance(60)  # time for the next look
    world.advance(run)
    return run


def test_an_event_that_comes_while_a_worker_looks_is_not_lost(world: FlowWorld) -> None:
    run = told_while_looking(world, "success")
    assert [each for _, each in world.queue.jobs] == [run]
    world.work()  # the clock stands still
    assert world.run(run).status is Status.DONE


def test_an_event_that_was_not_true_costs_one_look(world: FlowWorld) -> None:
    run = told_while_looking(world, "success")
    world.gitlab.finish(1, "running")
    world.work()
    found = world.run(run)
    assert found.due_at is not None
    assert found.due_at > world.clock.now()
    assert world.queue.jobs == []


def test_a_worker_that_dies_over_it_leaves_the_run_to_the_sweeper(world: FlowWorld) -> None:
    run = waiting(world)
    world.clock.advance(60)
    assert SqlFlowStore(world.engine).claim(run, "somebody", world.clock.now(), 10)
    assert hook(world).receive(token(), event(run)) is None
    world.settle(run)
    assert world.run(run).status is Status.DONE


@pytest.mark.parametrize("headers", [{}, token("wrong"), {"webhook-signature": "v1,AAAA"}])
def test_without_the_secret_nothing_is_believed(world: FlowWorld, headers: dict[str, str]) -> None:
    run = waiting(world)
    with pytest.raises(SyncError) as refused:
        hook(world).receive(headers, event(run))
    assert refused.value.code == "bad_signature"
    assert world.queue.jobs == []


def test_without_secrets_configured_every_event_is_refused(world: FlowWorld) -> None:
    receiver = PipelineHook([], SqlWakeStore(world.engine), world.queue, world.clock)
    with pytest.raises(SyncError) as refused:
        receiver.receive(token(""), event("r" + "0" * 19))
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b'{"object_kind": "push"}'])
def test_an_authentic_body_of_another_kind_is_no_error(world: FlowWorld, raw: bytes) -> None:
    assert hook(world).receive(token(), raw) is None
