"""console: the releases page, searches and the first page at a million runs against a thousand, on SQLite and PostgreSQL.

`python -m tests.benchmarks.bench_console` prints the same pages at a thousand, ten thousand, a hundred thousand and a million.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import create_engine

from tests.benchmarks.bench_intake import serving
from tests.benchmarks.harness import Line, compared
from tests.benchmarks.many_runs import fill
from tests.integration.databases import running_postgres
from tests.integration.web_world import WebWorld

MANY, FEW = 1_000_000, 1_000
GROWTH = (1_000, 10_000, 100_000, 1_000_000)
_DATABASES = ("sqlite", "postgresql")
# {module}, {version}, {commit}, {run} are those of a release from the middle of the database.
PAGES = {
    "now": "/",
    "releases": "/releases",
    "next": "/releases?cursor=",
    "failed": "/releases?status=failed",
    "module": "/releases?q=mod7",  # a ninth of all modules has such a name, at a thousand and at a million
    "rare": "/releases?q={module}",
    "version": "/releases?q={version}",
    "commit": "/releases?q={commit}",
    "run": "/runs/{run}",
    "combined": "/releases?q=team5&status=failed&source=platform&since=90d",
    "nothing": "/releases?q=no-such-module",
    "modules": "/modules",
    "deliveries": "/deliveries?verdict=refused",
}


def lines(root: Path) -> Iterator[Line]:
    """A line for each page and database."""
    for database in _DATABASES:
        with _worlds(root / database, database, (MANY, FEW)) as (many, few):
            for name, path in PAGES.items():
                yield _page(f"console-{database}-{name}", path, many, few)


def _page(name: str, path: str, many: WebWorld, few: WebWorld) -> Line:
    there, here = _address(many, path), _address(few, path)
    return compared(name, lambda: _asked(many, there), lambda: _asked(few, here), 1.5, rounds=25, warm=5)


def _address(world: WebWorld, path: str) -> str:
    """The page's address, with what this database has."""
    middle = 'SELECT module, version, "commit", id FROM runs ORDER BY created_at LIMIT 1 OFFSET (SELECT max(id) FROM steps) / 2'
    with create_engine(world.settings.store.url).connect() as connection:
        module, version, commit, run = connection.exec_driver_sql(middle).one()
    if path.endswith("cursor="):
        return f"{path}{world.get('/api/runs?limit=50').json['next_cursor']}"
    part = module.partition("/")[2]
    return path.format(module=part, version=version, commit=commit[:12], run=run)


def _asked(world: WebWorld, path: str) -> float:
    begun = time.perf_counter()
    answer = world.get(path)
    assert answer.status == 200, answer.text[:300]
    return time.perf_counter() - begun


@contextmanager
def _worlds(root: Path, database: str, counts: Sequence[int]) -> Iterator[list[WebWorld]]:
    """A web server over each of the databases with so many runs."""
    root.mkdir(parents=True)
    with ExitStack() as stack:
        environments: list[Mapping[str, str]] = [{} for _ in counts]
        if database == "postgresql":
            server = stack.enter_context(running_postgres(durable=True))
            environments = [{"DATABASE_URL": server.fresh()} for _ in counts]
        yield [
            stack.enter_context(_filled(root / str(count), environment, count))
            for count, environment in zip(counts, environments, strict=True)
        ]


@contextmanager
def _filled(directory: Path, environment: Mapping[str, str], count: int) -> Iterator[WebWorld]:
    with serving(directory, environment) as world:
        fill(world.settings.store.url, count)
        yield world


def growth(root: Path, database: str) -> Iterator[str]:
    """Rows of a table: each page's milliseconds at each number of runs."""
    with _worlds(root / database, database, GROWTH) as worlds:
        for name, path in PAGES.items():
            yield f"| {name} | " + " | ".join(f"{1000 * _median(world, path):.1f}" for world in worlds) + " |"


def _median(world: WebWorld, path: str) -> float:
    address = _address(world, path)
    return median([_asked(world, address) for _ in range(30)][5:])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_console")
    parser.add_argument("--database", choices=_DATABASES, action="append")
    for database in parser.parse_args().database or _DATABASES:
        root = Path(tempfile.mkdtemp(prefix="modsync-bench-"))
        try:
            print(f"{database}, ms at {', '.join(f'{count:,}' for count in GROWTH)} runs", flush=True)
            for row in growth(root, database):
                print(row, flush=True)
        finally:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
