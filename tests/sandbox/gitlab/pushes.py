"""One push: the rules that its hooks read, and what follows once git has taken it."""

from dataclasses import dataclass
from typing import Any

from tests.sandbox.gitlab.model import Level, Project, ProtectedBranch, User
from tests.sandbox.gitlab.pipelines import push_pipelines, refresh
from tests.sandbox.gitlab.protection import branch_rules
from tests.sandbox.gitlab.world import World

_HEADS = "refs/heads/"
_NOBODY = "0" * 40


@dataclass(frozen=True)
class Push:
    """Who pushes to what; `asked` is the path that was used, perhaps a former one."""

    world: World
    project: Project
    user: User
    asked: str

    def rules(self) -> dict[str, Any]:
        """What hook.py reads."""
        world, project = self.world, self.project
        git = world.repository(project)
        with world.lock:
            return {
                "level": world.level(self.user, project),
                "project": project.path,
                "empty": git.is_empty(),
                "protect_default": world.settings.default_branch_protection,
                "default_branch": project.default_branch,
                "lfs": bool(project.settings["lfs_enabled"]),
                "members_url": f"{world.url}/{project.path}/-/project_members",
                "notes": self._notes(),
                "branches": [_branch(rule) for rule in project.protected_branches.values()],
                "tags": [{"name": rule.name, "create": rule.create} for rule in project.protected_tags.values()],
                "file_bytes": project.limits.file_bytes,
                "repository_bytes": project.limits.repository_bytes,
                "used_bytes": git.size() if project.limits.repository_bytes else 0,
            }

    def git_limits(self) -> dict[str, str]:
        """git's own limit, as an environment: its refusal is git's own text."""
        if not self.project.limits.pack_bytes:
            return {}
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "receive.maxInputSize",
            "GIT_CONFIG_VALUE_0": str(self.project.limits.pack_bytes),
        }

    def _notes(self) -> list[str]:
        if self.asked.lower() == self.project.path.lower():
            return []
        url = f"{self.world.url}/{self.project.path}.git"
        moved = f"Project '{self.asked}' was moved to '{self.project.path}'."
        return [moved, "", "Please update your Git remote:", "", f"  git remote set-url origin {url}"]


def accept(push: Push, updates: list[list[str]], options: list[str]) -> None:
    """The default branch, its protection, and pipelines; `updates` are [old, new, ref]."""
    world, project = push.world, push.project
    with world.lock:
        branches = [ref.removeprefix(_HEADS) for _, new, ref in updates if ref.startswith(_HEADS) and new != _NOBODY]
        if project.default_branch is None and branches:
            _first_branch(world, project, "main" if "main" in branches else branches[0])
        found = [world.repository(project).ref(ref) for _, new, ref in updates if new != _NOBODY]
        skip = any(option.split("=")[0] == "ci.skip" for option in options)
        for pipeline in push_pipelines(world, project, push.user, [ref for ref in found if ref], skip):
            refresh(world, pipeline)


def _first_branch(world: World, project: Project, branch: str) -> None:
    """It becomes the default, and protected without force push unless a rule is there already."""
    project.default_branch = branch
    world.repository(project).set_head(branch)
    if world.settings.default_branch_protection and not branch_rules(project, branch):
        rule = ProtectedBranch(world.next_id("protected branch"), branch, Level.MAINTAINER, Level.MAINTAINER)
        project.protected_branches[branch] = rule


def _branch(rule: ProtectedBranch) -> dict[str, Any]:
    return {"name": rule.name, "push": rule.push, "merge": rule.merge, "force": rule.allow_force_push}
