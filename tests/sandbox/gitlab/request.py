"""What an API handler needs of its request: the world, the caller, the parameters, the things in its path."""

from typing import Any, cast
from urllib.parse import unquote

from flask import Flask, current_app, g, request

from tests.sandbox.gitlab.auth import Caller, Doorkeeper
from tests.sandbox.gitlab.errors import ApiError, bad_parameter, forbidden, not_found, unauthorized
from tests.sandbox.gitlab.model import Level, Namespace, Project, User
from tests.sandbox.gitlab.world import World

_EXTENSION = "sandbox-gitlab"


def install(app: Flask, world: World, door: Doorkeeper) -> None:
    app.extensions[_EXTENSION] = (world, door)


def world() -> World:
    return cast("World", current_app.extensions[_EXTENSION][0])


def doorkeeper() -> Doorkeeper:
    return cast("Doorkeeper", current_app.extensions[_EXTENSION][1])


def caller() -> Caller:
    return cast("Caller", g.caller)


def user() -> User:
    """The signed-in user. Raises ApiError 401 when there is none."""
    who = caller().user
    if who is None:
        raise unauthorized()
    return who


def parameters() -> dict[str, Any]:
    """Query, form and JSON together, as Grape merges them; a body that is not JSON is a 400."""
    given: dict[str, Any] = {**request.args.to_dict(), **request.form.to_dict()}
    if request.is_json and request.get_data():
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            raise bad_parameter("The JSON payload is invalid")
        given.update(body)
    return given


def required(given: dict[str, Any], name: str) -> str:
    if given.get(name) in (None, ""):
        raise bad_parameter(f"{name} is missing")
    return str(given[name])


def boolean(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1", "yes", "on")


def project(encoded: str, least: int = Level.NONE) -> Project:
    """The project of this id or path. Raises 404 (also for no access), 403 (below `least`), 301 (moved)."""
    path = unquote(encoded)
    found = world().project(path)
    if found is None and (moved := world().moved_project(path)) and world().can_see(caller().user, moved):
        raise _moved(moved)
    if found is None or not world().can_see(caller().user, found):
        raise not_found("Project")
    if least and world().level(user(), found) < least:
        raise forbidden()
    return found


def group(encoded: str) -> Namespace:
    found = world().namespace(unquote(encoded))
    if found is None or found.kind != "group" or not world().can_see(caller().user, found):
        raise not_found("Group")
    return found


def _moved(project: Project) -> ApiError:
    """The same request at the project's id; the query is kept, the path behind the project, too."""
    raw = str(request.environ.get("RAW_URI", request.path))
    head, _, tail = raw.removeprefix("/api/v4/projects/").partition("?")
    rest = head.partition("/")[2]
    place = f"{world().url}/api/v4/projects/{project.id}{'/' + rest if rest else ''}{'?' + tail if tail else ''}"
    return ApiError(
        301, {"message": f"This resource has been moved permanently to {place}"}, headers={"Location": place}
    )
