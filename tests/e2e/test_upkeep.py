"""Reconcile, backfill and pause through real processes: the command, the sweeper's schedule, the backfill workers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.modules import HOST, make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, PROJECT, World

SCHEDULE = "\n[reconcile]\ninterval_hours = 0.0003\nrequests_per_second = 100\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One that compares every repository each second."""
    with World(tmp_path_factory.mktemp("upkeep"), give_up=12, patience=12, more=SCHEDULE) as world:
        world.gitlab.set_variable("MODSYNC_WAIT", "2")
        world.gitlab.set_variable("MODSYNC_POLL", "1")
        yield world


def _modsync(world: World, *arguments: str) -> tuple[int, Any]:
    """A command's status, and the JSON that it printed."""
    program = str(Path(sys.executable).with_name("modsync"))
    done = subprocess.run(
        [program, *arguments, "--json"], cwd=PROJECT, env={**os.environ, **world.environment}, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def _sent(world: World, release: object) -> str:
    delivered = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)  # type: ignore[arg-type]
    return str(delivered.json["runs"][0]["id"])


def test_a_lost_webhook_is_healed_by_schedule(world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("keep/lost"), "v1.0.0")
    service.wait_for(_sent(world, module.releases["v1.0.0"]), "done")
    told_nobody = module.release("v1.1.0", {"more.go": "package lost\n"})

    mirror = f"{MIRRORS}/keep/lost"
    service.until(lambda: "refs/tags/v1.1.0" in world.gitlab.refs(mirror), "the schedule to heal it", 60)
    assert world.gitlab.refs(mirror)["refs/tags/v1.1.0"] == told_nobody.commit
    _, page = _modsync(world, "runs", "--module", module.path, "--version", "v1.1.0")
    done = service.wait_for(page["items"][0]["id"], "done", "failed", "rejected")
    assert (done["status"], done["commit"]) == ("done", told_nobody.commit)


def test_a_backfill_brings_the_history_and_live_workers_have_no_part_in_it(world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("keep/old"), "v0.1.0", "v0.2.0", "v1.0.0")
    told, (dry,) = _modsync(world, "backfill", module.path, "--dry-run")
    assert (told, dry["counts"], dry["runs"]) == (0, {"missing_in_mirror": 3}, [])

    status, (report,) = _modsync(world, "backfill", module.path)
    assert (status, len(report["runs"])) == (0, 3)
    for run in report["runs"]:
        assert service.wait_for(run, "done", "failed", "rejected")["status"] == "done"
    refs = world.gitlab.refs(f"{MIRRORS}/keep/old")
    assert {refs[f"refs/tags/{version}"] for version in module.releases} == {
        each.commit for each in module.releases.values()
    }
    assert refs["refs/heads/ci-sync"] == module.releases["v1.0.0"].commit
    worked = {role: (world.root / "logs" / f"{role}.log").read_text() for role in ("worker", "backfill")}
    assert all(run in worked["backfill"] and run not in worked["worker"] for run in report["runs"])
    assert _modsync(world, "reconcile", module.path)[0] == 0


def test_a_paused_host_holds_its_releases_until_it_is_resumed(world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("keep/paused"), "v1.0.0")
    host = urlsplit(world.platform.url).netloc
    assert _modsync(world, "pause", "host", host, "--reason", "new disks")[1]["new"] is True
    run = _sent(world, module.releases["v1.0.0"])
    service.until(lambda: (service.run(run)["error"] or {}).get("code") == "paused", "the run to be paused")
    assert service.run(run)["status"] == "mirror"
    _, listed = _modsync(world, "pauses")
    assert ([each["value"] for each in listed["pauses"]], listed["runs"]) == ([host], 1)
    status, (report,) = _modsync(world, "reconcile", module.path)
    assert (status, report["error"]["code"]) == (1, "paused")

    assert _modsync(world, "resume", "host", host)[1]["runs"] == 1
    assert service.wait_for(run, "done", "failed", "rejected")["status"] == "done"


def test_all_repositories_are_compared_at_once(world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("keep/all"), "v1.0.0")
    service.wait_for(_sent(world, module.releases["v1.0.0"]), "done")
    _, reports = _modsync(world, "reconcile", "--all")
    found = {report["mirror"]: (report["error"], report["counts"]) for report in reports}
    assert found[f"{MIRRORS}/keep/all"] == (None, {})
    assert HOST in module.path
