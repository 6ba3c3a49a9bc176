"""Intake against a bare Flask view under the same gunicorn settings, in the same run: `make bench-intake`.

Ours checks the signature, commits to the database on disk, and enqueues. Lines: `bench NAME ours=… bare=… ratio=… target=…`.
Rounds alternate between the two, so that whatever else this machine does meets both; medians are printed.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from app.config_models import Web
from tests.benchmarks.floor import lines
from tests.benchmarks.harness import end_cleanly
from tests.benchmarks.load import Load, run
from tests.benchmarks.rival import rival
from tests.integration.databases import running_postgres
from tests.integration.web_world import WebWorld, make_world, release, signed

CONNECTIONS = (16, 256)
TARGETS = {"time": 2.0, "p99": 3.0}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Size:
    """How much is measured: requests in a round, rounds, and requests that warm up."""

    requests: int = 3000
    rounds: int = 5
    warm: int = 1000


def prepared(count: int, path: str = "/webhooks/platform") -> list[bytes]:
    """Signed requests of new releases, of many modules: what modsync remembers of a module must not flatter it."""
    return [_request(_release(next(_numbers)), path) for _ in range(count)]


def _release(number: int) -> bytes:
    return release(f"go.corp.example/team{number % 20}/repo{number % 500}", f"v1.{number}.0")


def _request(body: bytes, path: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in signed(body).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def measured(name: str, ours: WebWorld, bare: WebWorld, size: Size) -> Iterator[str]:
    """The lines of one database at each number of connections. AssertionError when a release was lost."""
    sent = _warm_up(ours, bare, size)
    for connections in CONNECTIONS:
        rounds = [(_load(ours, size, connections), _load(bare, size, connections)) for _ in range(size.rounds)]
        sent += size.rounds * size.requests
        for what in ("time", "p99"):
            yield line(f"intake-{name}-{connections}-{what}", what, rounds)
    found = ours.rows("SELECT count(*) FROM runs")[0][0]
    assert found == sent, f"{sent} releases were accepted, {found} runs are there"
    yield f"runs {name}: {found} of {sent} accepted"


def _warm_up(ours: WebWorld, bare: WebWorld, size: Size) -> int:
    for world in (ours, bare):
        run(world.port, prepared(size.warm), max(CONNECTIONS))
    return size.warm


def _load(world: WebWorld, size: Size, connections: int) -> Load:
    load = run(world.port, prepared(size.requests), connections)
    assert load.statuses == {202: size.requests}, (load.statuses, world.log()[-3:])
    return load


def line(name: str, what: str, rounds: list[tuple[Load, Load]]) -> str:
    """The medians, in milliseconds."""
    ours, bare = (median(_seconds(pair[side], what) for pair in rounds) * 1000 for side in (0, 1))
    return f"bench {name} ours={ours:.2f}ms bare={bare:.2f}ms ratio={ours / bare:.2f} target={TARGETS[what]:.1f}"


def _seconds(load: Load, what: str) -> float:
    return load.per_request if what == "time" else load.p99


@contextmanager
def serving(
    directory: Path, environment: Mapping[str, str], *application: str, redis: bool = True
) -> Iterator[WebWorld]:
    """gunicorn with modsync's own settings, with modsync or another application."""
    directory.mkdir()
    world = make_world(directory, **environment)
    _as_in_production(directory / "modsync.toml")
    try:
        if redis:
            world.start_redis()
        world.start_web(*application)
        yield world
    finally:
        world.stop()


def _as_in_production(settings: Path) -> None:
    """As many threads as modsync has by itself."""
    settings.write_text(settings.read_text().replace("threads = 4", f"threads = {Web().threads}"))


def main() -> None:
    """Print all lines; fail when a request did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=Size.requests)
    parser.add_argument("--rounds", type=int, default=Size.rounds)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    given = parser.parse_args()
    end_cleanly()
    size = Size(given.requests, given.rounds)
    root = Path(tempfile.mkdtemp(prefix="modsync-bench-"))
    try:
        for database in given.database or ["sqlite", "postgresql"]:
            _bench(database, root / database, size)
        for text in _floor(root / "floor", size):
            print(text, flush=True)
        for text in rival(prepared(size.requests), CONNECTIONS, root):
            print(text, flush=True)
    finally:
        shutil.rmtree(root)


def _floor(root: Path, size: Size) -> Iterator[str]:
    """How near to the bare view one can come that does the three things at all."""
    root.mkdir()
    requests = (prepared(size.requests) for _ in itertools.count())
    with ExitStack() as stack:
        floor = stack.enter_context(serving(root / "ours", {}, "tests.benchmarks.floor:create()"))
        bare = stack.enter_context(serving(root / "bare", {}, "tests.benchmarks.bare:create()", redis=False))
        for world in (floor, bare):
            run(world.port, prepared(size.warm), max(CONNECTIONS))
        yield from lines(floor, bare, requests, CONNECTIONS)


def _bench(database: str, root: Path, size: Size) -> None:
    root.mkdir()
    with ExitStack() as stack:
        environment = {}
        if database == "postgresql":
            environment["DATABASE_URL"] = stack.enter_context(running_postgres(durable=True)).fresh()
        ours = stack.enter_context(serving(root / "ours", environment))
        bare = stack.enter_context(serving(root / "bare", {}, "tests.benchmarks.bare:create()", redis=False))
        for text in measured(database, ours, bare, size):
            print(text, flush=True)


if __name__ == "__main__":
    main()
