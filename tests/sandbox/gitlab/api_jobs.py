"""Jobs and their logs; CI/CD variables of a project."""

from typing import Any

from flask import Blueprint, Response

from tests.sandbox.gitlab import pipelines as work
from tests.sandbox.gitlab import views
from tests.sandbox.gitlab.errors import forbidden, invalid, not_found
from tests.sandbox.gitlab.model import Job, Level, Project, Variable
from tests.sandbox.gitlab.namespaces import TAKEN
from tests.sandbox.gitlab.pages import answer
from tests.sandbox.gitlab.request import boolean, parameters, project, required, world

jobs = Blueprint("jobs", __name__)


@jobs.get("/projects/<encoded>/jobs/<int:number>")
def get_job(encoded: str, number: int) -> dict[str, Any]:
    return views.job(world(), _job(project(encoded, Level.REPORTER), number))


@jobs.get("/projects/<encoded>/jobs/<int:number>/trace")
def get_trace(encoded: str, number: int) -> Response:
    """The log so far, as plain text."""
    return Response(bytes(_job(project(encoded, Level.REPORTER), number).trace), mimetype="text/plain")


@jobs.post("/projects/<encoded>/jobs/<int:number>/play")
def play(encoded: str, number: int) -> dict[str, Any]:
    one = _job(project(encoded, Level.DEVELOPER), number)
    if one.status != "manual":
        raise invalid(base=["Unplayable Job"])
    one.status = "pending"
    work.refresh(world(), world().pipelines[one.pipeline_id])
    return views.job(world(), one)


@jobs.post("/projects/<encoded>/jobs/<int:number>/cancel")
def cancel(encoded: str, number: int) -> tuple[dict[str, Any], int]:
    one = _job(project(encoded, Level.DEVELOPER), number)
    if one.status not in work.ACTIVE:
        raise forbidden("Job is not cancelable")
    one.status, one.finished_at = "canceled", world().clock()
    work.refresh(world(), world().pipelines[one.pipeline_id])
    return views.job(world(), one), 201


@jobs.get("/projects/<encoded>/variables")
def list_variables(encoded: str) -> Response:
    return answer(list(_project(encoded).variables.values()), views.variable)


@jobs.post("/projects/<encoded>/variables")
def create_variable(encoded: str) -> tuple[dict[str, Any], int]:
    found, given = _project(encoded), parameters()
    key = required(given, "key")
    if key in found.variables:
        raise invalid(key=[f"({key}) {TAKEN}"])
    found.variables[key] = _changed(Variable(key, ""), given)
    return views.variable(found.variables[key]), 201


@jobs.get("/projects/<encoded>/variables/<key>")
def get_variable(encoded: str, key: str) -> dict[str, Any]:
    return views.variable(_variable(_project(encoded), key))


@jobs.put("/projects/<encoded>/variables/<key>")
def change_variable(encoded: str, key: str) -> dict[str, Any]:
    return views.variable(_changed(_variable(_project(encoded), key), parameters()))


@jobs.delete("/projects/<encoded>/variables/<key>")
def delete_variable(encoded: str, key: str) -> tuple[str, int]:
    found = _project(encoded)
    del found.variables[_variable(found, key).key]
    return "", 204


def _project(encoded: str) -> Project:
    return project(encoded, Level.MAINTAINER)


def _job(found: Project, number: int) -> Job:
    one = world().jobs.get(number)
    if one is None or world().pipelines[one.pipeline_id].project_id != found.id:
        raise not_found("Job")
    return one


def _variable(found: Project, key: str) -> Variable:
    if key not in found.variables:
        raise not_found("Variable")
    return found.variables[key]


def _changed(one: Variable, given: dict[str, Any]) -> Variable:
    one.value = str(given.get("value", one.value))
    one.kind = str(given.get("variable_type", one.kind))
    for name in ("masked", "protected", "raw"):
        setattr(one, name, boolean(given.get(name, getattr(one, name))))
    return one
