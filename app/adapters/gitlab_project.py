"""Find the mirror project, or create it, and set it up, so that the first push meets a project that is ready.

Order matters (GitLab makes the first pushed branch the default one and protects it against force pushes): the project is
created empty, then `ci-sync` and the version tags are protected. Whoever loses a race asks again for what the winner made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from app.adapters.gitlab_answers import ProjectAnswer, group_id, project
from app.adapters.gitlab_client import Door, Failure
from app.adapters.gitlab_errors import Call, is_taken, is_there_already
from app.adapters.shared_seen import SeenHere
from app.domain.errors import SyncError

T = TypeVar("T")
VERSION_TAGS = ("v*", "*/v*")
MAINTAINER = 40
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a mirror project shall be: its branch, who may see a new one, and settings as the project API names them."""

    branch: str
    visibility: str
    settings: Mapping[str, Any]


def branch_rule(name: str) -> dict[str, Any]:
    """The rule of the mirror branch, as the API takes it."""
    levels = {"push_access_level": MAINTAINER, "merge_access_level": MAINTAINER}
    return {"name": name, **levels, "allow_force_push": True}


def tag_rule(name: str) -> dict[str, Any]:
    """The rule of version tags, as the API takes it."""
    return {"name": name, "create_access_level": MAINTAINER}


class Seen(Protocol):
    """Remembers for a while what was looked at."""

    def recently(self, name: str) -> bool:
        """True when it was looked at a short while ago."""
        ...

    def now(self, name: str) -> None:
        """It was looked at."""
        ...


class Projects:
    """Mirror projects of one GitLab. What `seen` remembers as protected costs one GET; somebody may remove a rule later."""

    def __init__(self, door: Door, wanted: Wanted, seen: Seen | None = None) -> None:
        self._door, self._wanted, self._seen = door, wanted, seen or SeenHere()

    def ensure(self, path: str) -> ProjectAnswer:
        """The project at `path` (group/.../name), set up. Errors: see ports.GitLab; a moved one is `project_missing`."""
        found = self.find(path)
        if found is None:
            found = self._create(path)
            self._change(found, self._wanted.settings)
        elif drift := self.drift(found):
            self._change(found, drift)
        self._protect(found)
        return found

    def protected(self, path: str) -> ProjectAnswer | None:
        """As find(); protections that somebody removed since the last look are there again."""
        found = self.find(path)
        if found is not None:
            self._protect(found)
        return found

    def drift(self, found: ProjectAnswer) -> dict[str, Any]:
        """The wanted settings that the project has otherwise; one that GitLab does not show cannot be judged."""
        wanted = self._wanted.settings
        return {key: value for key, value in wanted.items() if key in found.raw and found.raw[key] != value}

    def find(self, path: str) -> ProjectAnswer | None:
        """The project, None when there is none or it is hidden; a moved or archived one is a SyncError."""
        found = self._door.find(Call("find project", path), lambda gl: project(gl.projects.get(path).asdict()))
        if found is None:
            return None
        if found.path.lower() != path.lower():
            raise SyncError("project_missing", f"GitLab, find project {path}: it moved to project {found.path}")
        if found.archived:
            raise SyncError("gitlab_refused", f"GitLab, find project {path}: it is archived and takes no push")
        return found

    def _protect(self, found: ProjectAnswer) -> None:
        """Make the rules that are missing, where nobody looked lately."""
        name = f"{self._door.url} {found.id} {self._wanted.branch}"
        if not self._seen.recently(name):
            self._protect_branch(found)
            self._protect_tags(found)
            self._seen.now(name)

    def _create(self, path: str) -> ProjectAnswer:
        parent, _, leaf = path.rpartition("/")
        body = {
            "name": leaf,
            "path": leaf,
            "namespace_id": self._group(parent),
            "visibility": self._wanted.visibility,
            "initialize_with_readme": False,
        }
        call = Call("create project", path, missing="group_missing", writes=True)
        made = self._door.attempt(call, lambda gl: project(gl.projects.create(body).asdict()))
        if not isinstance(made, Failure):
            return made
        return self._lost_race(call, made.error, self.find(path) if is_taken(made.error) else None)

    def _group(self, path: str) -> int:
        """The id of the group at `path`, made where it is a subgroup that is missing."""
        found = self._find_group(path)
        if found is not None:
            return found
        parent, _, leaf = path.rpartition("/")
        if not parent:
            raise SyncError("group_missing", f"GitLab, find group {path or '(none)'}: it does not exist or is hidden")
        body = {"name": leaf, "path": leaf, "parent_id": self._group(parent), "visibility": self._wanted.visibility}
        call = Call("create group", path, missing="group_missing", writes=True)
        made = self._door.attempt(call, lambda gl: group_id(gl.groups.create(body).asdict()))
        if not isinstance(made, Failure):
            return made
        return self._lost_race(call, made.error, self._find_group(path) if is_taken(made.error) else None)

    def _find_group(self, path: str) -> int | None:
        if not path:
            return None
        call = Call("find group", path, missing="group_missing")
        return self._door.find(call, lambda gl: group_id(gl.groups.get(path, with_projects="false").asdict()))

    def _change(self, found: ProjectAnswer, settings: Mapping[str, Any]) -> None:
        call = Call("set up project", found.path, writes=True)
        self._door.ask(call, lambda gl: gl.projects.update(found.id, dict(settings)))

    def _protect_branch(self, found: ProjectAnswer) -> None:
        """Force pushes to the branch allowed, for maintainers and above."""
        branch = self._wanted.branch
        look = Call("find protected branch", f"{branch} of {found.path}")
        rule = self._door.find(
            look, lambda gl: gl.projects.get(found.id, lazy=True).protectedbranches.get(branch).asdict()
        )
        if rule is None and not self._add_branch(found):
            rule = {}  # somebody else was faster: whatever they made, it has to allow force pushes
        if rule is not None and rule.get("allow_force_push") is not True:
            call = Call("change protected branch", look.subject, writes=True)
            change = {"allow_force_push": True}
            self._door.ask(
                call, lambda gl: gl.projects.get(found.id, lazy=True).protectedbranches.update(branch, change)
            )

    def _add_branch(self, found: ProjectAnswer) -> bool:
        """False when it is protected already."""
        body = branch_rule(self._wanted.branch)
        call = Call("protect branch", f"{self._wanted.branch} of {found.path}", writes=True)
        return self._protected(
            self._door.attempt(call, lambda gl: gl.projects.get(found.id, lazy=True).protectedbranches.create(body))
        )

    def _protect_tags(self, found: ProjectAnswer) -> None:
        """Version tags are made by maintainers and above, and changed by nobody."""
        call = Call("list protected tags", f"of {found.path}")
        rules = self._door.ask(
            call, lambda gl: gl.projects.get(found.id, lazy=True).protectedtags.list(per_page=_PAGE, get_all=True)
        )
        names = {rule.asdict().get("name") for rule in rules}
        for name in (tag for tag in VERSION_TAGS if tag not in names):
            self._add_tag(found, tag_rule(name))

    def _add_tag(self, found: ProjectAnswer, body: dict[str, Any]) -> None:
        call = Call("protect tags", f"{body['name']} of {found.path}", writes=True)
        self._protected(
            self._door.attempt(call, lambda gl: gl.projects.get(found.id, lazy=True).protectedtags.create(body))
        )

    @staticmethod
    def _protected(answer: object) -> bool:
        """True when it was made, False when it was there; raises for everything else."""
        if not isinstance(answer, Failure):
            return True
        if not is_there_already(answer.error):
            raise answer.error
        return False

    @staticmethod
    def _lost_race(call: Call, error: SyncError, found: T | None) -> T:
        if found is not None:
            return found
        if is_taken(error):
            raise SyncError("project_missing", f"{call}: the path is taken by something hidden from modsync's token")
        raise error
