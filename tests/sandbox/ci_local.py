"""A runner whose jobs are run by gitlab-ci-local, which reads the CI file by itself: GitLab's own rules, without Docker."""

import json
import subprocess
from pathlib import Path

from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.jobs import Assignment
from tests.sandbox.processes import git_environment
from tests.sandbox.runner import Runner
from tests.sandbox.tools import ci_local_command

_AUTHOR = ("-c", "user.name=Runner", "-c", "user.email=runner@example.test")
# What GitLab predefines is gitlab-ci-local's own business, except who asked: the file's rules look at that.
_PREDEFINED = ("CI", "GITLAB_")


class CiLocalRunner(Runner):
    """Each job becomes one call of gitlab-ci-local with its shell executor, in a repository that holds `ci_file` alone.

    `jobs_run` lists the variables of each call.
    """

    def __init__(self, gitlab: GitLab, ci_file: Path) -> None:
        super().__init__(gitlab, concurrent=1)
        self._ci_file, self._program = ci_file, ci_local_command()
        self.jobs_run: list[dict[str, str]] = []

    def _command(self, job: Assignment, folder: Path) -> list[str]:
        build = folder / "build"
        (build / ".gitlab-ci.yml").write_text(self._ci_file.read_text(encoding="utf-8"), encoding="utf-8")
        _make_repository(build)
        given = {one.key: one.value for one in job.variables if not one.key.startswith(_PREDEFINED)}
        source = next(one.value for one in job.variables if one.key == "CI_PIPELINE_SOURCE")
        self.jobs_run.append(given)
        (folder / "variables.yml").write_text(json.dumps({**given, "CI_PIPELINE_SOURCE": source}))  # JSON is YAML
        return [
            *self._program, "--force-shell-executor", "--no-color", "--home", str(folder),
            "--ignore-predefined-vars", "CI_PIPELINE_SOURCE", "--variables-file", "../variables.yml", "precache",
        ]  # fmt: skip


def _make_repository(build: Path) -> None:
    """gitlab-ci-local asks git where the project is; the address is never used."""
    for command in (
        ["init", "--quiet", "--initial-branch=ci-sync"],
        ["remote", "add", "origin", "http://127.0.0.1:9/group/project.git"],
        ["add", "--all"],
        [*_AUTHOR, "commit", "--quiet", "-m", "CI file"],
    ):
        environment = git_environment(build)
        subprocess.run(["git", *command], cwd=build, env=environment, check=True, capture_output=True)
