"""/projects: create, find, read, edit, delete."""

from typing import Any

from flask import Blueprint, Response, request

from tests.sandbox.gitlab import namespaces, views
from tests.sandbox.gitlab.errors import bad_parameter, invalid
from tests.sandbox.gitlab.model import Level, Project
from tests.sandbox.gitlab.pages import answer
from tests.sandbox.gitlab.request import boolean, caller, parameters, project, user, world

projects = Blueprint("projects", __name__)
_ALSO_EDITABLE = {"name", "path", "description", "visibility", "default_branch"}


@projects.get("/projects")
def list_projects() -> Response:
    """By id; `sort`, `id_after`, `membership`, `search` and `search_namespaces` as GitLab has them."""
    member, search = boolean(request.args.get("membership")), request.args.get("search", "").lower()
    whole = boolean(request.args.get("search_namespaces"))
    found = [
        one
        for one in world().projects.values()
        if world().can_see(caller().user, one)
        and search in (one.path if whole else f"{one.leaf} {one.name}").lower()
        and not (member and world().level(caller().user, one) == Level.NONE)
    ]
    after, ascending = int(request.args.get("id_after", 0)), request.args.get("sort") == "asc"
    return answer(
        sorted((one for one in found if one.id > after), key=lambda one: one.id, reverse=not ascending), _view
    )


@projects.post("/projects")
def create_project() -> tuple[dict[str, Any], int]:
    return _view(namespaces.create_project(world(), user(), parameters())), 201


@projects.get("/projects/<encoded>")
def get_project(encoded: str) -> dict[str, Any]:
    return _view(project(encoded))


@projects.put("/projects/<encoded>")
def edit_project(encoded: str) -> dict[str, Any]:
    found, given = project(encoded, Level.MAINTAINER), parameters()
    if not set(given) & (set(namespaces.EDITABLE) | _ALSO_EDITABLE):
        raise bad_parameter(f"{', '.join(sorted(namespaces.EDITABLE))} are missing, at least one must be provided")
    namespaces.edit_settings(found, given)
    if given.get("path", found.leaf) != found.leaf:
        namespaces.move_project(world(), found, world().namespaces[found.namespace_id], str(given["path"]))
    found.name = str(given.get("name", found.name))
    _change_default_branch(found, given.get("default_branch"))
    return _view(found)


@projects.delete("/projects/<encoded>")
def delete_project(encoded: str) -> tuple[dict[str, Any], int]:
    found = project(encoded, Level.OWNER)
    del world().projects[found.id]
    return {"message": "202 Accepted"}, 202


def _change_default_branch(found: Project, branch: str | None) -> None:
    """Only a branch that exists can become the default."""
    if not branch or branch == found.default_branch:
        return
    if world().repository(found).ref(f"refs/heads/{branch}") is None:
        raise invalid(
            base=[f"Could not set the default branch. Do you have a branch named '{branch}' in your repository?"]
        )
    world().repository(found).set_head(branch)
    found.default_branch = branch


def _view(one: Project) -> dict[str, Any]:
    return views.project(world(), one, caller().user)
