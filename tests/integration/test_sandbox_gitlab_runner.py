"""Pipelines of the stand-in GitLab, run by its runner: states, names, variables, retries, ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from gitlab import exceptions
from gitlab.v4.objects import Project, ProjectPipeline

from tests.integration.gitlab_world import Clock, connect, make_project
from tests.integration.precache_world import TEMPLATE, VALUES, ScriptedProxy
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.model import Level
from tests.sandbox.runner import Runner
from tests.sandbox.serve import LoopbackServer

PATH = "platform/mirror"
CI_PROJECT = "platform/ci"
CI = """
workflow:
  name: "modsync $RUN"
say:
  script:
    - echo "$RUN on $CI_COMMIT_REF_NAME of $CI_PROJECT_PATH" | tr a-z A-Z
    - ls -A | wc -l
"""
SLEEPER = 'job:\n  script:\n    - sleep 600 & sleep 600 & echo "pids $! $$"; wait\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as running:
        running.create_project(CI_PROJECT, {"ci.yml": CI})
        yield running


@pytest.fixture
def runner(server: GitLab) -> Iterator[Runner]:
    with Runner(server) as running:
        yield running


@pytest.fixture
def token(server: GitLab) -> str:
    return server.create_token()


@pytest.fixture
def project(server: GitLab, token: str) -> Project:
    """A project with a branch `ci-sync` whose CI file is in another project."""
    made = make_project(
        connect(server, token),
        "platform",
        "mirror",
        ci_config_path=f"ci.yml@{CI_PROJECT}",
        ci_pipeline_variables_minimum_override_role="developer",
    )
    server.world.repository(server.project(PATH)).seed("ci-sync", {"go.mod": "module example.com/m\n"}, "release")
    return made


def use(server: GitLab, text: str) -> None:
    """Change the CI file of the other project."""
    server.world.repository(server.project(CI_PROJECT)).seed("main", {"ci.yml": text}, "change")


def start(project: Project, ref: str = "ci-sync", **variables: str) -> ProjectPipeline:
    pairs = [{"key": key, "value": value} for key, value in variables.items()]
    made = project.pipelines.create({"ref": ref, "variables": pairs})
    assert isinstance(made, ProjectPipeline)
    return made


def end(server: GitLab, pipeline: ProjectPipeline) -> str:
    return server.wait_for_pipeline(pipeline.id, "success", "failed", "canceled")


def refusal(project: Project, **order: Any) -> tuple[int | None, Any]:
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        project.pipelines.create({"ref": "ci-sync", **order})
    return caught.value.response_code, caught.value.error_message


def test_a_pipeline_runs_a_file_of_another_project(server: GitLab, runner: Runner, project: Project) -> None:
    made = start(project, RUN="r-1")
    assert (made.status, made.name, made.sha) == ("created", "modsync r-1", server.refs(PATH)["refs/heads/ci-sync"])
    assert "variables" not in made.attributes
    assert end(server, made) == "success"
    job = project.jobs.get(project.pipelines.get(made.id).jobs.list(get_all=True)[0].id)
    trace = bytes(job.trace()).decode()
    assert "R-1 ON CI-SYNC OF PLATFORM/MIRROR\n" in trace
    assert trace.splitlines()[-2:] == ["0", "Job succeeded"]  # an empty directory


def test_pipelines_are_found_by_name_ref_and_sha(server: GitLab, project: Project) -> None:
    made = [start(project, RUN=run) for run in ("r-1", "r-2", "r-2")]
    found = [one.id for one in project.pipelines.list(name="modsync r-2", get_all=True)]
    assert found == [made[2].id, made[1].id]
    full = project.pipelines.list(ref="refs/heads/ci-sync", sha=made[0].sha, sort="asc", get_all=True)
    assert [one.id for one in full] == [one.id for one in made]
    assert project.pipelines.list(ref="other", get_all=True) == []
    assert [one.key for one in project.pipelines.get(made[0].id).variables.list(get_all=True)] == ["RUN"]


def test_without_a_runner_it_stays_pending(server: GitLab, project: Project) -> None:
    assert project.pipelines.get(start(project, RUN="x").id).status == "pending"


def test_a_failing_line_fails_the_job_and_retry_runs_it_again(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, 'job:\n  script:\n    - echo before\n    - test "$RUN" = good\n    - echo after\n')
    made = start(project, RUN="bad")
    assert (end(server, made), "after" in server.trace(made.id)) == ("failed", False)
    job = project.pipelines.get(made.id).jobs.list(get_all=True)[0]
    assert (job.status, job.failure_reason) == ("failed", "script_failure")
    server.world.pipelines[made.id].variables["RUN"].value = "good"
    made.retry()
    assert end(server, made) == "success"
    jobs = project.pipelines.get(made.id).jobs
    assert (len(jobs.list(get_all=True)), len(jobs.list(include_retried=True, get_all=True))) == (1, 2)


def test_the_file_says_how_often_to_retry(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, "job:\n  retry: {max: 2}\n  script: [exit 3]\n")
    made = start(project)
    assert end(server, made) == "failed"
    jobs = project.pipelines.get(made.id).jobs.list(include_retried=True, get_all=True)
    assert [job.status for job in jobs] == ["failed"] * 3


def test_stages_follow_one_another(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, "stages: [one, two]\nb: {stage: two, script: [echo b]}\na: {stage: one, script: [exit 1]}\n")
    made = start(project)
    assert end(server, made) == "failed"
    assert {job.name: job.status for job in project.pipelines.get(made.id).jobs.list(get_all=True)} == {
        "a": "failed",
        "b": "skipped",
    }


def alive(pid: int) -> bool:
    """Killed, it may wait a moment for init to reap it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sleepers(server: GitLab, made: ProjectPipeline) -> list[int]:
    """The job's processes, once it has named them."""
    with server.world.changed:
        assert server.world.changed.wait_for(lambda: "\npids " in server.trace(made.id), 20)
    line = next(line for line in server.trace(made.id).splitlines() if line.startswith("pids "))
    return [int(word) for word in line.split()[1:]]


def test_cancel_kills_the_whole_group(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, SLEEPER)
    made = start(project)
    pids = sleepers(server, made)
    made.cancel()
    assert project.pipelines.get(made.id).status == "canceled"
    runner.stop()
    assert not any(alive(pid) for pid in pids)
    made.cancel()  # 200 although there is nothing left to cancel


def test_stopping_the_runner_leaves_no_process_and_no_file(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, SLEEPER)
    made = start(project)
    pids = sleepers(server, made)
    runner.stop()
    assert not any(alive(pid) for pid in pids)
    assert list(server.jobs.folder.iterdir()) == []
    assert project.pipelines.get(made.id).jobs.list(get_all=True)[0].failure_reason == "runner_system_failure"


def test_a_timeout_ends_a_job(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, "job:\n  timeout: 1 second\n  script: [sleep 600]\n")
    made = start(project)
    assert end(server, made) == "failed"
    assert project.pipelines.get(made.id).jobs.list(get_all=True)[0].failure_reason == "job_execution_timeout"


def test_variables_masked_file_and_expanded(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, 'job:\n  script:\n    - echo "$TOKEN $GREETING"; cat "$CA"\n    - echo "$LITERAL"\n')
    project.variables.create({"key": "TOKEN", "value": "s3cret-value", "masked": True})
    server.set_variable("CA", "-----BEGIN", project=PATH, file=True)
    server.set_variable("GREETING", "of the instance")
    made = start(project, GREETING="for $CI_PROJECT_NAME", LITERAL="$(id) `id` 'x")
    assert end(server, made) == "success"
    trace = server.trace(made.id)
    assert "[MASKED] for mirror\n-----BEGIN" in trace
    assert "$(id) `id` 'x\n" in trace
    assert "s3cret" not in trace


def test_why_a_pipeline_is_not_made(server: GitLab, project: Project) -> None:
    git = server.world.repository(server.project(PATH))
    assert refusal(project, ref="nowhere") == (400, {"base": ["Reference not found"]})
    git.seed("twice", {"a": "a"}, "a")
    git.set_ref("refs/tags/twice", server.refs(PATH)["refs/heads/twice"])
    assert refusal(project, ref="twice") == (400, {"base": ["Ref is ambiguous"]})
    assert project.pipelines.create({"ref": "refs/tags/twice"}).attributes["tag"] is True
    server.project(PATH).settings["ci_config_path"] = ""
    assert refusal(project) == (400, {"base": ["Missing CI config file"]})
    server.project(PATH).settings["ci_config_path"] = "x.yml@no/where"
    assert "not found or access denied" in refusal(project)[1]["base"][0]
    server.project(PATH).settings["builds_access_level"] = "disabled"
    assert refusal(project) == (400, {"base": ["Pipelines are disabled!"]})


def test_a_commit_has_so_many_pipelines_a_minute(server: GitLab, project: Project) -> None:
    git, clock = server.world.repository(server.project(PATH)), Clock()
    server.settings.pipelines_a_minute, server.world.clock = 2, clock
    assert [start(project).status for _ in range(2)] == ["created"] * 2
    said = "Too many pipelines created in the last minute. Try again later."
    assert refusal(project) == (400, {"base": [said]})
    git.seed("other", {"a": "a"}, "a")
    assert start(project, "other").status == "created"  # of another commit
    clock.advance(60)
    assert start(project).status == "created"


def test_skip_ci_in_the_commits_message_does_not_count_by_api(server: GitLab, project: Project) -> None:
    seeded = server.world.repository(server.project(PATH))
    seeded.seed("ci-sync", {"go.mod": "module example.com/n\n"}, "release [skip ci]")
    assert start(project).status == "created"
    assert [one.status for one in server.pipelines(PATH)] == ["pending"]


def test_who_may_set_variables_and_run_pipelines(server: GitLab, token: str, project: Project) -> None:
    project.ci_pipeline_variables_minimum_override_role = "no_one_allowed"
    project.save()
    said = {"base": ["Insufficient permissions to set pipeline variables"]}
    assert refusal(project, variables=[{"key": "A", "value": "b"}]) == (400, said)
    secret = project.triggers.create({"description": "modsync"}).token
    with pytest.raises(exceptions.GitlabCreateError) as caught:
        project.trigger_pipeline("ci-sync", secret, {"A": "b"})
    assert str(caught.value.error_message) == str(said)
    server.add_member(PATH, "reporter", Level.REPORTER)
    other = connect(server, server.create_token(user="reporter")).projects.get(PATH)
    assert refusal(other)[0] == 403


def test_trigger_tokens(server: GitLab, runner: Runner, project: Project) -> None:
    trigger = project.triggers.create({"description": "modsync"})
    made = project.trigger_pipeline("ci-sync", trigger.token, {"RUN": "r-7"})
    assert (made.source, made.name) == ("trigger", "modsync r-7")
    assert end(server, made) == "success"
    place = f"{server.url}/api/v4/projects/{project.id}/trigger/pipeline"
    bad = [{"token": trigger.token, "ref": "ci-sync", "variables": {"A": 1}}, {"token": "wrong", "ref": "ci-sync"}]
    answers = [requests.post(place, json=one, timeout=9) for one in bad]
    assert [answer.status_code for answer in answers] == [400, 404]
    assert answers[0].json() == {"message": "variables needs to be a map of key-valued strings"}


def test_a_payload_above_128_kb_breaks_the_job(server: GitLab, runner: Runner, project: Project) -> None:
    trigger = project.triggers.create({"description": "modsync"})
    made = project.trigger_pipeline("ci-sync", trigger.token, {"RUN": "r-8", "BIG": "x" * 140_000})
    assert end(server, made) == "failed"
    assert "Argument list too long" in server.trace(made.id)


def test_inputs(server: GitLab, runner: Runner, project: Project) -> None:
    header = "spec:\n  inputs:\n    module: {default: none}\n---\n"
    use(server, header + 'job:\n  variables: {M: "$[[ inputs.module ]]"}\n  script: [\'echo "module is $M"\']\n')
    project.ci_pipeline_variables_minimum_override_role = "no_one_allowed"
    project.save()
    made = project.pipelines.create({"ref": "ci-sync", "inputs": {"module": "example.com/m"}})
    assert isinstance(made, ProjectPipeline)
    assert (end(server, made), "module is example.com/m" in server.trace(made.id)) == ("success", True)
    assert "not defined in the `spec`" in refusal(project, inputs={"other": "x"})[1]["base"][0]


def test_unknown_and_blocked_states(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, "job:\n  rules: [{when: manual, allow_failure: false}]\n  script: [echo played]\n")
    made = start(project)
    assert project.pipelines.get(made.id).status == "manual"
    server.force_status(made.id, "hibernating")
    assert project.pipelines.get(made.id).status == "hibernating"
    server.force_status(made.id, None)
    project.jobs.get(project.pipelines.get(made.id).jobs.list(get_all=True)[0].id).play()
    assert end(server, made) == "success"


def test_the_precache_template_in_the_whole(server: GitLab, runner: Runner, project: Project) -> None:
    use(server, TEMPLATE.read_text())
    proxy = ScriptedProxy()
    with LoopbackServer(proxy) as upstream:
        project.variables.create({"key": "MODSYNC_PROXY_URL", "value": upstream.url})
        made = start(project, **VALUES)
        assert end(server, made) == "success", server.trace(made.id)
    assert (made.name, len(proxy.paths)) == ("modsync r-1", 3)


def test_the_precache_template_runs_for_modsync_only(server: GitLab, token: str, project: Project) -> None:
    use(server, TEMPLATE.read_text())
    assert refusal(project) == (400, {"base": ["Pipeline filtered out by workflow rules."]})
    assert server.pipelines(PATH) == []


def test_a_file_given_by_the_sandbox(server: GitLab, runner: Runner, project: Project, tmp_path: Path) -> None:
    given = tmp_path / "given.yml"
    given.write_text("job:\n  script: [echo given]\n")
    server.project(PATH).settings["ci_config_path"] = ""
    server.settings.ci_file = given
    made = start(project)
    assert (end(server, made), "given\n" in server.trace(made.id)) == ("success", True)
