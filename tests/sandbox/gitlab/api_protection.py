"""Protected branches and protected tags, each with its own way to say 'already there'."""

from typing import Any
from urllib.parse import unquote

from flask import Blueprint, Response

from tests.sandbox.gitlab import views
from tests.sandbox.gitlab.errors import ApiError, bad_parameter, not_found
from tests.sandbox.gitlab.model import Level, Project, ProtectedBranch, ProtectedTag
from tests.sandbox.gitlab.pages import answer
from tests.sandbox.gitlab.request import boolean, parameters, project, required, world

protection = Blueprint("protection", __name__)
_LEVELS = (Level.NONE, Level.DEVELOPER, Level.MAINTAINER, Level.ADMIN)


@protection.get("/projects/<encoded>/protected_branches")
def list_branches(encoded: str) -> Response:
    return answer(list(_project(encoded).protected_branches.values()), views.protected_branch)


@protection.post("/projects/<encoded>/protected_branches")
def protect_branch(encoded: str) -> tuple[dict[str, Any], int]:
    found, given = _project(encoded), parameters()
    name = required(given, "name")
    if name in found.protected_branches:
        raise ApiError(409, {"message": f"Protected branch '{name}' already exists"})
    rule = ProtectedBranch(
        id=world().next_id("protected branch"),
        name=name,
        push=_level(given, "push_access_level", "allowed_to_push"),
        merge=_level(given, "merge_access_level", "allowed_to_merge"),
        allow_force_push=boolean(given.get("allow_force_push", False)),
    )
    found.protected_branches[name] = rule
    return views.protected_branch(rule), 201


@protection.get("/projects/<encoded>/protected_branches/<name>")
def get_branch(encoded: str, name: str) -> dict[str, Any]:
    return views.protected_branch(_branch(_project(encoded), name))


@protection.patch("/projects/<encoded>/protected_branches/<name>")
def change_branch(encoded: str, name: str) -> dict[str, Any]:
    rule, given = _branch(_project(encoded), name), parameters()
    # Access levels can be changed in paid editions only; this one leaves them alone without a word, as the free one does.
    rule.allow_force_push = boolean(given.get("allow_force_push", rule.allow_force_push))
    return views.protected_branch(rule)


@protection.delete("/projects/<encoded>/protected_branches/<name>")
def unprotect_branch(encoded: str, name: str) -> tuple[str, int]:
    found = _project(encoded)
    del found.protected_branches[_branch(found, name).name]
    return "", 204


@protection.get("/projects/<encoded>/protected_tags")
def list_tags(encoded: str) -> Response:
    return answer(list(_project(encoded).protected_tags.values()), views.protected_tag)


@protection.post("/projects/<encoded>/protected_tags")
def protect_tag(encoded: str) -> tuple[dict[str, Any], int]:
    found, given = _project(encoded), parameters()
    name = required(given, "name")
    if name in found.protected_tags:
        raise ApiError(422, {"message": ["Name has already been taken"]})  # the model's words: the API has none for it
    rule = ProtectedTag(name, _level(given, "create_access_level", "allowed_to_create"))
    found.protected_tags[name] = rule
    return views.protected_tag(rule), 201


@protection.get("/projects/<encoded>/protected_tags/<name>")
def get_tag(encoded: str, name: str) -> dict[str, Any]:
    return views.protected_tag(_tag(_project(encoded), name))


@protection.delete("/projects/<encoded>/protected_tags/<name>")
def unprotect_tag(encoded: str, name: str) -> tuple[str, int]:
    found = _project(encoded)
    del found.protected_tags[_tag(found, name).name]
    return "", 204


def _project(encoded: str) -> Project:
    return project(encoded, Level.MAINTAINER)


def _branch(found: Project, name: str) -> ProtectedBranch:
    rule = found.protected_branches.get(unquote(name))
    if rule is None:
        raise not_found("ProtectedBranch")
    return rule


def _tag(found: Project, name: str) -> ProtectedTag:
    rule = found.protected_tags.get(unquote(name))
    if rule is None:
        raise not_found("ProtectedTag")
    return rule


def _level(given: dict[str, Any], single: str, several: str) -> int:
    """The level from `push_access_level` or from `allowed_to_push: [{access_level}]`; maintainers by default."""
    chosen = given.get(single)
    if chosen is None:
        levels = [entry.get("access_level") for entry in given.get(several) or [] if isinstance(entry, dict)]
        chosen = min((level for level in levels if level is not None), default=Level.MAINTAINER)
    if int(chosen) not in _LEVELS:
        raise bad_parameter(f"{single or several} does not have a valid value")
    return int(chosen)
