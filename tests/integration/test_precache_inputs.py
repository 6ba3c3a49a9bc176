"""deploy/gitlab/precache-inputs.gitlab-ci.yml: parameters as pipeline inputs, with pipeline variables forbidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.integration.gitlab_helpers import PATH, connect, refusal
from tests.integration.gitlab_world import connect as client
from tests.integration.precache_world import VALUES
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.ci_variables import job_variables

FOLDER = Path(__file__).parents[2] / "deploy/gitlab"
INPUTS = "precache-inputs.gitlab-ci.yml"
SENT = {key: value for key, value in VALUES.items() if key not in ("MODSYNC_WAIT", "MODSYNC_POLL")} | {
    "MODSYNC_PROXY_URL": "https://goproxy.corp.example", "MODSYNC_PROXY_WAIT": "2100",
}  # fmt: skip


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        files = {path.name: path.read_text() for path in FOLDER.glob("*.gitlab-ci.yml")}
        server.create_project("platform/ci-templates", files)
        yield server


def ready(gitlab: GitLab) -> int:
    """A mirror whose CI file takes inputs; its id."""
    api = connect(gitlab, ci_config_path=f"{INPUTS}@platform/ci-templates", pipeline_parameters="inputs")
    project = api.ensure_project(PATH).id
    gitlab.world.repository(gitlab.project(PATH)).seed("ci-sync", {"go.mod": "module example.com/x\n"}, "release")
    return project


def test_inputs_reach_the_job_and_name_the_pipeline(gitlab: GitLab) -> None:
    project = ready(gitlab)
    assert gitlab.project(PATH).settings["ci_pipeline_variables_minimum_override_role"] == "no_one_allowed"
    made = connect(gitlab, pipeline_parameters="inputs").create_pipeline(project, "ci-sync", SENT)
    assert made.name == f"modsync {SENT['MODSYNC_RUN']}"
    job = gitlab.world.jobs[gitlab.world.pipelines[made.id].jobs[0]]
    given = {one.key: one.value for one in job_variables(gitlab.world, job)}
    assert {key: given[key] for key in SENT} == SENT


def test_a_missing_input_makes_no_pipeline(gitlab: GitLab) -> None:
    project = ready(gitlab)
    less = {key: value for key, value in SENT.items() if key != "MODSYNC_VERSION"}
    error = refusal(lambda: connect(gitlab, pipeline_parameters="inputs").create_pipeline(project, "ci-sync", less))
    assert (error.code, "MODSYNC_VERSION" in error.message) == ("pipeline_refused", True)
    assert [one for one in gitlab.pipelines(PATH) if one.source == "api"] == []


def test_a_trigger_token_starts_it_too(gitlab: GitLab) -> None:
    project = ready(gitlab)
    trigger = _trigger(gitlab)
    api = connect(gitlab, token=gitlab.create_token(scopes=["read_api"]), pipeline_parameters="inputs", **trigger)
    made = api.create_pipeline(project, "ci-sync", SENT)
    assert gitlab.world.pipelines[made.id].source == "trigger"
    assert made.name == f"modsync {SENT['MODSYNC_RUN']}"


def test_a_wrong_trigger_token_is_refused_and_never_shown(gitlab: GitLab) -> None:
    project = ready(gitlab)
    api = connect(gitlab, trigger_token=SecretStr("glptt-" + "0" * 40), pipeline_parameters="inputs")
    error = refusal(lambda: api.create_pipeline(project, "ci-sync", SENT))
    assert (error.code, "glptt-" in error.message) == ("pipeline_refused", False)


def _trigger(gitlab: GitLab) -> dict[str, object]:
    """A trigger token of the project, as an option of the adapter."""
    api = client(gitlab, gitlab.create_token())
    made = api.projects.get(PATH).triggers.create({"description": "modsync"})
    return {"trigger_token": SecretStr(str(made.token))}
