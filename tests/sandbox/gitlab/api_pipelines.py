"""Pipelines and trigger tokens."""

import json
import secrets
from typing import Any

from flask import Blueprint, Response, request

from tests.sandbox.gitlab import pipelines as work
from tests.sandbox.gitlab import views
from tests.sandbox.gitlab.errors import ApiError, bad_parameter, forbidden, not_found
from tests.sandbox.gitlab.model import Level, Pipeline, Project, Trigger, Variable
from tests.sandbox.gitlab.pages import answer
from tests.sandbox.gitlab.request import boolean, parameters, project, required, user, world

pipelines = Blueprint("pipelines", __name__)
_FILTERS = ("sha", "name", "source", "status")
_SCOPES = {"running": ("running",), "pending": ("pending",), "finished": ("success", "failed", "canceled", "skipped")}


@pipelines.post("/projects/<encoded>/pipeline")
def create(encoded: str) -> tuple[dict[str, Any], int]:
    """By API: `[skip ci]` and `ci.skip` do not count here."""
    found, given = project(encoded), parameters()
    if world().level(user(), found) < Level.DEVELOPER:
        raise forbidden()
    wanted = work.Order(
        required(given, "ref"), "api", user(), _variables(given.get("variables")), given.get("inputs") or {}
    )
    return _started(work.create(world(), found, wanted))


@pipelines.get("/projects/<encoded>/pipelines")
def list_pipelines(encoded: str) -> Response:
    number = _project(encoded).id
    found = [one for one in world().pipelines.values() if one.project_id == number and _matches(one)]
    newest_first = request.args.get("sort", "desc") != "asc"
    found.sort(key=lambda one: one.id, reverse=newest_first)
    return answer(found, lambda one: views.pipeline(world(), one))


@pipelines.get("/projects/<encoded>/pipelines/<int:number>")
def get(encoded: str, number: int) -> dict[str, Any]:
    return views.pipeline_detail(world(), _pipeline(_project(encoded), number))


@pipelines.get("/projects/<encoded>/pipelines/<int:number>/variables")
def list_variables(encoded: str, number: int) -> Response:
    one = _pipeline(project(encoded, Level.MAINTAINER), number)
    return answer(list(one.variables.values()), views.variable)


@pipelines.post("/projects/<encoded>/pipelines/<int:number>/retry")
def retry(encoded: str, number: int) -> tuple[dict[str, Any], int]:
    one = _pipeline(project(encoded, Level.DEVELOPER), number)
    work.retry(world(), one)
    return views.pipeline_detail(world(), one), 201


@pipelines.post("/projects/<encoded>/pipelines/<int:number>/cancel")
def cancel(encoded: str, number: int) -> dict[str, Any]:
    """200 even when nothing could be canceled."""
    one = _pipeline(project(encoded, Level.DEVELOPER), number)
    work.cancel(world(), one)
    return views.pipeline_detail(world(), one)


@pipelines.get("/projects/<encoded>/pipelines/<int:number>/jobs")
def list_jobs(encoded: str, number: int) -> Response:
    one = _pipeline(_project(encoded), number)
    every, scopes = boolean(request.args.get("include_retried")), request.args.getlist("scope[]")
    found = [
        job
        for job in world().jobs.values()
        if job.pipeline_id == one.id and (every or not job.retried) and (not scopes or job.status in scopes)
    ]
    return answer(sorted(found, key=lambda job: job.id, reverse=True), lambda job: views.job(world(), job))


@pipelines.get("/projects/<encoded>/triggers")
def list_triggers(encoded: str) -> Response:
    found = project(encoded, Level.MAINTAINER)
    return answer(list(found.triggers.values()), lambda one: views.trigger(one, user()))


@pipelines.post("/projects/<encoded>/triggers")
def create_trigger(encoded: str) -> tuple[dict[str, Any], int]:
    found, text = project(encoded, Level.MAINTAINER), required(parameters(), "description")
    secret = f"glptt-{secrets.token_hex(20)}"
    made = Trigger(world().next_id("trigger"), text, secret, user(), world().clock())
    found.triggers[made.id] = made
    return views.trigger(made, user()), 201


@pipelines.delete("/projects/<encoded>/triggers/<int:number>")
def delete_trigger(encoded: str, number: int) -> tuple[str, int]:
    if project(encoded, Level.MAINTAINER).triggers.pop(number, None) is None:
        raise not_found("Trigger")
    return "", 204


@pipelines.post("/projects/<encoded>/trigger/pipeline")
@pipelines.post("/projects/<encoded>/ref/<ref>/trigger/pipeline")
def trigger(encoded: str, ref: str = "") -> tuple[dict[str, Any], int]:
    """No other token is needed than the trigger's own, in the body."""
    given = parameters()
    variables = given.get("variables") or _form_variables(given)
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ApiError(400, {"message": "variables needs to be a map of key-valued strings"})
    found, owner = _triggered(encoded, required(given, "token"))
    wanted = work.Order(
        ref or required(given, "ref"),
        "trigger",
        owner.user,
        {key: Variable(key, value) for key, value in variables.items()},
        given.get("inputs") or {},
        json.dumps({"ref": given.get("ref"), "id": encoded, "variables": variables}),
    )
    return _started(work.create(world(), found, wanted))


def _triggered(encoded: str, secret: str) -> tuple[Project, Trigger]:
    """A wrong trigger token is a 404, like a project that is not there."""
    for found in world().projects.values():
        for one in found.triggers.values():
            if one.secret == secret and encoded.lower() in (str(found.id), found.path.lower().replace("/", "%2f")):
                return found, one
    raise ApiError(404, {"message": "404 Not Found"})


def _started(one: Pipeline) -> tuple[dict[str, Any], int]:
    """The answer shows the pipeline as `created`; its jobs become pending behind it."""
    shown = views.pipeline_detail(world(), one)
    work.refresh(world(), one)
    return shown, 201


def _variables(given: Any) -> dict[str, Variable]:
    """`[{"key", "value", "variable_type"}]`."""
    entries = given or []
    if not isinstance(entries, list) or not all(isinstance(one, dict) and one.get("key") for one in entries):
        raise bad_parameter("variables is invalid")
    return {
        str(one["key"]): Variable(str(one["key"]), str(one.get("value", "")), str(one.get("variable_type", "env_var")))
        for one in entries
    }


def _form_variables(given: dict[str, Any]) -> dict[str, Any]:
    return {key[10:-1]: value for key, value in given.items() if key.startswith("variables[") and key.endswith("]")}


def _matches(one: Pipeline) -> bool:
    shown, asked = views.pipeline(world(), one), request.args
    ref, scope = asked.get("ref"), asked.get("scope")
    full = f"refs/{'tags' if one.tag else 'heads'}/{one.ref}"
    if (ref is not None and ref not in (one.ref, full)) or (scope and not _in_scope(shown["status"], one, scope)):
        return False
    return all(shown[name] == asked[name] for name in _FILTERS if name in asked)


def _in_scope(status: str, one: Pipeline, scope: str) -> bool:
    if scope in ("branches", "tags"):
        return one.tag == (scope == "tags")
    return status in _SCOPES.get(scope, ())


def _project(encoded: str) -> Project:
    """Reporters and above read pipelines; in public projects everybody does."""
    found = project(encoded)
    if found.visibility == "private" and world().level(user(), found) < Level.REPORTER:
        raise forbidden()
    return found


def _pipeline(found: Project, number: int) -> Pipeline:
    one = world().pipelines.get(number)
    if one is None or one.project_id != found.id:
        raise not_found("Pipeline")
    return one
