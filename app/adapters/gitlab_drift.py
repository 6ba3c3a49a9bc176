"""Inspector over GitLab's API: settings, visibility, and all rules that protect the mirror branch or version tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.adapters.gitlab_answers import ProjectAnswer
from app.adapters.gitlab_client import Door
from app.adapters.gitlab_errors import Call
from app.adapters.gitlab_project import MAINTAINER, VERSION_TAGS, Projects, Wanted, branch_rule, tag_rule
from app.adapters.gitlab_rules import Patience, ProtectionRules, Rules, holding
from app.domain.errors import SyncError
from app.domain.wildcards import overlap
from app.services.drift import Drift

# GitLab, doc/api/protected_branches.md: an entry is of a level, or of one of these.
_NAMED = {"user_id": "user", "group_id": "group", "deploy_key_id": "deploy key"}
_VISIBILITY = ("private", "internal", "public")


class GitLabInspector:
    """See Inspector."""

    def __init__(self, door: Door, wanted: Wanted, patience: Patience | None = None) -> None:
        self._door, self._wanted, self._patience = door, wanted, patience or Patience()

    def drift(self, path: str) -> Sequence[Drift]:
        """See Inspector. Error: project_missing and what the API answers."""
        project = self._project(path)
        rules = ProtectionRules(self._door, project, self._patience)
        return [
            *self._visibility(project), *self._settings(project), *self._branch(rules.all("protectedbranches")),
            *_tags(rules.all("protectedtags")),
        ]  # fmt: skip

    def mend(self, path: str) -> None:
        """See Inspector. A rule that says something else is made anew, and its refs are protected all the while."""
        project = self._project(path)
        if any(each.mendable for each in self._visibility(project)):
            self._hide(project)
        rules = ProtectionRules(self._door, project, self._patience)
        if (found := rules.all("protectedbranches").get(self._wanted.branch)) and not _right_branch(found):
            rules.replace("protectedbranches", branch_rule(self._wanted.branch))
        found_tags = rules.all("protectedtags")
        for name in VERSION_TAGS:
            if name in found_tags and not _right_tags(found_tags[name]):
                rules.replace("protectedtags", tag_rule(name))
        # Nothing is taken for verified: everything is looked at, and made where it is missing.
        Projects(self._door, self._wanted).ensure(path)
        self._tidy(rules)

    def _tidy(self, rules: ProtectionRules) -> None:
        """Remove what held while rules were made anew, now or before somebody was stopped in the middle."""
        branches, tags = rules.all("protectedbranches"), rules.all("protectedtags")
        if (name := holding(self._wanted.branch)) in branches and _right_branch(branches[name]):
            rules.remove("protectedbranches", name)
        for name in map(holding, VERSION_TAGS):
            if name in tags and _right_tags(tags[name]):
                rules.remove("protectedtags", name)

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
        yield from _own_branch(branch, rules)
        for name in sorted(rules.keys() - {branch}):
            if overlap(name, branch) and (told := _let_in(rules[name])):
                said = f"{told}, also to {branch}"
                yield Drift(f"protected branch {name}", said, "nobody below maintainers", mendable=False)


def _own_branch(branch: str, rules: Rules) -> Iterator[Drift]:
    what, rule = f"protected branch {branch}", rules.get(branch)
    left = holding(branch)
    if left in rules and _right_branch(rules[left]):
        yield _left_over(f"protected branch {left}")
    if rule is None:
        yield Drift(what, _missing(left, rules), "force push by maintainers")
        return
    if rule.get("allow_force_push") is not True:
        yield Drift(what, "no force push", "force push by maintainers")
    if not _for_maintainers(rule, "push_access_levels"):
        yield Drift(what, f"push by {_names(rule, 'push_access_levels')}", "push by maintainers")
    if _is_wide(rule, "merge_access_levels"):
        yield Drift(what, f"merge by {_names(rule, 'merge_access_levels')}", "nobody below maintainers")


def _right_branch(rule: Mapping[str, Any]) -> bool:
    """Who may push and merge is right; whether by force can be changed without making the rule anew."""
    return _for_maintainers(rule, "push_access_levels") and not _is_wide(rule, "merge_access_levels")


def _right_tags(rule: Mapping[str, Any]) -> bool:
    return _for_maintainers(rule, "create_access_levels")


def _for_maintainers(rule: Mapping[str, Any], field: str) -> bool:
    return _levels(rule, field) == {MAINTAINER} and not _named(rule, field)


def _missing(left: str, rules: Rules) -> str:
    return f"not protected, but by {left}" if left in rules else "not protected"


def _left_over(what: str) -> Drift:
    return Drift(what, "left over from a mending that was stopped", "no such rule")


def _let_in(rule: Mapping[str, Any]) -> str:
    """Whom a rule lets in who should not be: of several rules that match, GitLab takes the most permissive one."""
    fields = {"push_access_levels": "push", "merge_access_levels": "merge"}
    wide = [f"{word} by {_names(rule, field)}" for field, word in fields.items() if _is_wide(rule, field)]
    return ", ".join(wide)


def _is_wide(rule: Mapping[str, Any], field: str) -> bool:
    return any(0 < level < MAINTAINER for level in _levels(rule, field)) or bool(_named(rule, field))


def _tags(rules: Rules) -> Iterator[Drift]:
    """Somebody's own rule matters where it can match a version's tag; it holds for other tags, too, so it is left alone."""
    for name in VERSION_TAGS:
        if (left := holding(name)) in rules and _right_tags(rules[left]):
            yield _left_over(f"protected tags {left}")
        if name not in rules:
            yield Drift(f"protected tags {name}", _missing(left, rules), "created by maintainers")
        elif not _right_tags(rules[name]):
            found = f"created by {_names(rules[name], 'create_access_levels')}"
            yield Drift(f"protected tags {name}", found, "created by maintainers")
    for name in sorted(set(rules) - set(VERSION_TAGS)):
        if any(overlap(name, own) for own in VERSION_TAGS) and _is_wide(rules[name], "create_access_levels"):
            found = f"created by {_names(rules[name], 'create_access_levels')}"
            yield Drift(f"protected tags {name}", found, "nobody below maintainers", mendable=False)


def _levels(rule: Mapping[str, Any], field: str) -> set[int]:
    """Access levels that a rule names by themselves: those of a person, group or deploy key are _named()."""
    levels = (each.get("access_level") for each in _entries(rule, field) if not any(map(each.get, _NAMED)))
    return {level if isinstance(level, int) else 0 for level in levels}


def _named(rule: Mapping[str, Any], field: str) -> list[str]:
    """`user 7`, `group 3`, `deploy key 1`: whom a rule lets in besides its levels."""
    entries = _entries(rule, field)
    return [f"{word} {each[key]}" for each in entries for key, word in _NAMED.items() if each.get(key)]


def _entries(rule: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    given = rule.get(field)
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _names(rule: Mapping[str, Any], field: str) -> str:
    names = {0: "nobody", 30: "developers", 40: "maintainers", 60: "administrators"}
    found = [names.get(level, str(level)) for level in sorted(_levels(rule, field))]
    return ", ".join([*found, *_named(rule, field)]) or "nobody"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value)
