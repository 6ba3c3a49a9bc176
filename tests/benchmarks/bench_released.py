"""released-to-downloadable: webhook sent to run done, against the sum of what git, the pipeline and the proxy take alone.

There the proxy is asked for the three files only. released-to-proven: it is asked for `list` and `@latest` meanwhile, too,
as the proof has to, and for which a proxy asks git.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import requests
from sqlalchemy import func, select

from app.adapters.database import reading
from app.adapters.tables import runs
from tests.benchmarks.ended_hook import EndedHook
from tests.benchmarks.harness import Line, timed, wait_until
from tests.benchmarks.service_world import MIRRORS, Bench, bench
from tests.chaos.session import PIPELINE
from tests.sandbox.modules import Release, make_plain

ROUNDS, WARM = 7, 2


def lines(root: Path) -> Iterator[Line]:
    """Two lines."""
    hook = EndedHook()
    with bench(root / "released", runner=True, pipeline=PIPELINE, hook=hook.environment) as world, hook.watching(world):
        rounds = [_round(world, number) for number in range(WARM + ROUNDS)][WARM:]
    ours, downloaded, proven = (median(each[side] for each in rounds) * 1000 for side in range(3))
    yield Line("released-to-downloadable", ours, downloaded, 1.3)
    yield Line("released-to-proven", ours, proven, 1.3)


def _round(world: Bench, number: int) -> tuple[float, float, float]:
    repository = world.world.mirrored("one/lib")
    versions = [f"v1.{step}.0" for step in range(number + 1)]
    if number == 0:
        release = make_plain(world.world.platform, repository, *versions).releases[versions[-1]]
    else:
        release = _next(world, repository, versions[-1])
    ours = timed(lambda: _done(world, release, number + 1))
    before, files = _before(world, release), timed(lambda: _downloaded(world, release))
    return ours, before + files, before + timed(lambda: _proven(world, release))


def _next(world: Bench, repository: str, version: str) -> Release:
    platform, module = world.world.platform, f"go.corp.example/{repository}"
    commit = platform.commit(repository, {"lib.go": f'package lib\n\nconst Version = "{version}"\n'}, version)
    platform.tag(repository, version, commit)
    return Release(repository, module, version, version, commit)


def _done(world: Bench, release: Release, count: int) -> None:
    world.world.platform.webhook(f"{world.world.url}/webhooks/platform", world.world.secret, release)
    query = select(func.count()).where(runs.c.status == "done")

    def reached() -> bool:
        with reading(world.engine) as connection:
            return int(connection.execute(query).scalar_one()) >= count

    wait_until(reached, seconds=180)


def _before(world: Bench, release: Release) -> float:
    """The script, and the pipeline's own time as GitLab has it."""
    command = world.bare(release.repository, release.tag)
    git = timed(lambda: world.run_bare([command], 1))
    pipeline = world.world.gitlab.pipelines(f"{MIRRORS}/{release.repository}")[-1]
    jobs = [world.world.gitlab.world.jobs[number] for number in pipeline.jobs]
    ended = max(job.finished_at for job in jobs if job.finished_at)
    return git + (ended - pipeline.created_at).total_seconds()


def _downloaded(world: Bench, release: Release) -> None:
    """The three files from the proxy, one after the other."""
    _got(world, release, *(f"@v/{release.version}.{suffix}" for suffix in ("info", "mod", "zip")))


def _proven(world: Bench, release: Release) -> None:
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(_got, world, release, name) for name in ("@v/list", "@latest")]
        _downloaded(world, release)
        for each in asked:
            each.result()


def _got(world: Bench, release: Release, *names: str) -> None:
    with requests.Session() as session:
        for name in names:
            session.get(f"{world.world.proxy.url}/{release.module_path}/{name}", timeout=60).raise_for_status()
