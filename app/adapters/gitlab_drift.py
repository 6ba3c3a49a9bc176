"""Inspector over GitLab's API: settings, the mirror branch's protection, the version tags' protection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.adapters.gitlab_answers import ProjectAnswer
from app.adapters.gitlab_client import Door
from app.adapters.gitlab_errors import Call
from app.adapters.gitlab_project import MAINTAINER, VERSION_TAGS, Projects, Wanted
from app.domain.errors import SyncError
from app.services.drift import Drift

_PAGE = 100
Rules = Mapping[str, Mapping[str, Any]]


class GitLabInspector:
    """See Inspector."""

    def __init__(self, door: Door, wanted: Wanted) -> None:
        self._door, self._wanted = door, wanted

    def drift(self, path: str) -> Sequence[Drift]:
        """See Inspector. Error: project_missing and what the API answers."""
        project = self._project(path)
        return [*self._settings(project), *self._branch(project), *_tags(self._tag_rules(project))]

    def mend(self, path: str) -> None:
        """See Inspector. A rule cannot be changed in GitLab's API but by making it anew: it is away for a moment."""
        project = self._project(path)
        if any(self._branch(project)):
            self._remove(project, "protectedbranches", self._wanted.branch)
        rules = self._tag_rules(project)
        for name in VERSION_TAGS:
            if name in rules and _levels(rules[name], "create_access_levels") != {MAINTAINER}:
                self._remove(project, "protectedtags", name)
        # Without a memory of what was verified: everything is looked at, and made where it is missing.
        Projects(self._door, self._wanted).ensure(path)

    def _project(self, path: str) -> ProjectAnswer:
        found = Projects(self._door, self._wanted).find(path)
        if found is None:
            raise SyncError("project_missing", f"GitLab, find project {path}: it does not exist or is hidden")
        return found

    def _settings(self, project: ProjectAnswer) -> Iterator[Drift]:
        for key, value in Projects(self._door, self._wanted).drift(project).items():
            yield Drift(key, _text(project.raw[key]), _text(value))

    def _branch(self, project: ProjectAnswer) -> Iterator[Drift]:
        branch = self._wanted.branch
        call = Call("find protected branch", f"{branch} of {project.path}")
        rule = self._door.find(
            call, lambda gl: gl.projects.get(project.id, lazy=True).protectedbranches.get(branch).asdict()
        )
        what = f"protected branch {branch}"
        if rule is None:
            yield Drift(what, "not protected", "force push by maintainers")
            return
        if rule.get("allow_force_push") is not True:
            yield Drift(what, "no force push", "force push by maintainers")
        if _levels(rule, "push_access_levels") != {MAINTAINER}:
            yield Drift(what, f"push by {_names(rule, 'push_access_levels')}", "push by maintainers")

    def _tag_rules(self, project: ProjectAnswer) -> Rules:
        call = Call("list protected tags", f"of {project.path}")
        listed = self._door.ask(
            call, lambda gl: gl.projects.get(project.id, lazy=True).protectedtags.list(per_page=_PAGE, get_all=False)
        )
        rules = [each.asdict() for each in listed]
        return {str(rule.get("name")): rule for rule in rules}

    def _remove(self, project: ProjectAnswer, kind: str, name: str) -> None:
        call = Call("remove rule", f"{name} of {project.path}", writes=True)
        self._door.find(call, lambda gl: getattr(gl.projects.get(project.id, lazy=True), kind).delete(name) or True)


def _tags(rules: Rules) -> Iterator[Drift]:
    """Of several rules that match a tag GitLab takes the most permissive one."""
    for name in VERSION_TAGS:
        if name not in rules:
            yield Drift(f"protected tags {name}", "not protected", "created by maintainers")
        elif _levels(rules[name], "create_access_levels") != {MAINTAINER}:
            found = f"created by {_names(rules[name], 'create_access_levels')}"
            yield Drift(f"protected tags {name}", found, "created by maintainers")
    for name in sorted(set(rules) - set(VERSION_TAGS)):
        if any(0 < level < MAINTAINER for level in _levels(rules[name], "create_access_levels")):
            found = f"created by {_names(rules[name], 'create_access_levels')}"
            yield Drift(f"protected tags {name}", found, "nobody below maintainers", mendable=False)


def _levels(rule: Mapping[str, Any], field: str) -> set[int]:
    """Access levels that a rule names; who is named as a person or group has none, and counts as 0."""
    given = rule.get(field)
    entries = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return {level if isinstance(level := each.get("access_level"), int) else 0 for each in entries}


def _names(rule: Mapping[str, Any], field: str) -> str:
    names = {0: "nobody", 30: "developers", 40: "maintainers", 60: "administrators"}
    return ", ".join(names.get(level, str(level)) for level in sorted(_levels(rule, field))) or "nobody"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value)
