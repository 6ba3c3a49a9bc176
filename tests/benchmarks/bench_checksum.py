"""checksum: h1 of a 3,000-file module at a commit, against `git archive` piped to `sha256sum`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.adapters import git_env
from app.adapters.git_files import CacheFiles
from app.adapters.git_objects import ObjectReader
from app.domain.modules import ModulePath, Version
from app.services.checksum import module_sums
from tests.benchmarks.harness import Line, compared, timed
from tests.benchmarks.histories import add_files
from tests.benchmarks.mirror_stage import bare_environment
from tests.sandbox.repositories import Repositories

FILES, ROUNDS = 3000, 9
_MODULE, _VERSION = ModulePath.parse("go.corp.example/team/wide"), Version.parse("v1.0.0")


def lines(root: Path) -> Iterator[Line]:
    """One line."""
    repositories = Repositories(root / "checksum")
    commit = add_files(repositories, "team/wide", module=_MODULE.text, count=FILES)
    path = repositories.path("team/wide")
    environment = git_env.environment(git_env.GitOptions(root), git_dir=path)

    def ours() -> float:
        return timed(lambda: sums(path, environment, root, commit))

    def bare() -> float:
        command = f"git archive {commit} | sha256sum"
        return timed(lambda: subprocess.check_output(command, shell=True, cwd=path, env=bare_environment()))

    yield compared("checksum", ours, bare, 1.3, rounds=ROUNDS, warm=2)


def sums(path: Path, environment: dict[str, str], scratch: Path, commit: str) -> None:
    """As the mirror stage does it, the start of git included."""
    objects = ObjectReader(path, environment, 600)
    try:
        module_sums(
            CacheFiles(path, objects, scratch=scratch, healed=lambda reading: reading()), commit, _MODULE, _VERSION, ""
        )
    finally:
        objects.close()
