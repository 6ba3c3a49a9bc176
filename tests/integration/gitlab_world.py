"""Helpers of the stand-in GitLab's own tests: a client, real git pushes, a clock."""

import base64
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gitlab as client
from gitlab.v4.objects import Project

from tests.sandbox.gitlab import GitLab
from tests.sandbox.processes import git_environment, run

AUTHOR = ("-c", "user.name=T", "-c", "user.email=t@example.test")


@dataclass
class Clock:
    """A clock that only tests move."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def connect(server: GitLab, token: str | None) -> client.Gitlab:
    """python-gitlab, as the product uses it: no replays, no sleeping."""
    return client.Gitlab(server.url, private_token=token, timeout=20, keep_base_url=True)


def make_project(api: client.Gitlab, group: str, name: str, **more: Any) -> Project:
    return api.projects.create({"name": name, "namespace_id": api.groups.get(group).id, **more})


@dataclass(frozen=True)
class Worktree:
    """A local repository with real commits, and its pushes."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Worktree":
        folder.mkdir()
        tree = cls(folder)
        tree.git("init", "--quiet", "--initial-branch=main")
        tree.commit("go.mod", "module example.com/m\n")
        return tree

    def commit(self, name: str, text: str, message: str = "change") -> str:
        (self.folder / name).write_text(text)
        self.git("add", name)
        self.git(*AUTHOR, "commit", "--quiet", "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").stdout.decode().strip()

    def git(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
        return run(["git", *arguments], env=git_environment(self.folder, **environment), cwd=self.folder)

    def push(self, server: GitLab, path: str, token: str | None, *arguments: str) -> "Pushed":
        """`git push URL arguments`, with the token in a header as Basic's password."""
        result = self.git("push", f"{server.url}/{path}.git", *arguments, **basic(token))
        return Pushed(result.returncode, result.stderr.decode())

    def ls_remote(self, server: GitLab, path: str, token: str | None) -> "Pushed":
        result = self.git("ls-remote", f"{server.url}/{path}.git", **basic(token))
        return Pushed(result.returncode, (result.stdout + result.stderr).decode())


@dataclass(frozen=True)
class Pushed:
    """git's exit status and what it said."""

    code: int
    said: str


def basic(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    value = base64.b64encode(f"oauth2:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {value}",
    }
