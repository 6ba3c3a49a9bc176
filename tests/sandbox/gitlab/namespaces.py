"""Groups and projects: who may make them, what their names may be, what a new one looks like."""

import re
from typing import Any

from tests.sandbox.gitlab.errors import ApiError, bad_parameter, forbidden, invalid, not_found
from tests.sandbox.gitlab.model import VISIBILITY, Level, Namespace, Project, User
from tests.sandbox.gitlab.world import World

TAKEN = "has already been taken"
_PATH = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_NAME = re.compile(r"[A-Za-z0-9_\u00a9-\U0001f9ff][\w\u00a9-\U0001f9ff.+ -]*")
_BAD_PATH = (
    "can contain only letters, digits, '_', '-' and '.'. "
    "Cannot start with '-', end in '.git' or end in '.atom'"
)  # fmt: skip
_BAD_NAME = (
    "can contain only letters, digits, emoji, '_', '.', '+', dashes, or spaces. "
    "It must start with a letter, digit, emoji, or '_'."
)
ROLES = ("no_one_allowed", "developer", "maintainer", "owner")
# What `PUT /projects/:id` may change here, with the value of a new project (None: see `new_project`).
EDITABLE: dict[str, Any] = {
    "ci_config_path": None,
    "auto_devops_enabled": True,
    "ci_pipeline_variables_minimum_override_role": None,
    "builds_access_level": "enabled",
    "jobs_enabled": True,
    "lfs_enabled": True,
    "shared_runners_enabled": True,
    "only_allow_merge_if_pipeline_succeeds": False,
    "issues_access_level": "enabled",
    "merge_requests_access_level": "enabled",
    "wiki_access_level": "enabled",
    "snippets_access_level": "enabled",
    "packages_enabled": True,
    "container_registry_access_level": "enabled",
    "merge_method": "merge",
    "topics": None,
}


def create_group(world: World, user: User, given: dict[str, Any]) -> Namespace:
    """A group or subgroup. Raises ApiError: 400 taken or malformed, 403 not permitted, 404 no such parent."""
    path, name = _required(given, "path"), _required(given, "name")
    parent = _parent(world, user, given.get("parent_id"))
    full = f"{parent.path}/{path}" if parent else path
    if not _legal_path(path):
        raise ApiError(400, {"message": f"Failed to save group {{:path=>[{_quoted(_BAD_PATH)}]}}"})
    if _path_taken(world, full):
        raise ApiError(400, {"message": f"Failed to save group {{:path=>[{_quoted(TAKEN)}]}}"})
    visibility = str(given.get("visibility") or "private")
    return world.add_namespace(full, owner=user.username, name=name, visibility=visibility)


def create_project(world: World, user: User, given: dict[str, Any]) -> Project:
    """A project in `namespace_id`, or in the user's own namespace. Raises ApiError as GitLab answers."""
    name = str(given.get("name") or given.get("path") or "")
    path = str(given.get("path") or re.sub(r"[^A-Za-z0-9_.-]+", "-", name.lower()))
    if not path:
        raise bad_parameter("name, path are missing, at least one parameter must be provided")
    space = _space_for_project(world, user, given.get("namespace_id"))
    _check_project(world, space, name, path, str(given.get("visibility") or "private"))
    project = new_project(world, space, f"{space.path}/{path}", name, str(given.get("visibility") or "private"))
    project.members[user.username] = max(world.level(user, space), Level.MAINTAINER)
    edit_settings(project, given)
    _initialise(world, project, given)
    return project


def new_project(world: World, space: Namespace, path: str, name: str, visibility: str = "private") -> Project:
    """Record an empty project whose path is known to be free, and make its repository."""
    number = world.next_id("project")
    settings = {
        **EDITABLE,
        "topics": [],
        "ci_config_path": "",
        "ci_pipeline_variables_minimum_override_role": world.settings.variables_role,
    }
    place = world.repositories / f"{number}.git"
    project = Project(number, path, name, space.id, place, visibility, world.clock(), settings)
    world.repository(project).create(world.hooks)
    world.projects[number] = project
    world.moved.pop(path.lower(), None)
    return project


def edit_settings(project: Project, given: dict[str, Any]) -> None:
    """Take over what GitLab knows of `given`; it ignores the rest."""
    role = given.get("ci_pipeline_variables_minimum_override_role")
    if role is not None and role not in ROLES:
        raise bad_parameter("ci_pipeline_variables_minimum_override_role does not have a valid value")
    if given.get("visibility", "private") not in VISIBILITY:
        raise bad_parameter("visibility does not have a valid value")
    project.settings.update({key: value for key, value in given.items() if key in EDITABLE})
    project.visibility = given.get("visibility") or project.visibility
    project.description = given.get("description", project.description)


def move_project(world: World, project: Project, namespace: Namespace, leaf: str) -> None:
    """Rename or transfer; the old path answers with a redirect from now on. Raises ApiError when taken."""
    new = f"{namespace.path}/{leaf}"
    if _path_taken(world, new):
        raise invalid(path=[TAKEN])
    world.moved[project.path.lower()] = project.id
    project.path, project.name, project.namespace_id = new, leaf, namespace.id


def _initialise(world: World, project: Project, given: dict[str, Any]) -> None:
    if not given.get("initialize_with_readme"):
        return
    branch = str(given.get("default_branch") or "main")
    world.repository(project).seed(branch, {"README.md": f"# {project.name}\n"}, "Initial commit")
    world.repository(project).set_head(branch)
    project.default_branch = branch


def _check_project(world: World, space: Namespace, name: str, path: str, visibility: str) -> None:
    errors: dict[str, list[str]] = {}
    if not _NAME.fullmatch(name):
        errors["name"] = [_BAD_NAME]
    if not _legal_path(path):
        errors["path"] = [_BAD_PATH]
    if _name_taken(world, space, name):
        errors["project_namespace.name"], errors["name"] = [TAKEN], [TAKEN]
    if _path_taken(world, f"{space.path}/{path}"):
        errors["path"] = [TAKEN]
    if space.kind == "group" and VISIBILITY.get(visibility, 0) > VISIBILITY[space.visibility]:
        errors["visibility_level"] = [f"{visibility} is not allowed in a {space.visibility} group."]
    if errors:
        raise invalid(**errors)


def _space_for_project(world: World, user: User, namespace_id: Any) -> Namespace:
    space = world.namespace(user.username if namespace_id in (None, "") else str(namespace_id))
    if space is None or not world.can_see(user, space):
        raise not_found("Namespace")
    if world.level(user, space) < Level.DEVELOPER:
        raise invalid(namespace=["is not valid"])
    return space


def _parent(world: World, user: User, parent_id: Any) -> Namespace | None:
    if parent_id in (None, ""):
        return None
    parent = world.namespace(str(parent_id))
    if parent is None or not world.can_see(user, parent):
        raise not_found("Group")
    if world.level(user, parent) < Level.MAINTAINER:
        raise forbidden()
    return parent


def _required(given: dict[str, Any], key: str) -> str:
    if not given.get(key):
        raise bad_parameter(f"{key} is missing")
    return str(given[key])


def _legal_path(path: str) -> bool:
    return bool(_PATH.fullmatch(path)) and not path.endswith((".git", ".atom", "."))


def _path_taken(world: World, path: str) -> bool:
    return world.namespace(path) is not None or world.project(path) is not None


def _name_taken(world: World, space: Namespace, name: str) -> bool:
    return any(one.namespace_id == space.id and one.name == name for one in world.projects.values())


def _quoted(text: str) -> str:
    return f'"{text}"'
