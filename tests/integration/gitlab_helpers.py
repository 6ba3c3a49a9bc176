"""What the tests of the GitLab adapter share: an adapter for the stand-in, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.domain.errors import SyncError
from tests.sandbox.gitlab import GitLab

PATH = "mirrors/go/ledger"
_CI = """spec:
  inputs:
    module:
      default: none
---
workflow:
  name: 'modsync $MODSYNC_RUN $[[ inputs.module ]]'
allowed:
  script: [a]
  allow_failure: true
warm:
  script: [b]
"""


def connect(gitlab: GitLab, token: str = "", **options: Any) -> GitLabApi:
    """A new adapter, as another process would have it; keywords are GitLabOptions'."""
    return GitLabApi(GitLabOptions(gitlab.url, SecretStr(token or gitlab.create_token(scopes=["api"])), **options))


def ready_project(gitlab: GitLab) -> int:
    """A project with a commit on ci-sync and a CI file of two jobs, of which one may fail; its id."""
    ci_file = gitlab.world.root / "ci.yml"
    ci_file.write_text(_CI)
    gitlab.settings.ci_file = ci_file
    project = gitlab.create_project(PATH)
    project.settings["ci_pipeline_variables_minimum_override_role"] = "maintainer"
    gitlab.world.repository(project).seed("ci-sync", {"go.mod": "module example.com/x\n"}, "release")
    return project.id


def asked(gitlab: GitLab, method: str = "") -> list[str]:
    """`METHOD /path` of every request so far, or of those with this method."""
    return [f"{one.method} {one.path}" for one in gitlab.requests if method in one.method]


def refusal(act: Callable[[], object]) -> SyncError:
    """The SyncError that `act` must raise."""
    with pytest.raises(SyncError) as caught:
        act()
    return caught.value


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    """The stand-in with the group of the mirrors."""
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        yield server


@pytest.fixture
def ready(gitlab: GitLab) -> int:
    """A project that is set up, with a release in it; its id."""
    return ready_project(gitlab)
