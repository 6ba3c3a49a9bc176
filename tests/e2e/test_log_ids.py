"""Each line that any process writes over a run has the run's and its delivery's id, RQ's own lines included."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from app.domain.ids import ids_in
from tests.sandbox.gitlab import faults
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import World

# What processes say of themselves, whatever is at work.
OWN = {
    "config_changed", "workers_started", "workers_stopped", "sweeper_started", "sweeper_stopped", "gunicorn", "no_workers",
    "breaker_not_read", "numbers_lost", "alembic",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("ids")) as world:
        yield world


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def sent(world: World, repository: str) -> Delivered:
    module = make_plain(world.platform, world.mirrored(repository))
    return world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, module.releases["v1.0.0"])


def lines(logs: Path, role: str) -> list[dict[str, Any]]:
    """What the role wrote; a line that is not JSON fails here."""
    return [json.loads(line) for line in (logs / f"{role}.log").read_text().splitlines()]


def ask(world: World, service: Service, method: str, path: str) -> requests.Response:
    return requests.request(method, f"{world.url}{path}", headers=service.authorization, timeout=10)


def fail_and_replay(world: World, service: Service, repository: str) -> dict[str, str]:
    """The ids of a run whose push was refused once, whose pipeline failed it, and that a replay brought to its end."""
    world.gitlab.faults.add("POST .*git-receive-pack", faults.status(500, "no"), times=1)
    world.gitlab.faults.add("POST .*/pipeline$", faults.status(400, '{"message":{"base":["no"]}}'))
    delivered = sent(world, repository).json
    run = delivered["runs"][0]["id"]
    assert service.wait_for(run, "failed", "done")["status"] == "failed"
    world.gitlab.faults.clear()
    for method, path in (
        ("GET", f"/runs/{run}"),
        ("GET", f"/rq/0/view/job/{run}-1-1"),
        ("POST", f"/api/runs/{run}/replay"),
    ):
        assert ask(world, service, method, path).ok
    assert service.wait_for(run, "done")["attempt"] == 2
    return {"run": run, "delivery": delivered["delivery"]}


def test_every_line_over_a_run_has_its_ids(world: World, service: Service) -> None:
    ids = fail_and_replay(world, service, "logs/failed")
    written = lines(service.logs, "worker")
    assert all(line["event"].isidentifier() for line in written)
    about = [line for line in written if line["event"] not in OWN]
    without = [line for line in about if {name: line.get(name) for name in ids} != ids]
    assert without == []
    assert {line["stage"] for line in about if line["event"] == "stage_outcome"} == {"mirror", "pipeline", "verify"}
    jobs = {line["job"] for line in about}
    assert {ids_in(job)["run"] for job in jobs} == {ids["run"]}
    assert any(line["event"] == "rq" and "RunFailedError" in line["text"] for line in about)


def test_a_request_over_a_run_or_delivery_says_which(world: World, service: Service) -> None:
    ids = fail_and_replay(world, service, "logs/asked")
    ask(world, service, "POST", f"/api/deliveries/{ids['delivery']}/redeliver")
    found = [line for line in lines(service.logs, "web") if line["event"] == "request"]
    by_route = {
        line["route"]: line
        for line in found
        if ids["run"] == line.get("run") or ids["delivery"] == line.get("delivery")
    }
    assert by_route["/rq/<int:instance_number>/view/job/<job_id>"]["job"] == f"{ids['run']}-1-1"
    for route in ("/runs/<identifier>", "/api/runs/<identifier>/replay"):
        assert {name: by_route[route].get(name) for name in ids} == ids
    asked = by_route["/api/deliveries/<identifier>/redeliver"]
    assert (asked["delivery"], asked["runs"]) == (ids["delivery"], [ids["run"]])


def test_lines_of_a_job_that_was_killed_and_of_the_sweeper(world: World, service: Service) -> None:
    fault = world.gitlab.faults.add("POST .*git-receive-pack", faults.slow(12))
    delivered = sent(world, "logs/killed").json
    ids = {"run": delivered["runs"][0]["id"], "delivery": delivered["delivery"]}
    service.until(lambda: fault.used == 1, "the push to begin")
    worker = psutil.Process(service.processes["worker"].pid)
    horses = [horse for child in worker.children() for horse in child.children() if "git" not in horse.name()]
    for horse in horses:
        horse.send_signal(signal.SIGKILL)
    service.wait_for(ids["run"], "done")
    killed = [line for line in lines(service.logs, "worker") if line["event"] == "job_killed"]
    assert [line["run"] for line in killed] == [ids["run"]]
    given = [line for line in lines(service.logs, "sweeper") if line["event"] == "job_given"]
    assert {(line["run"], line["delivery"]) for line in given} >= {(ids["run"], ids["delivery"])}
