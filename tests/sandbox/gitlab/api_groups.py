"""/groups and /namespaces."""

from typing import Any

from flask import Blueprint, Response, request

from tests.sandbox.gitlab import namespaces, views
from tests.sandbox.gitlab.model import Namespace
from tests.sandbox.gitlab.pages import answer
from tests.sandbox.gitlab.request import boolean, caller, group, parameters, user, world

groups = Blueprint("groups", __name__)


@groups.get("/groups")
def list_groups() -> Response:
    top, search = boolean(request.args.get("top_level_only")), request.args.get("search", "").lower()
    found = [
        one
        for one in _visible(list(world().namespaces.values()))
        if search in one.path.lower() and not (top and one.parent_id)
    ]
    return _answer(found)


@groups.post("/groups")
def create_group() -> tuple[dict[str, Any], int]:
    made = namespaces.create_group(world(), user(), parameters())
    return views.group(world(), made), 201


@groups.get("/groups/<encoded>")
def get_group(encoded: str) -> dict[str, Any]:
    return views.group(world(), group(encoded))


@groups.get("/groups/<encoded>/subgroups")
def list_subgroups(encoded: str) -> Response:
    return _answer(_visible(world().children(group(encoded))))


@groups.get("/groups/<encoded>/projects")
def list_group_projects(encoded: str) -> Response:
    space, deep = group(encoded), boolean(request.args.get("include_subgroups"))
    found = [
        one
        for one in world().projects.values()
        if (one.namespace_id == space.id or (deep and one.path.startswith(f"{space.path}/")))
        and world().can_see(caller().user, one)
    ]
    return answer(found, lambda one: views.project(world(), one, caller().user))


def _visible(spaces: list[Namespace]) -> list[Namespace]:
    return [one for one in spaces if one.kind == "group" and world().can_see(caller().user, one)]


def _answer(spaces: list[Namespace]) -> Response:
    return answer(sorted(spaces, key=lambda one: one.path), lambda one: views.group(world(), one))
