"""sync-incremental-small, -large, sync-growth, sync-first: the mirror stage of one release against git alone."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.benchmarks.git_server import serving
from tests.benchmarks.harness import Line, compared, timed
from tests.benchmarks.histories import make_history
from tests.benchmarks.mirror_stage import Bare, Ours, bare_environment
from tests.benchmarks.own_redis import serving_redis
from tests.sandbox.platform import basic
from tests.sandbox.repositories import Repositories

MODULE = "go.corp.example"
ROUNDS = {"small": 15, "large": 11, "first": 5}


@dataclass(frozen=True)
class Size:
    """How large a repository is."""

    name: str
    commits: int
    tags: int
    target: float


SMALL, LARGE = Size("small", 100, 10, 1.15), Size("large", 20_000, 2_000, 1.10)


def lines(root: Path) -> Iterator[Line]:
    """All of them, growth from the first two."""
    small, large = (_incremental(root / size.name, size) for size in (SMALL, LARGE))
    yield from (small, large)
    yield Line("sync-growth", large.ours / small.ours, large.bare / small.bare, 1.0, unit="x")
    yield _first(root / "first")


def part(root: Path, name: str) -> Iterator[Line]:
    """One of them alone: small, large or first."""
    yield _first(root / name) if name == "first" else _incremental(root / name, {"small": SMALL, "large": LARGE}[name])


def incremental(root: Path, size: Size) -> Line:
    """One new release of a repository that is in the mirror."""
    return _incremental(root, size)


def _incremental(root: Path, size: Size) -> Line:
    root.mkdir(parents=True)
    sources, targets = Repositories(root / "sources"), Repositories(root / "mirrors-root")
    name = f"team/{size.name}"
    make_history(sources, name, module=f"{MODULE}/{name}", commits=size.commits, tags=size.tags)
    with serving(sources.directory) as (source,), serving(targets.directory) as (mirror,):
        ours = Ours(root / "ours", source, mirror)
        cache = root / "bare-cache.git"
        branch_at = _in_the_mirror(sources, targets, name, ours.cache(name), cache, f"v1.{size.tags - 1}.0")
        ours.know(name, branch_at)
        bare = Bare(cache, f"{source}/{name}.git", f"{mirror}/bare/{name}.git")
        releases = (_release(sources, name, number) for number in itertools.count(size.tags))

        def mine() -> float:
            tag, commit = next(releases)
            return ours.seconds(ours.release(name, tag, commit))

        def least() -> float:
            tag, _ = next(releases)
            return timed(lambda: bare.sync(tag))

        rounds = ROUNDS.get(size.name, 5)
        with serving_redis(ours.container.settings.data_dir):
            return compared(f"sync-incremental-{size.name}", mine, least, size.target, rounds=rounds, warm=2)


def _release(sources: Repositories, name: str, number: int) -> tuple[str, str]:
    tag = f"v1.{number}.0"
    commit = sources.commit(name, {"version.txt": tag}, f"Release {tag}")
    return tag, sources.tag(name, tag, commit)


def _in_the_mirror(
    sources: Repositories, targets: Repositories, name: str, cache: Path, bare_cache: Path, last: str
) -> str:
    """Both mirrors and both caches as after the last of the earlier releases; the commit that ci-sync is at."""
    at = sources.resolve(name, f"refs/tags/{last}")
    for path in (targets.path(f"mirrors/{name}"), targets.path(f"bare/{name}"), cache, bare_cache):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(sources.path(name), path)
        _git(path, "update-ref", "-d", "refs/heads/main")
        if "mirrors-root" in path.parts:
            _git(path, "update-ref", "refs/heads/ci-sync", at)
            _git(path, "config", "receive.advertisePushOptions", "true")  # as GitLab does
    (bare_cache / "ci-sync").write_text(at)
    return at


def _git(path: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=path, env=bare_environment(), check=True)


def _first(root: Path) -> Line:
    """A repository that is nowhere yet, GitLab's project included; bare, git makes the project by its push."""
    root.mkdir(parents=True)
    sources = Repositories(root / "sources")
    origin, module = "team/origin", f"{MODULE}/team/origin"
    make_history(sources, origin, module=module, commits=LARGE.commits, tags=0)
    at = sources.resolve(origin, "refs/heads/main")
    numbers = itertools.count()
    with serving(sources.directory) as (source,), serving(root / "gitlab", "mirrors/team", "bare") as (gitlab, token):
        ours = Ours(root / "ours", source, gitlab, token)

        def fresh() -> tuple[str, str]:
            number = next(numbers)
            name, tag = f"team/first{number}", f"v1.{number}.0"
            shutil.copytree(sources.path(origin), sources.path(name))
            sources.tag(name, tag, at)
            return name, tag

        def mine() -> float:
            return ours.seconds(ours.release(*fresh(), at, module))

        def least() -> float:
            name, tag = fresh()
            bare = f"bare/{name.rpartition('/')[2]}.git"
            return _cloned_and_pushed(
                f"{source}/{name}.git", root / bare, f"{gitlab}/{bare}", tag, _login(gitlab, token)
            )

        with serving_redis(ours.container.settings.data_dir):
            return compared("sync-first", mine, least, 1.10, rounds=ROUNDS["first"])


def _login(gitlab: str, token: str) -> dict[str, str]:
    value = f"Authorization: {basic(token, 'oauth2')}"
    return bare_environment(
        GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0=f"http.{gitlab}/.extraHeader", GIT_CONFIG_VALUE_0=value
    )


def _cloned_and_pushed(source: str, cache: Path, mirror: str, tag: str, environment: dict[str, str]) -> float:
    """`git clone --bare` and `git push` of the same two refs."""
    begun = perf_counter()
    subprocess.run(["git", "clone", "--quiet", "--bare", source, cache], env=environment, check=True)
    refs = [f"refs/tags/{tag}", f"refs/tags/{tag}^{{commit}}:refs/heads/ci-sync"]
    subprocess.run(["git", "push", "--quiet", "--atomic", mirror, *refs], cwd=cache, env=environment, check=True)
    return perf_counter() - begun
