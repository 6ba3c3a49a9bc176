"""burst, memory and monorepo: many releases at once through modsync's real processes, against the script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks.harness import Line, timed
from tests.benchmarks.histories import make_history
from tests.benchmarks.load import run
from tests.benchmarks.service_world import Bench, Peaks, bench, module
from tests.sandbox.modules import HOST, Release

REPOSITORIES, EACH, WORKERS = 50, 10, 2
NESTED, NESTED_ROUNDS = 40, 3
CONNECTIONS = 8


def lines(root: Path) -> Iterator[Line]:
    """monorepo, burst, memory-worker, memory-web."""
    with bench(root / "burst", runner=False) as world:
        yield _monorepo(world)
        world.forget_the_rest()
        yield from _burst(world)


def _monorepo(world: Bench) -> Line:
    repository = world.world.mirrored("mono/all")
    world.world.platform.make_repository(repository)
    ours, bare = [], []
    for number in range(NESTED_ROUNDS + 1):  # the first makes the project, the caches and the mirrors
        told = _nested(world, repository, f"v1.{number}.0")
        ours.append(timed(lambda told=told, number=number: _delivered(world, [told], NESTED * (number + 1))))  # type: ignore[misc]
        world.forget_the_rest()
        commands = [world.bare(repository, each.tag) for each in told]
        bare.append(timed(lambda commands=commands: world.run_bare(commands, 1)))  # type: ignore[misc]
    return Line("monorepo", median(ours[1:]) * 1000, median(bare[1:]) * 1000, 0.25)


def _nested(world: Bench, repository: str, version: str) -> list[Release]:
    """One commit that changes all nested modules, with a tag for each."""
    platform = world.world.platform
    names = [f"mod{number}" for number in range(NESTED)]
    files = {f"{name}/go.mod": f"module {HOST}/{repository}/{name}\n\ngo 1.21\n" for name in names}
    sources = {f"{name}/v.go": f'package {name}\n\nconst Version = "{version}"\n' for name in names}
    commit = platform.commit(repository, files | sources, version)
    for name in names:
        platform.tag(repository, f"{name}/{version}", commit)
    return [
        Release(repository, f"{HOST}/{repository}/{name}", version, f"{name}/{version}", commit, name) for name in names
    ]


def _burst(world: Bench) -> Iterator[Line]:
    platform = world.world.platform
    names = [world.world.mirrored(f"burst/mod{number}") for number in range(REPOSITORIES)]
    for name in names:
        make_history(platform, name, module=module(name), commits=EACH + 1, tags=EACH + 1)
    told = [_releases(world, name) for name in names]
    before = NESTED * (NESTED_ROUNDS + 1)
    _delivered(world, [[each[0]] for each in told], before + REPOSITORIES)
    world.run_bare([world.bare(each[0].repository, each[0].tag) for each in told], WORKERS)
    world.forget_the_rest()
    waiting = [each[number] for number in range(1, EACH + 1) for each in told]
    peaks = [Peaks(world.service.processes[role].pid) for role in ("worker", "web")]
    for each in peaks:
        each.start()
    ours = timed(lambda: _delivered(world, [[each] for each in waiting], before + REPOSITORIES + len(waiting)))
    worker, web = (each.stop() for each in peaks)
    world.forget_the_rest()
    bare = timed(lambda: world.run_bare([world.bare(each.repository, each.tag) for each in waiting], WORKERS))
    yield Line("burst", ours, bare, 1.25, unit="s")
    yield Line("memory-worker", worker, 150, 1.0, unit="MB")
    yield Line("memory-web", web, 120, 1.0, unit="MB")


def _releases(world: Bench, repository: str) -> list[Release]:
    tags = world.world.platform.tags(repository)
    versions = [f"v1.{number}.0" for number in range(EACH + 1)]
    return [Release(repository, module(repository), version, version, tags[version]) for version in versions]


def _delivered(world: Bench, deliveries: list[list[Release]], mirrored: int) -> None:
    """Send one webhook for each list and wait until all are in their mirrors."""
    load = run(world.world.port, [world.request(each) for each in deliveries], min(CONNECTIONS, len(deliveries)))
    assert sum(load.statuses.values()) == sum(load.statuses[code] for code in (200, 202)), load.statuses
    world.wait_for_mirrored(mirrored)
