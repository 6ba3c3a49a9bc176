"""growth: what a cost grows with, over three orders of magnitude: commits, tags, files, repositories, runs.

Each series has ours, and where there is one the barest way, at 10, 100, 1,000 and 10,000 (repositories to 1,000, runs
from 100 to 100,000). Medians of a few rounds; setting up takes most of the time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from app.adapters import git_env
from app.adapters.flow_store import SqlFlowStore
from app.domain.modules import ModulePath
from app.domain.run import Stage, Status
from app.services.stores import Change, StepRecord
from tests.benchmarks import bench_checksum, bench_sync
from tests.benchmarks.bench_large import Large, Plan
from tests.benchmarks.bench_reconcile import listed
from tests.benchmarks.growth_picture import picture
from tests.benchmarks.harness import alternated, timed
from tests.benchmarks.histories import add_files
from tests.benchmarks.many_runs import fill
from tests.benchmarks.mirror_stage import Ours, bare_environment
from tests.sandbox.repositories import Repositories

SIZES = (10, 100, 1_000, 10_000)


@dataclass(frozen=True)
class Point:
    """One cost, in milliseconds, at `count` of what the series counts; `bare` None: there is no barer way."""

    series: str
    count: int
    ours: float
    bare: float | None

    def __str__(self) -> str:
        bare = f" bare={self.bare:.2f}ms ratio={self.ours / self.bare:.2f}" if self.bare else ""
        return f"growth {self.series}={self.count} ours={self.ours:.2f}ms{bare}"


Series = Callable[[Path], Iterator[Point]]


def main(results: Path) -> None:
    """Print a line for each point; write them as JSON, as a table and as a picture."""
    points = []
    for series in (commits, tags, files, repositories, runs):
        for point in _measured(series):
            print(point, flush=True)
            points.append(point)
    results.mkdir(parents=True, exist_ok=True)
    (results / "growth.json").write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    (results / "growth.md").write_text(table(points))
    (results / "growth.svg").write_text(picture([(f"{p.series}", p.count, p.ours, p.bare) for p in points]))


def commits(root: Path) -> Iterator[Point]:
    """The mirror stage of one release, ten tags, a longer and longer history."""
    yield from (
        _stage("commits", root / str(count), count, bench_sync.Size(f"c{count}", count, 10, 1)) for count in SIZES
    )


def tags(root: Path) -> Iterator[Point]:
    """The mirror stage of one release beside more and more tags, each of a commit of its own."""
    yield from (
        _stage("tags", root / str(count), count, bench_sync.Size(f"t{count}", count, count, 1)) for count in SIZES
    )


def files(root: Path) -> Iterator[Point]:
    """h1 of a module of so many files against `git archive` piped to `sha256sum`."""
    for count in SIZES:
        sources = Repositories(root / str(count))
        module = ModulePath.parse("go.corp.example/team/wide")
        commit = add_files(sources, "team/wide", module=module.text, count=count)
        path = sources.path("team/wide")
        environment = git_env.environment(git_env.GitOptions(root), git_dir=path)

        def ours(path: Path = path, commit: str = commit, environment: dict[str, str] = environment) -> float:
            return timed(lambda: bench_checksum.sums(path, environment, root, commit))

        def bare(path: Path = path, commit: str = commit) -> float:
            command = f"git archive {commit} | sha256sum"
            return timed(lambda: subprocess.check_output(command, shell=True, cwd=path, env=bare_environment()))

        yield _point("files", count, alternated(ours, bare, rounds=5))


def repositories(root: Path) -> Iterator[Point]:
    """`modsync reconcile --all` of repositories that are in step against `git ls-remote` of both sides of each."""
    for count in SIZES[:3]:
        (root / str(count)).mkdir(parents=True)
        large = Large(root / str(count), Plan(count, 10, rate=1000))
        large.make()
        with large.server:
            engine = large.configure()
            large.reconcile("adopt", engine)
            bare = timed(lambda large=large: listed(large))  # type: ignore[misc]
            ours = large.reconcile("in step", engine)
            engine.dispose()
        yield _point("repositories", count, (ours.seconds, bare))


def runs(root: Path) -> Iterator[Point]:
    """Claim and two recorded outcomes of a run beside so many others in SQLite."""
    for count in (100, 1_000, 10_000, 100_000):
        (root / "runs").mkdir(parents=True, exist_ok=True)
        ours = Ours(root / "runs" / str(count), "http://127.0.0.1:1", "http://127.0.0.1:1")
        fill(ours.container.settings.store.url, count)
        ours._made = 10 * count  # other ids than those
        rounds = [_through(ours, number) for number in range(23)][3:]
        yield Point("runs", count, median(rounds) * 1000, None)


def table(points: list[Point]) -> str:
    """For docs/performance.md: a row for each series and count."""
    head = "| | at | ours | bare | ratio |\n|---|---|---|---|---|\n"
    return head + "".join(_row(point) for point in points)


def _measured(series: Series) -> Iterator[Point]:
    root = Path(tempfile.mkdtemp(prefix="modsync-bench-"))
    try:
        yield from series(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _stage(series: str, root: Path, count: int, size: bench_sync.Size) -> Point:
    line = bench_sync.incremental(root, size)
    return Point(series, count, line.ours, line.bare)


def _point(series: str, count: int, seconds: tuple[float, float]) -> Point:
    return Point(series, count, seconds[0] * 1000, seconds[1] * 1000)


def _through(ours: Ours, number: int) -> float:
    """The transactions of a run whose stages do nothing, over a connection that is open."""
    run = ours.release(f"idle/n{number}", "v1.0.0", "a" * 40)
    store, now = SqlFlowStore(ours.container.engine), ours.container.clock.now()
    store.pauses()
    begun = time.perf_counter()
    claim = store.claim(run, "bench", now, 10)
    assert claim is not None
    step = StepRecord(Stage.MIRROR, "ok", now, now)
    store.record(claim, step, Change(Status.PIPELINE, Stage.PIPELINE, {}, 0, None, pushed=True), now)
    store.record(claim, step, Change(Status.DONE, Stage.VERIFY, {}, 0, None), now)
    return time.perf_counter() - begun


def _row(point: Point) -> str:
    bare = f"{point.bare:.1f} ms | {point.ours / point.bare:.2f}" if point.bare else "|"
    return f"| {point.series} | {point.count:,} | {point.ours:.1f} ms | {bare} |\n"
