"""Which rules protect a branch or a tag; where several match, the most permissive one decides, as in GitLab."""

from fnmatch import fnmatchcase

from tests.sandbox.gitlab.model import Level, Project, ProtectedBranch, ProtectedTag


def branch_rules(project: Project, branch: str) -> list[ProtectedBranch]:
    return [rule for rule in project.protected_branches.values() if matches(rule.name, branch)]


def tag_rules(project: Project, tag: str) -> list[ProtectedTag]:
    return [rule for rule in project.protected_tags.values() if matches(rule.name, tag)]


def can_push(project: Project, branch: str, level: int) -> bool:
    """Push to an existing branch or create it; a level of 0 in a rule means nobody."""
    rules = branch_rules(project, branch)
    return level >= Level.DEVELOPER if not rules else any(permits(rule.push, level) for rule in rules)


def can_run_pipeline(project: Project, ref: str, tag: bool, level: int) -> bool:
    """A pipeline on a protected ref needs the right to push or merge there (create, for a tag)."""
    if tag:
        tags = tag_rules(project, ref)
        return not tags or any(permits(rule.create, level) for rule in tags)
    rules = branch_rules(project, ref)
    return not rules or any(permits(rule.push, level) or permits(rule.merge, level) for rule in rules)


def permits(needed: int, level: int) -> bool:
    return needed != Level.NONE and level >= needed


def matches(pattern: str, name: str) -> bool:
    """GitLab's wildcard: only `*` is special, and it crosses slashes."""
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))
