"""The GitLab adapter makes pipelines and reads failed jobs, against the stand-in GitLab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.stages import Note
from app.services.stages.pipeline import PipelineOptions, PipelineRequest, PipelineStage
from tests.integration.gitlab_helpers import PATH, connect, ready_project, refusal
from tests.integration.gitlab_world import Clock
from tests.sandbox.gitlab import GitLab, faults


def test_variables_reach_the_pipeline(gitlab: GitLab, ready: int) -> None:
    hostile = "$(id) `id` \"';\n$CI_JOB_TOKEN"
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {"MODSYNC_RUN": "r1", "X": hostile})
    kept = gitlab.world.pipelines[made.id].variables
    assert {key: one.value for key, one in kept.items()} == {"MODSYNC_RUN": "r1", "X": hostile}


def test_inputs_take_the_place_of_variables(gitlab: GitLab, ready: int) -> None:
    gitlab.project(PATH).settings["ci_pipeline_variables_minimum_override_role"] = "no_one_allowed"
    made = connect(gitlab, pipeline_parameters="inputs").create_pipeline(ready, "ci-sync", {"module": "example.com/x"})
    assert made.name is not None
    assert made.name.endswith("example.com/x")
    error = refusal(lambda: connect(gitlab).create_pipeline(ready, "ci-sync", {"module": "example.com/x"}))
    assert (error.code, "set pipeline variables" in error.message) == ("pipeline_refused", True)


def test_a_missing_ci_file_is_its_own_error(gitlab: GitLab, ready: int) -> None:
    gitlab.settings.ci_file = None
    assert refusal(lambda: connect(gitlab).create_pipeline(ready, "ci-sync", {})).code == "no_ci_config"
    gitlab.project(PATH).settings["ci_config_path"] = "precache.yml@platform/none"
    error = refusal(lambda: connect(gitlab).create_pipeline(ready, "ci-sync", {}))
    assert (error.code, "platform/none" in error.message) == ("no_ci_config", True)


def _order(project: int, clock: Clock, number: int) -> PipelineRequest:
    """Of one module of many in one commit, with its intent noted."""
    module, version = ModulePath(f"example.com/x/m{number}"), Version("v1.0.0")
    order = PipelineRequest(
        f"r{number}-1", 1, project, f"m{number}/v1.0.0", module, version, "", {}, clock.now, clock.now
    )
    return replace(order, state=order.intent["pipeline"])


def _refused(stage: PipelineStage, order: PipelineRequest) -> SyncError | None:
    try:
        stage.run(order, {})
    except SyncError as error:
        return error
    return None


def test_all_modules_of_a_commit_get_their_pipelines_also_where_gitlab_makes_fewer_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    with GitLab(tmp_path / "gitlab", clock=clock) as gitlab:
        project, gitlab.settings.pipelines_a_minute = ready_project(gitlab), 25
        stage = PipelineStage(connect(gitlab), PipelineOptions())
        orders = [_order(project, clock, number) for number in range(30)]
        refused = [(order, error) for order in orders if (error := _refused(stage, order))]
        assert [(error.code, error.retry_after) for _, error in refused] == [("rate_limited", 60.0)] * 5
        clock.advance(60)
        for order, error in refused:
            noted = stage.run(replace(order, state=error.facts["pipeline"]), {})
            assert isinstance(noted, Note)
            stage.run(replace(order, state=noted.facts["pipeline"]), {})
        made = [one.variables["MODSYNC_RUN"].value for one in gitlab.pipelines(PATH)]
        assert sorted(made) == sorted(order.key for order in orders)
        assert len({one.sha for one in gitlab.pipelines(PATH)}) == 1


def test_a_number_that_was_taken_is_asked_for_again(gitlab: GitLab, ready: int) -> None:
    gitlab.faults.add("POST .*/pipeline$", faults.number_taken())
    error = refusal(lambda: connect(gitlab).create_pipeline(ready, "ci-sync", {}))
    assert (error.code, error.retryable) == ("gitlab_unavailable", True)
    assert connect(gitlab).create_pipeline(ready, "ci-sync", {}).status == "created"


def test_an_unknown_status_is_passed_on(gitlab: GitLab, ready: int) -> None:
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {})
    gitlab.force_status(made.id, "waiting_for_callback")
    assert connect(gitlab).pipeline(ready, made.id).status == "waiting_for_callback"


def _fail(gitlab: GitLab, log: bytes) -> None:
    for _ in range(2):
        job = gitlab.jobs.take(lambda: False)
        assert job is not None
        gitlab.jobs.append(job.job_id, log)
        gitlab.jobs.finish(job.job_id, "failed")


def test_the_guilty_job_is_the_one_that_may_not_fail_and_its_log_is_plain(gitlab: GitLab, ready: int) -> None:
    token = gitlab.create_token(scopes=["api"])
    api = connect(gitlab, token=token)
    made = api.create_pipeline(ready, "ci-sync", {})
    marks = b"\x1b[0Ksection_start:1700000000:step_script[collapsed=true]\r\x1b[0K\x1b[32;1mWarming\x1b[0;m\n"
    lines = b"".join(b"line %d\r\n" % number for number in range(40))
    _fail(gitlab, marks + lines + b" 10%\r 99%\rdone\n\n" + f"curl -H 'X: {token}' \xff\n".encode("latin-1") + marks)
    found = api.failed_job(ready, made.id)
    assert found is not None
    name, page, log = found
    assert name == "warm"
    assert page.startswith(gitlab.url)
    shown = log.splitlines()
    assert len(shown) == 30
    assert (shown[0], shown[-1], shown[-3]) == ("line 13", "Warming", "done")
    assert token not in log


def test_a_log_tells_none_of_the_other_secrets_that_we_know(gitlab: GitLab, ready: int) -> None:
    api = connect(gitlab, secrets=frozenset({"plain words of a proxy"}))
    made = api.create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"user goproxy, plain words of a proxy, refused\n")
    found = api.failed_job(ready, made.id)
    assert found is not None
    assert ("plain words" in found[2], "user goproxy" in found[2]) == (False, True)


def test_a_log_that_cannot_be_had_does_not_hide_the_job(gitlab: GitLab, ready: int) -> None:
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"x")
    gitlab.faults.add("GET .*/trace", faults.status(500))
    found = connect(gitlab).failed_job(ready, made.id)
    assert found is not None
    assert (found[0], found[2].startswith("(log not available: gitlab_unavailable")) == ("warm", True)


def test_an_endless_log_is_held_in_bounded_memory(gitlab: GitLab, ready: int) -> None:
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"x" * (8 * 1024 * 1024) + b"\nthe end\n")
    found = connect(gitlab).failed_job(ready, made.id)
    assert found is not None
    assert found[2].splitlines()[-1] == "the end"
    assert len(found[2]) < 1000


def test_of_a_log_that_is_too_long_the_end_of_what_was_read_is_shown(gitlab: GitLab, ready: int) -> None:
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"first words\n" + b"x" * (1024 * 1024) + b"\nthe end\n")
    found = connect(gitlab, max_log=12).failed_job(ready, made.id)
    assert found is not None
    assert found[2].splitlines()[0] == "first words"
    assert found[2].splitlines()[-1] == "(the log goes on: it is too long, or came too slowly)"
    assert "the end" not in found[2]


def test_of_a_log_that_drips_what_came_is_shown(gitlab: GitLab, ready: int) -> None:
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"x" * 8186 + b"\nheard" + b"." * 100_000)
    gitlab.faults.add("GET .*/trace", faults.dripping(at_once=8192))
    found = connect(gitlab, total_seconds=2).failed_job(ready, made.id)
    assert found is not None
    assert found[2].splitlines()[-2:] == ["heard", "(the log goes on: it is too long, or came too slowly)"]


def test_of_a_log_that_drips_from_the_start_it_is_said(gitlab: GitLab, ready: int) -> None:
    made = connect(gitlab).create_pipeline(ready, "ci-sync", {})
    _fail(gitlab, b"x" * 100_000)
    gitlab.faults.add("GET .*/trace", faults.dripping())
    found = connect(gitlab, total_seconds=2).failed_job(ready, made.id)
    assert found is not None
    assert found[2].startswith("(log not available: gitlab_unreachable")
    assert "time limit" in found[2]
