"""console: the releases page and search at a million runs against a thousand, on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from app.adapters import migrate
from app.adapters.database import connect, writing
from app.adapters.tables import attempts, deliveries, releases, runs
from tests.benchmarks.bench_intake import serving
from tests.benchmarks.harness import Line, compared
from tests.integration.databases import running_postgres
from tests.integration.web_world import WebWorld

MANY, FEW = 1_000_000, 1_000
_AT_ONCE, _MODULES = 5_000, 2_000
_NEWEST = datetime.now(UTC)
PAGES = {"releases": "/releases", "failed": "/releases?status=failed", "search": "/releases?q=mod77", "now": "/"}


def lines(root: Path) -> Iterator[Line]:
    """A line for each page and database."""
    for database in ("sqlite", "postgresql"):
        with ExitStack() as stack:
            environments: list[Mapping[str, str]] = [{}, {}]
            if database == "postgresql":
                server = stack.enter_context(running_postgres(durable=True))
                environments = [{"DATABASE_URL": server.fresh()} for _ in range(2)]
            (root / database).mkdir(parents=True)
            many, few = (
                stack.enter_context(_filled(root / database / str(count), environment, count))
                for count, environment in zip((MANY, FEW), environments, strict=True)
            )
            yield from (_page(f"console-{database}-{name}", path, many, few) for name, path in PAGES.items())


def _page(name: str, path: str, many: WebWorld, few: WebWorld) -> Line:
    return compared(name, lambda: _asked(many, path), lambda: _asked(few, path), 1.5, rounds=15, warm=3)


def _asked(world: WebWorld, path: str) -> float:
    begun = time.perf_counter()
    answer = world.get(path)
    assert answer.status == 200, answer.text[:300]
    return time.perf_counter() - begun


@contextmanager
def _filled(directory: Path, environment: Mapping[str, str], count: int) -> Iterator[WebWorld]:
    """A web server over a database with so many runs."""
    with serving(directory, environment) as world:
        _fill(world.settings.store.url, count)
        yield world


def _fill(url: str, count: int) -> None:
    """Runs that ended, one in fifty failed, over two thousand modules; with statistics, as autovacuum makes them."""
    migrate.upgrade(url)
    engine = connect(url)
    for start in range(0, count, _AT_ONCE):
        with writing(engine) as connection:
            _insert(connection, range(start, min(start + _AT_ONCE, count)), count)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _insert(connection: Connection, numbers: range, count: int) -> None:
    rows = [_row(number, count) for number in numbers]
    delivery = f"d{numbers.start:019d}"
    connection.execute(insert(deliveries).values(_delivery(delivery)))
    connection.execute(insert(runs), [{**row, "delivery": delivery} for row in rows])
    connection.execute(insert(attempts), [_attempt(row) for row in rows])
    claimed = [{name: row[name] for name in ("module", "version", "commit")} | {"run_id": row["id"]} for row in rows]
    connection.execute(insert(releases), claimed)


def _row(number: int, count: int) -> dict[str, Any]:
    at = _NEWEST - timedelta(seconds=20 * (count - number))
    module = f"go.corp.example/team{number % 40}/mod{number % _MODULES}"
    failed = number % 50 == 0
    return {
        "id": f"r{number:019d}", "source": "platform", "module": module, "version": f"v1.{number // _MODULES}.0",
        "ref": "refs/tags/x", "commit": f"{number:040x}", "semantic": f"{number:064x}",
        "target": {"clone_url": "https://git.corp.example/x.git", "mirror": f"go-mirrors/{module[16:]}"}, "event": {},
        "mirror": f"go-mirrors/{module[16:]}", "status": "failed" if failed else "done",
        "stage": "pipeline" if failed else "verify", "active": False, "facts": {},
        "error": "pipeline_failed" if failed else None, "created_at": at, "updated_at": at, "ended_at": at,
    }  # fmt: skip


def _attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"run_id": row["id"], "number": 1, "kind": "first", "from_stage": "mirror", "actor": "source:platform"}
    return kept | {"created_at": row["created_at"], "ended_at": row["ended_at"], "outcome": row["status"]}


def _delivery(name: str) -> dict[str, Any]:
    return {
        "id": name, "source": "platform", "dedupe": name, "scheme": "article", "secret_id": "one", "received_at": _NEWEST,
        "last_seen_at": _NEWEST, "headers": {}, "body": b"{}", "verdict": "accepted",
    }  # fmt: skip
