"""The least that a Flask endpoint can be which checks a signature, commits on disk and enqueues: how far intake could come.

No rules, no checks of what is said, no idempotency for people (a key alone), no log line, no metrics, one index per table.
It shares modsync's group commits and its queue, and is shown beside it for comparison only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, request

from app.adapters.background_queue import BackgroundQueue
from app.adapters.embedded_redis import socket_url
from app.adapters.group_commit import GroupCommit
from app.adapters.job_queue import RqJobQueue
from app.config import load_settings
from tests.benchmarks.bare import ready
from tests.benchmarks.load import run
from tests.integration.web_world import SECRET, WebWorld

Row = tuple[str, bytes, str, str, str]
_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, body BLOB);
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, module TEXT, version TEXT, "commit" TEXT, UNIQUE (module, version));
"""


class Disk:
    """What each process's committing thread writes with."""

    def __init__(self, path: Path) -> None:
        self._path, self._own = path, threading.local()

    def record(self, rows: Sequence[Row]) -> list[bool]:
        """All of them in one transaction that is on disk at the end."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO deliveries VALUES (?, ?)", [row[:2] for row in rows])
            connection.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", [(row[0], *row[2:]) for row in rows])
        return [True] * len(rows)

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._own, "connection"):
            self._own.connection = sqlite3.connect(self._path, timeout=5, isolation_level=None)
            self._own.connection.executescript(_TABLES + "PRAGMA synchronous = FULL;")
        connection: sqlite3.Connection = self._own.connection
        return connection


def create() -> Flask:
    """A view that checks, commits, enqueues and answers."""
    data = load_settings(Path(os.environ["MODSYNC_CONFIG"]), os.environ).data_dir
    disk, queue = Disk(data / "floor.db"), BackgroundQueue(RqJobQueue(socket_url(data)))
    commits: GroupCommit[Row, bool] = GroupCommit(disk.record)
    app = Flask("floor")
    app.add_url_rule("/readyz", view_func=ready)

    @app.post("/webhooks/<source>")
    def receive(source: str) -> tuple[dict[str, Any], int]:
        raw = request.get_data()
        expected = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(request.headers["X-Gitlab-Token"], expected):
            return {"source": source}, 401
        body, name = json.loads(raw), os.urandom(8).hex()
        commits.submit((name, raw, body["module_path"], body["version"], body["commit_id"]))
        queue.enqueue(f"{name}-1-1", name)
        return {"source": source, "run": name}, 202

    return app


def lines(
    world: WebWorld, bare: WebWorld, requests: Iterator[list[bytes]], connections: Sequence[int]
) -> Iterator[str]:
    """Its figures beside the bare view's, by turns. AssertionError when a request was not taken."""
    for number in connections:
        pairs = [(run(world.port, next(requests), number), run(bare.port, next(requests), number)) for _ in range(3)]
        assert all(set(load.statuses) == {202} for pair in pairs for load in pair), pairs
        least, view = (sorted(pair[side].per_request for pair in pairs)[1] * 1000 for side in (0, 1))
        yield f"floor-{number} time={least:.2f}ms bare={view:.2f}ms ratio={least / view:.2f}"
