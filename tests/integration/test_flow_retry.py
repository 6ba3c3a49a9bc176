"""A pipeline whose runner broke is retried by GitLab itself, once; one whose script failed is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.run import Status
from tests.integration.flow_world import FlowWorld


@pytest.fixture
def world(tmp_path: Path) -> FlowWorld:
    return FlowWorld(tmp_path)


def look(world: FlowWorld, run: str) -> None:
    world.clock.advance(2)
    world.advance(run)


def test_a_broken_runner_costs_a_retry_and_no_second_pipeline(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "failed", by_runner=True)
    look(world, run)
    assert (world.run(run).status, world.run(run).facts["pipeline"]["retries"]) == (Status.PIPELINE, 1)
    world.cache("v1.0.0")
    world.gitlab.finish(1, "success")
    world.settle(run)
    assert world.run(run).status is Status.DONE
    assert list(world.gitlab.pipelines) == [1]


def test_a_runner_that_breaks_again_ends_the_run(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    for _ in range(2):
        world.gitlab.finish(1, "failed", by_runner=True)
        look(world, run)
    assert (world.run(run).status, world.run(run).error) == (Status.FAILED, "pipeline_failed")
    assert world.gitlab.calls.count("retry_pipeline") == 1


def test_a_script_that_failed_is_not_run_again(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "failed", "exit 1")
    look(world, run)
    assert (world.run(run).status, world.run(run).error) == (Status.FAILED, "pipeline_failed")
    assert world.run(run).facts["pipeline"]["status"] == "failed"


def test_of_a_jobs_output_the_log_has_one_line(world: FlowWorld, caplog: pytest.LogCaptureFixture) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "failed", "one\ntwo\nthree")
    with caplog.at_level("INFO"):
        look(world, run)
    assert "ended with:\none\ntwo\nthree" in str(world.run(run).error_message)
    told = [vars(record)["error"] for record in caplog.records if getattr(record, "code", "") == "pipeline_failed"]
    assert [each.partition("ended with: ")[2] for each in told] == ["one ..."]


def test_a_refused_retry_is_the_failure_that_it_was(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "failed", by_runner=True)
    world.gitlab.fail("retry_pipeline", SyncError("forbidden", "403"))
    look(world, run)
    assert world.run(run).error == "pipeline_failed"


def test_a_gitlab_that_is_away_is_asked_again(world: FlowWorld) -> None:
    run = world.take_to_pipeline()
    world.gitlab.finish(1, "failed", by_runner=True)
    world.gitlab.fail("retry_pipeline", SyncError("gitlab_unreachable", "no answer"))
    look(world, run)
    assert (world.run(run).status, world.run(run).error) == (Status.PIPELINE, "gitlab_unreachable")
