"""Never say yes and forget, while others are slow: a Redis that answers late, a PostgreSQL whose tables somebody holds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

import psycopg
import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.integration.databases import PostgresServer
from tests.integration.web_world import Answer, WebWorld, make_world, redis_url, release, until
from tests.sandbox.bad_servers import Handler, Listener

LATE_SECONDS = 3.0
CROWD = 96  # connections; two processes of four threads serve them


def late_redis(path: Path) -> Handler:
    """What Redis at the socket `path` says comes LATE_SECONDS later; what is said to it comes at once."""

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        with socket.socket(socket.AF_UNIX) as real:
            real.connect(str(path))
            back = threading.Thread(target=_copy, args=(real, connection, LATE_SECONDS, stopping), daemon=True)
            back.start()
            _copy(connection, real, 0, stopping)

    return handle


def _copy(source: socket.socket, target: socket.socket, delay: float, stopping: threading.Event) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            stopping.wait(delay)
            target.sendall(chunk)


def timed(world: WebWorld, version: str) -> tuple[Answer, float]:
    begun = time.monotonic()
    return world.deliver(release(version=version)), time.monotonic() - begun


def stored(world: WebWorld) -> tuple[int, ...]:
    (row,) = world.rows(
        "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM runs), (SELECT count(*) FROM attempts),"
        " (SELECT count(*) FROM releases), (SELECT count(*) FROM delivery_runs)"
    )
    return row


def test_a_redis_that_answers_late_costs_no_request_anything(tmp_path: Path) -> None:
    """Its jobs may have arrived though the answer came too late; whatever did not is the sweeper's."""
    for name in ("redis", "web"):
        (tmp_path / name).mkdir()
    home = make_world(tmp_path / "redis")
    try:
        home.start_redis()
        path = redis_url(home).removeprefix("unix://").partition("?")[0]
        with Listener(late_redis(Path(path))) as late:
            world = make_world(tmp_path / "web", REDIS_URL=f"redis://127.0.0.1:{late.port}/0")
            try:
                world.start_web()
                timed(world, "v1.0.0")  # the first one pays for imports and connections
                answers = [timed(world, f"v1.0.{number}") for number in range(1, 11)]
                assert [answer.status for answer, _ in answers] == [202] * 10
                assert median(seconds for _, seconds in answers) < 1
                assert max(seconds for _, seconds in answers) < 2.5  # a crowded machine's own; Redis would take longer
                assert stored(world) == (11,) * 5
                queue = Queue("live", connection=Redis.from_url(redis_url(home)), serializer=JSONSerializer)
                asked = {answer.json["runs"][0]["id"] for answer, _ in answers}
                assert {job.partition("-")[0] for job in queue.get_job_ids()} <= asked | {
                    str(run) for (run,) in world.rows("SELECT id FROM runs")
                }
            finally:
                world.stop()
    finally:
        home.stop()


@pytest.fixture
def held(tmp_path: Path, postgres: PostgresServer) -> Iterator[tuple[WebWorld, psycopg.Connection]]:
    """A modsync on PostgreSQL, and another session that holds the table of deliveries."""
    url = postgres.fresh()
    world = make_world(tmp_path, DATABASE_URL=url)
    world.start_redis()
    world.start_web()
    assert timed(world, "v1.0.0")[0].status == 202
    other = psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"))
    try:
        other.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        yield world, other
    finally:
        other.close()
        world.stop()


def test_a_locked_postgresql_is_503_in_time_and_nothing_is_half_done(
    held: tuple[WebWorld, psycopg.Connection],
) -> None:
    """More connections than threads, and each is told: app.web.worker cuts off whom nobody answered within 15 s."""
    world, other = held
    with ThreadPoolExecutor(CROWD) as pool:
        waiting = [pool.submit(timed, world, f"v1.1.{number}") for number in range(CROWD)]
        until(lambda: any(each.done() for each in waiting))
        assert world.ask("GET", "/healthz").status == 200
        answers = [each.result() for each in waiting]
    assert {answer.status for answer, _ in answers} == {503}
    assert all(answer.json["error"]["retry"] and int(answer.headers["retry-after"]) >= 1 for answer, _ in answers)
    other.rollback()
    assert stored(world) == (1,) * 5
    until(lambda: timed(world, "v1.1.0")[0].status in (200, 202))
    assert stored(world) == (2,) * 5
