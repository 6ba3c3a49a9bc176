"""Pipelines started by a trigger token, with the parameters as pipeline variables, against the stand-in GitLab."""

from __future__ import annotations

import json
from typing import Any

import requests
from pydantic import SecretStr

from app.adapters.gitlab import GitLabApi
from tests.integration.gitlab_helpers import PATH, asked, connect, refusal
from tests.integration.gitlab_world import connect as client
from tests.integration.precache_world import VALUES
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.ci_variables import job_variables
from tests.sandbox.gitlab.model import Level


def trigger(gitlab: GitLab, user: str = "modsync") -> str:
    """A trigger token that this user made in the project."""
    made = client(gitlab, gitlab.create_token(user=user)).projects.get(PATH).triggers.create({"description": user})
    return str(made.token)


def connected(gitlab: GitLab, secret: str, **options: Any) -> GitLabApi:
    """An adapter whose own token could start nothing."""
    read = gitlab.create_token(scopes=["read_api"])
    return connect(gitlab, token=read, trigger_token=SecretStr(secret), **options)


def test_the_variables_reach_the_job_and_name_the_pipeline(gitlab: GitLab, ready: int) -> None:
    made = connected(gitlab, trigger(gitlab)).create_pipeline(ready, "ci-sync", VALUES)
    one = gitlab.world.pipelines[made.id]
    assert (one.source, one.ref) == ("trigger", "ci-sync")
    assert made.name == f"modsync {VALUES['MODSYNC_RUN']} none"
    given = {each.key: each.value for each in job_variables(gitlab.world, gitlab.world.jobs[one.jobs[0]])}
    assert {key: given[key] for key in VALUES} == VALUES
    assert json.loads(given["TRIGGER_PAYLOAD"])["variables"] == VALUES
    assert asked(gitlab, "POST")[-1:] == [f"POST /api/v4/projects/{ready}/trigger/pipeline"]


def test_a_form_says_the_same_as_a_map(gitlab: GitLab, ready: int) -> None:
    """`variables[KEY]=value`, as GitLab's documentation writes it for curl; modsync sends JSON."""
    form = {"token": trigger(gitlab), "ref": "ci-sync", **{f"variables[{key}]": each for key, each in VALUES.items()}}
    answer = requests.post(f"{gitlab.url}/api/v4/projects/{ready}/trigger/pipeline", data=form, timeout=9)
    assert answer.status_code == 201
    sent = connected(gitlab, trigger(gitlab)).create_pipeline(ready, "ci-sync", VALUES)
    ours, theirs = (gitlab.world.pipelines[number].variables for number in (sent.id, answer.json()["id"]))
    assert ours == theirs


def test_the_pipeline_is_found_by_its_name_like_any_other(gitlab: GitLab, ready: int) -> None:
    api = connected(gitlab, trigger(gitlab))
    made = api.create_pipeline(ready, "refs/heads/ci-sync", VALUES)
    found = api.find_pipeline(ready, made.name or "")
    assert found is not None
    assert found.id == made.id


def test_nobody_may_set_variables_by_a_trigger_token_either(gitlab: GitLab, ready: int) -> None:
    gitlab.project(PATH).settings["ci_pipeline_variables_minimum_override_role"] = "no_one_allowed"
    secret = trigger(gitlab)
    error = refusal(lambda: connected(gitlab, secret).create_pipeline(ready, "ci-sync", VALUES))
    assert error.code == "pipeline_refused"
    assert "Insufficient permissions to set pipeline variables" in error.message
    assert secret not in str(error)
    assert gitlab.pipelines(PATH) == []


def test_the_role_is_that_of_whoever_made_the_token(gitlab: GitLab, ready: int) -> None:
    gitlab.add_member(PATH, "helper", Level.MAINTAINER)
    secret = trigger(gitlab, "helper")
    assert connected(gitlab, secret).create_pipeline(ready, "ci-sync", VALUES).status == "created"
    gitlab.add_member(PATH, "helper", Level.REPORTER)
    error = refusal(lambda: connected(gitlab, secret).create_pipeline(ready, "ci-sync", VALUES))
    assert error.code == "forbidden"


def test_a_wrong_token_and_a_ref_that_is_not_there(gitlab: GitLab, ready: int) -> None:
    wrong = "glptt-" + "0" * 40
    error = refusal(lambda: connected(gitlab, wrong).create_pipeline(ready, "ci-sync", VALUES))
    assert (error.code, wrong in str(error)) == ("pipeline_refused", False)
    secret = trigger(gitlab)
    missing = refusal(lambda: connected(gitlab, secret).create_pipeline(ready, "refs/tags/v9", VALUES))
    assert missing.code == "push_not_visible"
