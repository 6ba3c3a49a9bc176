"""Never say yes and forget: many at once, Redis away or silent, a database that is locked or full. Real gunicorn."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from statistics import median

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from app.adapters.embedded_redis import socket_path
from app.bootstrap import Container
from app.cli import COMMANDS
from tests.integration.databases import PostgresServer
from tests.integration.web_world import Answer, WebWorld, make_world, redis_url, release, running, until

SLOW_SOURCE = """
[[sources]]
name = "slow"
scheme = "article"
secrets = [{ id = "one", env = "HOOK_SECRET" }]
allow = ["https://git.corp.example/**"]
rate_per_minute = 1
burst = 5
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    outside = {}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        outside = {"DATABASE_URL": server.fresh()}
    yield from running(tmp_path_factory.mktemp(f"load-{request.param}"), SLOW_SOURCE, **outside)


def at_once(world: WebWorld, bodies: list[bytes]) -> list[Answer]:
    """All of them at the same moment, a thread each; who is told to come again (a crowded machine) comes again."""
    barrier = threading.Barrier(len(bodies))

    def one(body: bytes) -> Answer:
        barrier.wait()
        while (answer := world.deliver(body)).status == 503:
            time.sleep(float(answer.headers["retry-after"]))
        return answer

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(one, bodies))


def test_a_hundred_identical_requests_make_one_run(world: WebWorld) -> None:
    body = release(version="v1.0.0", delivery_id="the-same")
    answers = at_once(world, [body] * 100)
    assert Counter(each.status for each in answers) == {202: 1, 200: 99}
    assert len({each.json["runs"][0]["id"] for each in answers}) == 1
    assert len({each.json["delivery"] for each in answers}) == 1
    where = "WHERE version = 'v1.0.0'"
    assert world.rows(f"SELECT count(*), max(attempt) FROM runs {where}") == [(1, 1)]
    seen = "SELECT seen FROM deliveries WHERE id IN (SELECT delivery FROM runs WHERE version = 'v1.0.0')"
    assert world.rows(seen) == [(100,)]


def test_a_hundred_deliveries_of_one_release_make_one_run(world: WebWorld) -> None:
    bodies = [release(version="v1.1.0", delivery_id=f"each-its-own-{number}") for number in range(100)]
    answers = at_once(world, bodies)
    assert Counter(each.status for each in answers) == {202: 1, 200: 99}
    assert len({each.json["runs"][0]["id"] for each in answers}) == 1
    assert len({each.json["delivery"] for each in answers}) == 100


def test_a_hundred_releases_make_a_hundred_runs_with_their_jobs(world: WebWorld) -> None:
    answers = at_once(world, [release(version=f"v1.2.{number}") for number in range(100)])
    assert {each.status for each in answers} == {202}
    runs = {each.json["runs"][0]["id"] for each in answers}
    assert len(runs) == 100
    queue = Queue("live", connection=Redis.from_url(redis_url(world)), serializer=JSONSerializer)
    until(lambda: {f"{run}-1-1" for run in runs} <= set(queue.get_job_ids()))


def test_two_commits_of_one_version_at_once_make_one_of_them_wait(world: WebWorld) -> None:
    answers = at_once(world, [release(version="v1.3.0", commit_id=digit * 40) for digit in "abcdef"])
    outcomes = Counter(each.json["runs"][0].get("error") for each in answers)
    assert outcomes == {None: 1, "version_moved": 5}


def test_forty_nested_modules_in_one_body_are_forty_runs_of_one_repository(world: WebWorld) -> None:
    shared = {"commit_id": "a" * 40, "repo_url": "https://git.corp.example/team/mono.git"}
    items = [{"module_path": f"go.corp.example/team/mono/m{n}", "ref": f"refs/tags/m{n}/v1.0.0"} for n in range(40)]
    answer = world.deliver(json.dumps({**shared, "releases": items}).encode())
    assert (answer.status, len({run["id"] for run in answer.json["runs"]})) == (202, 40)
    assert world.rows("SELECT count(*) FROM runs WHERE mirror = 'go-mirrors/team/mono'") == [(40,)]


def test_a_source_that_sends_too_much_is_told_to_wait_and_others_are_not(world: WebWorld) -> None:
    answers = [world.deliver(release(version=f"v1.5.{number}"), "slow") for number in range(6)]
    assert [each.status for each in answers[:5]] == [202] * 5
    late = answers[-1]
    assert (late.status, late.json["error"]["code"], late.json["error"]["retry"]) == (429, "source_rate_limited", True)
    assert int(late.headers["retry-after"]) >= 1
    assert world.deliver(release(version="v1.4.0")).status == 202


def test_a_flood_of_one_source_leaves_the_others_their_share(world: WebWorld) -> None:
    stop = threading.Event()

    def flood(worker: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not stop.is_set():
            number = sum(statuses.values())
            statuses[world.deliver(release(version=f"v1.6.{worker}-{number}.x"), "slow").status] += 1
        return statuses

    with ThreadPoolExecutor(32) as pool:
        floods = [pool.submit(flood, worker) for worker in range(32)]
        others = [world.deliver(release(version=f"v1.7.{number}")).status for number in range(50)]
        stop.set()
        flooded = sum((each.result() for each in floods), Counter[int]())
    assert others == [202] * 50
    assert set(flooded) <= {202, 429}
    assert flooded[429] > 10 * flooded[202]


class Gate:
    """A way to the world's Redis by TCP: takes connections and never answers, until it is opened."""

    def __init__(self, there: Path) -> None:
        self._there, self._open = there, threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._server.getsockname()[1])

    def open(self) -> None:
        """From now on what came, and what comes, is passed on."""
        self._open.set()
        threading.Thread(target=self._pass_on, daemon=True).start()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _pass_on(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(str(self._there))
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that names the database."""
    if request.param == "sqlite":
        return {}
    server: PostgresServer = request.getfixturevalue("postgres")
    return {"DATABASE_URL": server.fresh()}


@contextmanager
def served(directory: Path, **outside: str) -> Iterator[WebWorld]:
    world = make_world(directory, **outside)
    try:
        world.start_web()
        yield world
    finally:
        world.stop()


def timed(world: WebWorld, version: str) -> tuple[int, float]:
    begun = time.monotonic()
    return world.deliver(release(version=version)).status, time.monotonic() - begun


@pytest.mark.parametrize("kind", ["down", "silent"])
def test_redis_away_costs_no_request_anything_and_all_is_enqueued_when_it_is_back(
    tmp_path: Path, database: dict[str, str], kind: str
) -> None:
    with Gate(socket_path(tmp_path / "var")) as gate:
        outside = {"REDIS_URL": f"redis://127.0.0.1:{gate.port}/0"} if kind == "silent" else {}
        with served(tmp_path, **database, **outside) as world:
            timed(world, "v1.0.0")  # the first one pays for imports and connections
            answers = [timed(world, f"v1.0.{number}") for number in range(1, 11)]
            assert {status for status, _ in answers} == {202}
            assert median(seconds for _, seconds in answers) < 1
            assert max(seconds for _, seconds in answers) < 2.5  # a crowded machine's own; Redis would take longer
            runs = {run for (run,) in world.rows("SELECT id FROM runs WHERE status = 'queued'")}
            assert len(runs) == 11
            world.start_redis()
            gate.open()
            assert until(lambda: enqueued(world) == runs)


def enqueued(world: WebWorld) -> set[str]:
    """The runs that have a job, after a look of the sweeper's."""
    Container(world.settings).sweep.once()
    redis = Redis.from_url(redis_url(world))
    return {job.partition("-")[0] for job in Queue("live", connection=redis, serializer=JSONSerializer).get_job_ids()}


def test_a_locked_database_is_503_and_nothing_is_half_done(tmp_path: Path) -> None:
    with served(tmp_path) as world:
        database = tmp_path / "var" / "modsync.db"
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(6) as pool:
                waiting = [pool.submit(timed, world, f"v1.0.{number}") for number in range(6)]
                until(lambda: any(each.done() for each in waiting))
                # The web server is not full of requests that wait for the database.
                assert world.ask("GET", "/healthz").status == 200
                answers = [each.result() for each in waiting]
            assert {status for status, _ in answers} == {503}
            assert max(seconds for _, seconds in answers) < 9
            refused = world.deliver(release(version="v1.0.9"))
            assert (refused.status, refused.json["error"]["retry"]) == (503, True)
            assert int(refused.headers["retry-after"]) >= 1
            other.execute("ROLLBACK")
        assert world.rows("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM deliveries)") == [(0, 0)]
        assert until(lambda: timed(world, "v1.0.0")[0] == 202)


def test_the_commands_are_known() -> None:
    assert {"deliveries", "redeliver", "sources", "send"} <= COMMANDS.keys()
