"""Inspector over GitLab's API: settings, visibility, and all rules that protect the mirror branch or version tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.adapters.gitlab_answers import ProjectAnswer
from app.adapters.gitlab_client import Door
from app.adapters.gitlab_errors import Call
from app.adapters.gitlab_project import MAINTAINER, VERSION_TAGS, Projects, Wanted
from app.domain.errors import SyncError
from app.domain.wildcards import overlap
from app.services.drift import Drift

_PAGE = 100
_VISIBILITY = ("private", "internal", "public")
Rules = Mapping[str, Mapping[str, Any]]


class GitLabInspector:
    """See Inspector."""

    def __init__(self, door: Door, wanted: Wanted) -> None:
        self._door, self._wanted = door, wanted

    def drift(self, path: str) -> Sequence[Drift]:
        """See Inspector. Error: project_missing and what the API answers."""
        project = self._project(path)
        branches = self._rules(project, "protectedbranches")
        return [
            *self._visibility(project), *self._settings(project), *self._branch(branches),
            *_tags(self._rules(project, "protectedtags")),
        ]  # fmt: skip

    def mend(self, path: str) -> None:
        """See Inspector. A rule cannot be changed in GitLab's API but by making it anew: it is away for a moment."""
        project = self._project(path)
        if any(each.mendable for each in self._visibility(project)):
            self._hide(project)
        if any(each.mendable for each in self._branch(self._rules(project, "protectedbranches"))):
            self._remove(project, "protectedbranches", self._wanted.branch)
        rules = self._rules(project, "protectedtags")
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

    def _visibility(self, project: ProjectAnswer) -> Iterator[Drift]:
        """Only hiding what too many can see is safe: whether more people may see a mirror is a person's decision."""
        found, wanted = project.raw.get("visibility"), self._wanted.visibility
        if found in _VISIBILITY and found != wanted:
            yield Drift("visibility", found, wanted, mendable=_VISIBILITY.index(found) > _VISIBILITY.index(wanted))

    def _hide(self, project: ProjectAnswer) -> None:
        call = Call("change visibility", f"of {project.path}", writes=True)
        self._door.ask(call, lambda gl: gl.projects.update(project.id, {"visibility": self._wanted.visibility}))

    def _branch(self, rules: Rules) -> Iterator[Drift]:
        branch = self._wanted.branch
        yield from _own_branch(branch, rules.get(branch))
        for name in sorted(rules.keys() - {branch}):
            if overlap(name, branch) and (told := _let_in(rules[name])):
                said = f"{told}, also to {branch}"
                yield Drift(f"protected branch {name}", said, "nobody below maintainers", mendable=False)

    def _rules(self, project: ProjectAnswer, kind: str) -> Rules:
        call = Call("list rules", f"({kind}) of {project.path}")
        listed = self._door.ask(
            call, lambda gl: getattr(gl.projects.get(project.id, lazy=True), kind).list(per_page=_PAGE, get_all=True)
        )
        rules = [each.asdict() for each in listed]
        return {str(rule.get("name")): rule for rule in rules}

    def _remove(self, project: ProjectAnswer, kind: str, name: str) -> None:
        call = Call("remove rule", f"{name} of {project.path}", writes=True)
        self._door.find(call, lambda gl: getattr(gl.projects.get(project.id, lazy=True), kind).delete(name) or True)


def _own_branch(branch: str, rule: Mapping[str, Any] | None) -> Iterator[Drift]:
    what = f"protected branch {branch}"
    if rule is None:
        yield Drift(what, "not protected", "force push by maintainers")
        return
    if rule.get("allow_force_push") is not True:
        yield Drift(what, "no force push", "force push by maintainers")
    if _levels(rule, "push_access_levels") != {MAINTAINER}:
        yield Drift(what, f"push by {_names(rule, 'push_access_levels')}", "push by maintainers")


def _let_in(rule: Mapping[str, Any]) -> str:
    """Whom a rule lets in who should not be: of several rules that match, GitLab takes the most permissive one."""
    fields = {"push_access_levels": "push", "merge_access_levels": "merge"}
    wide = [f"{word} by {_names(rule, field)}" for field, word in fields.items() if _is_wide(rule, field)]
    return ", ".join(wide)


def _is_wide(rule: Mapping[str, Any], field: str) -> bool:
    return any(0 < level < MAINTAINER for level in _levels(rule, field))


def _tags(rules: Rules) -> Iterator[Drift]:
    """Somebody's own rule matters where it can match a version's tag; it holds for other tags, too, so it is left alone."""
    for name in VERSION_TAGS:
        if name not in rules:
            yield Drift(f"protected tags {name}", "not protected", "created by maintainers")
        elif _levels(rules[name], "create_access_levels") != {MAINTAINER}:
            found = f"created by {_names(rules[name], 'create_access_levels')}"
            yield Drift(f"protected tags {name}", found, "created by maintainers")
    for name in sorted(set(rules) - set(VERSION_TAGS)):
        if any(overlap(name, own) for own in VERSION_TAGS) and _is_wide(rules[name], "create_access_levels"):
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
