"""What every ports.GitLab does: one suite for the fake, and for the real adapter against the stand-in GitLab."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
from pydantic import SecretStr

from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.domain.errors import SyncError
from app.services import ports
from app.services.ports import MirrorProject
from tests.contract.fake_gitlab import FakeGitLab
from tests.integration.web_world import until
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.faults import accept_then_cut, cut_then_accept
from tests.sandbox.processes import git_environment, run

_CI = """
workflow:
  name: "modsync $MODSYNC_RUN"
precache:
  script:
    - echo warm
"""
_SHA = "5" * 40


class World(Protocol):
    """A GitLab with a group `mirrors`, and what only the other side can do."""

    @property
    def api(self) -> ports.GitLab: ...

    def push(self, project: MirrorProject, *refs: str) -> str:
        """Put these full refs (the first a branch) at one commit and return its sha."""
        ...

    def finish(self, pipeline: int, status: str, log: str, *, by_runner: bool = False) -> None: ...

    def cut_next_creation(self, *, late: bool = False) -> None: ...

    def finish_creations(self) -> None:
        """What was cut off `late` takes place."""
        ...

    def count(self, project: MirrorProject) -> int:
        """How many pipelines there are."""
        ...


class InMemory:
    def __init__(self) -> None:
        self.fake = FakeGitLab()

    @property
    def api(self) -> ports.GitLab:
        return self.fake

    def push(self, project: MirrorProject, *refs: str) -> str:
        for ref in refs:
            self.fake.push(project.id, ref, _SHA)
        return _SHA

    def finish(self, pipeline: int, status: str, log: str, *, by_runner: bool = False) -> None:
        self.fake.finish(pipeline, status, log, by_runner=by_runner)

    def cut_next_creation(self, *, late: bool = False) -> None:
        self.fake.cut_next_creation(late=late)

    def finish_creations(self) -> None:
        self.fake.finish_creations()

    def count(self, project: MirrorProject) -> int:
        return sum(made.project == project.id for made in self.fake.pipelines.values())


class OverHttp:
    def __init__(self, gitlab: GitLab, ci_file: Path) -> None:
        ci_file.write_text(_CI)
        gitlab.settings.ci_file = ci_file
        gitlab.create_group("mirrors")
        self._gitlab, self._go = gitlab, threading.Event()
        self._api = GitLabApi(GitLabOptions(gitlab.url, SecretStr(gitlab.create_token(scopes=["api"]))))

    @property
    def api(self) -> ports.GitLab:
        return self._api

    def push(self, project: MirrorProject, *refs: str) -> str:
        repository = self._gitlab.world.repository(self._gitlab.project(project.path))
        sha = repository.seed(refs[0].removeprefix("refs/heads/"), {"go.mod": "module example.com/x\n"}, "release")
        for ref in refs[1:]:
            environment = git_environment(repository.path)
            run(["git", "update-ref", ref, sha], env=environment, cwd=repository.path).check_returncode()
        return sha

    def finish(self, pipeline: int, status: str, log: str, *, by_runner: bool = False) -> None:
        job = self._gitlab.jobs.take(lambda: False)
        assert job is not None
        self._gitlab.jobs.append(job.job_id, log.encode())
        self._gitlab.jobs.finish(job.job_id, status, "runner_system_failure" if by_runner else "script_failure")

    def cut_next_creation(self, *, late: bool = False) -> None:
        self._gitlab.faults.add("POST .*/pipeline$", cut_then_accept(self._go) if late else accept_then_cut())

    def finish_creations(self) -> None:
        self._go.set()

    def count(self, project: MirrorProject) -> int:
        return len(self._gitlab.pipelines(project.path))


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield InMemory()
        return
    with GitLab(tmp_path / "gitlab") as gitlab:
        yield OverHttp(gitlab, tmp_path / "ci.yml")


@pytest.fixture
def project(world: World) -> MirrorProject:
    return world.api.ensure_project("mirrors/go/ledger")


def test_a_project_is_made_once_with_its_subgroups(world: World) -> None:
    first = world.api.ensure_project("mirrors/go/deep/ledger")
    assert first.path == "mirrors/go/deep/ledger"
    assert world.api.ensure_project("mirrors/go/deep/ledger") == first
    assert world.api.ensure_project("mirrors/go/deep/other").id != first.id


def test_a_project_is_found_as_it_is_now(world: World, project: MirrorProject) -> None:
    assert world.api.find_project("mirrors/go/ledger") == project
    assert world.api.find_project("mirrors/go/other") is None
    assert world.api.find_project("nobody/ledger") is None


def test_the_clone_url_is_the_project_without_credentials(project: MirrorProject) -> None:
    assert project.clone_url.endswith("/mirrors/go/ledger.git")
    assert "@" not in project.clone_url


@pytest.mark.parametrize("path", ["nobody/ledger", "ledger", "nobody/go/ledger"])
def test_a_top_level_group_is_never_made(world: World, path: str) -> None:
    for _ in range(2):
        with pytest.raises(SyncError) as caught:
            world.api.ensure_project(path)
        assert caught.value.code == "group_missing"


def test_racing_for_a_new_project_in_a_new_subgroup_ends_with_one(world: World) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(world.api.ensure_project, ["mirrors/new/group/ledger"] * 4))
    assert len({one.id for one in found}) == 1


@pytest.mark.parametrize("ref", ["ci-sync", "refs/heads/ci-sync", "refs/tags/sdk/v1.2.0"])
def test_a_pipeline_is_made_on_a_branch_or_a_tag(world: World, project: MirrorProject, ref: str) -> None:
    sha = world.push(project, "refs/heads/ci-sync", "refs/tags/sdk/v1.2.0")
    made = world.api.create_pipeline(project.id, ref, {"MODSYNC_RUN": "r1-1"})
    assert (made.status, made.sha, made.name) == ("created", sha, "modsync r1-1")
    assert world.api.pipeline(project.id, made.id).id == made.id


def test_a_pipeline_on_a_ref_that_is_not_there(world: World, project: MirrorProject) -> None:
    with pytest.raises(SyncError) as caught:
        world.api.create_pipeline(project.id, "ci-sync", {})
    assert caught.value.code == "push_not_visible"


def test_the_newest_pipeline_is_found_by_its_name(world: World, project: MirrorProject) -> None:
    world.push(project, "refs/heads/ci-sync")
    made = [world.api.create_pipeline(project.id, "ci-sync", {"MODSYNC_RUN": run}).id for run in ("a", "b", "a", "b")]
    found = world.api.find_pipeline(project.id, "modsync a")
    assert found is not None
    assert found.id == made[2]
    assert world.api.find_pipeline(project.id, "modsync") is None


def test_a_creation_whose_answer_is_lost_is_found_and_was_sent_once(world: World, project: MirrorProject) -> None:
    world.push(project, "refs/heads/ci-sync")
    world.cut_next_creation()
    with pytest.raises(SyncError) as caught:
        world.api.create_pipeline(project.id, "ci-sync", {"MODSYNC_RUN": "cut"})
    assert caught.value.code == "gitlab_unreachable"
    assert world.api.find_pipeline(project.id, "modsync cut") is not None
    assert world.count(project) == 1


def test_a_creation_that_ends_after_the_connection_is_found_when_it_has_ended(
    world: World, project: MirrorProject
) -> None:
    world.push(project, "refs/heads/ci-sync")
    world.cut_next_creation(late=True)
    with pytest.raises(SyncError) as caught:
        world.api.create_pipeline(project.id, "ci-sync", {"MODSYNC_RUN": "late"})
    assert caught.value.code == "gitlab_unreachable"
    assert world.api.find_pipeline(project.id, "modsync late") is None
    world.finish_creations()
    until(lambda: world.api.find_pipeline(project.id, "modsync late") is not None)
    assert world.count(project) == 1


def test_the_failed_job_is_named_with_its_page_and_log(world: World, project: MirrorProject) -> None:
    world.push(project, "refs/heads/ci-sync")
    made = world.api.create_pipeline(project.id, "ci-sync", {})
    world.finish(made.id, "failed", "proxy said 404")
    assert world.api.pipeline(project.id, made.id).status == "failed"
    found = world.api.failed_job(project.id, made.id)
    assert found is not None
    name, page, log = found
    assert (name, log) == ("precache", "proxy said 404")
    assert page.startswith("http")


def test_a_pipeline_whose_runner_broke_is_run_again_and_one_whose_script_failed_is_not(
    world: World, project: MirrorProject
) -> None:
    world.push(project, "refs/heads/ci-sync")
    broken = world.api.create_pipeline(project.id, "ci-sync", {})
    world.finish(broken.id, "failed", "no space on the runner", by_runner=True)
    again = world.api.retry_pipeline(project.id, broken.id)
    assert again is not None
    assert (again.id, again.status) == (broken.id, "pending")
    world.finish(broken.id, "failed", "exit 1")
    assert world.api.retry_pipeline(project.id, broken.id) is None
    assert world.count(project) == 1


def test_a_good_pipeline_has_no_failed_job(world: World, project: MirrorProject) -> None:
    world.push(project, "refs/heads/ci-sync")
    made = world.api.create_pipeline(project.id, "ci-sync", {})
    world.finish(made.id, "success", "warm")
    assert world.api.pipeline(project.id, made.id).status == "success"
    assert world.api.failed_job(project.id, made.id) is None


def test_an_unknown_pipeline_and_an_unknown_project(world: World, project: MirrorProject) -> None:
    with pytest.raises(SyncError) as caught:
        world.api.pipeline(project.id, 4711)
    assert caught.value.code == "gitlab_refused"
    with pytest.raises(SyncError) as caught:
        world.api.pipeline(4711, 1)
    assert caught.value.code == "project_missing"


def test_a_protected_version_tag_can_be_removed_and_is_then_gone(world: World, project: MirrorProject) -> None:
    world.push(project, "refs/heads/ci-sync", "refs/tags/sdk/v1.2.0", "refs/tags/v1.0.0")
    world.api.remove_tag(project.id, "sdk/v1.2.0")
    world.api.remove_tag(project.id, "sdk/v1.2.0")  # what is not there is no error
    with pytest.raises(SyncError) as caught:
        world.api.create_pipeline(project.id, "refs/tags/sdk/v1.2.0", {})
    assert caught.value.code == "push_not_visible"
    assert world.api.create_pipeline(project.id, "refs/tags/v1.0.0", {}).status == "created"


def test_a_tag_of_an_unknown_project_is_not_removed(world: World) -> None:
    with pytest.raises(SyncError) as caught:
        world.api.remove_tag(4711, "v1.0.0")
    assert caught.value.code == "project_missing"
