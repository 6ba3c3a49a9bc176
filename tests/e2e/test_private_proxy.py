"""The loop closed: webhook, mirror, pipeline, private proxy, verdict, and then a real `go` that knows only that proxy.

Each test runs against the stand-in everywhere, and by `make athens` against a real Athens.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import requests

from tests.e2e.proxy_world import ProxyWorld, make_world
from tests.sandbox.ci_local import CiLocalRunner
from tests.sandbox.gitlab import faults
from tests.sandbox.goclient import GoClient
from tests.sandbox.modules import HOST, PROGRAM, make_ledger, make_plain
from tests.sandbox.service import Service
from tests.sandbox.tools import MissingProgramError, NotToBeHadError
from tests.sandbox.world import MIRRORS, PIPELINE

FAR_AWAY = "60"


@pytest.fixture(scope="module", params=["stand-in", pytest.param("athens", marks=pytest.mark.athens)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyWorld]:
    with make_world(tmp_path_factory.mktemp("world"), request.param) as world:
        world.gitlab.set_variable("MODSYNC_WAIT", "2")
        world.gitlab.set_variable("MODSYNC_POLL", "1")
        yield world


@pytest.fixture(scope="module")
def service(world: ProxyWorld) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def ended(service: Service, run: str) -> dict[str, object]:
    return service.wait_for(run, "done", "failed", "rejected", seconds=90)


def test_three_releases_reach_a_developer_through_the_proxy_alone(world: ProxyWorld, service: Service) -> None:
    ledger = make_ledger(world.platform, "payments/ledger")
    runs = [world.send(release) for release in ledger.trio]
    assert [ended(service, run)["status"] for run in runs] == ["done"] * 3
    assert f"{HOST}/payments/ledger" in world.asked

    developer = GoClient(world.root / "developer", world.private.url)
    for release, run in zip(ledger.trio, runs, strict=True):
        found = developer.download(release.query)
        assert found.get("Sum") == service.run(run)["facts"]["verify"]["h1"], found
    built = developer.build(PROGRAM)
    assert built.returncode == 0, built.stderr.decode()
    assert developer.run_program().stderr.decode().split() == ["v1.2.0", "v0.3.0", "v2.0.0", "250"]


def test_doctor_finds_that_the_proxy_speaks_the_protocol(world: ProxyWorld, service: Service) -> None:
    ledger = make_ledger(world.platform, "doctor/ledger")
    runs = [ended(service, world.send(release)) for release in ledger.trio]
    asked = [f"--module={release.query}" for release in ledger.trio]
    h1 = runs[0]["facts"]["verify"]["h1"]  # type: ignore[index]
    command = [str(Path(sys.executable).with_name("modsync")), "doctor", "proxy", world.private.url, *asked]
    done = subprocess.run([*command, f"--h1={h1}", "--timeout=60", "--json"], capture_output=True, timeout=300)
    found = json.loads(done.stdout)
    assert [check for check in found["checks"] if check["result"] == "fail"] == []
    assert (done.returncode, found["passed"]) == (0, True)
    results = {check["name"]: check["result"] for check in found["checks"]}
    assert results[f"h1 {ledger.trio[0].query}"] == "pass"


def test_the_template_under_gitlab_ci_local(world: ProxyWorld, service: Service) -> None:
    release = make_plain(world.platform, "real/runner").releases["v1.0.0"]
    try:
        runner = CiLocalRunner(world.gitlab, PIPELINE)
    except MissingProgramError as error:
        pytest.skip(str(error))
    except NotToBeHadError as error:
        pytest.skip(f"not to be had here: {error}")
    world.runner.stop()
    try:
        with runner:
            run = ended(service, world.send(release))
    finally:
        world.runner.start()
    assert run["status"] == "done", run["error"]
    assert [each["MODSYNC_MODULE"] for each in runner.jobs_run] == [release.module_path]
    log = world.gitlab.trace(made(world, f"{MIRRORS}/real/runner")[0])
    assert f"modsync: done: the proxy has {release.module_path} @ v1.0.0" in log


def test_a_proxy_that_is_down_fails_the_pipeline_and_a_replay_goes_on(world: ProxyWorld, service: Service) -> None:
    release = make_plain(world.platform, "proxy/down").releases["v1.0.0"]
    world.private.stop()
    try:
        run = ended(service, world.send(release))
    finally:
        world.private.start()
    assert run["error"]["code"] == "pipeline_failed"  # type: ignore[index]
    assert "job precache (" in run["error"]["message"]  # type: ignore[index]
    assert "FAILED: info: no answer" in run["error"]["message"]  # type: ignore[index]
    requests.post(f"{world.url}/api/runs/{run['id']}/replay", headers=service.authorization, timeout=10)
    service.until(lambda: service.run(str(run["id"]))["status"] == "done", "the replay's end", 60)


def test_a_proxy_that_goes_down_after_the_pipeline_is_unreachable(world: ProxyWorld, service: Service) -> None:
    path = world.project("proxy/later", MODSYNC_WAIT=FAR_AWAY)
    release = make_plain(world.platform, "proxy/later").releases["v1.0.0"]
    world.private.stop()
    try:
        run = ended(service, force_success(world, service, path, world.send(release)))
    finally:
        world.private.start()
    assert (run["stage"], run["error"]["code"]) == ("verify", "proxy_unreachable")  # type: ignore[index]


def test_a_slow_proxy_is_waited_for(world: ProxyWorld, service: Service) -> None:
    release = make_plain(world.platform, "proxy/slow").releases["v1.0.0"]
    slow = world.gitlab.faults.add("POST /go-mirrors/proxy/slow.git/git-upload-pack", faults.slow(0.7), times=99)
    try:
        run = ended(service, world.send(release))
    finally:
        world.gitlab.faults.clear()
    assert run["status"] == "done", run["error"]
    assert slow.used > 1


def test_a_proxy_that_is_too_slow_fails_the_pipeline(world: ProxyWorld, service: Service) -> None:
    world.project("proxy/late", MODSYNC_REQUEST_TIMEOUT="1", MODSYNC_WAIT="1")
    release = make_plain(world.platform, "proxy/late").releases["v1.0.0"]
    world.gitlab.faults.add("POST /go-mirrors/proxy/late.git/git-upload-pack", faults.slow(4), times=99)
    try:
        run = ended(service, world.send(release))
    finally:
        world.gitlab.faults.clear()
    assert run["error"]["code"] == "pipeline_failed"  # type: ignore[index]
    assert "no answer" in run["error"]["message"]  # type: ignore[index]


def test_an_asynchronous_proxy_is_asked_until_it_has_it(world: ProxyWorld, service: Service) -> None:
    path = world.project("proxy/async", MODSYNC_WAIT=FAR_AWAY)
    release = make_plain(world.platform, "proxy/async").releases["v1.0.0"]
    with world.mode("async"):
        run = ended(service, world.send(release))
    assert run["status"] == "done", run["error"]
    assert "HTTP 404: the proxy does not have it (yet)" in world.gitlab.trace(made(world, path)[0])


def test_a_version_that_never_appears_ends_when_the_proxys_own_wait_is_over(
    world: ProxyWorld, service: Service
) -> None:
    path = world.project("proxy/never", MODSYNC_WAIT=FAR_AWAY)
    release = make_plain(world.platform, "proxy/never").releases["v1.0.0"]
    world.hide("proxy/never")
    run = ended(service, force_success(world, service, path, world.send(release)))
    assert (run["stage"], run["error"]["code"]) == ("verify", "not_cached_yet")  # type: ignore[index]
    tries = [each for each in run["attempts"][0]["steps"] if each["stage"] == "verify"]  # type: ignore[index]
    assert len(tries) > 1
    began, end = (datetime.fromisoformat(each["ended_at"]) for each in (tries[0], tries[-1]))
    assert (end - began).total_seconds() < 20  # wait_seconds of the proxy is 4, patience_seconds in general is 30


def test_a_version_of_before_the_tag_moved_is_named(world: ProxyWorld, service: Service) -> None:
    """The proxy fetched v1.0.0 from the platform itself, before somebody moved the tag and modsync heard of it."""
    module = make_plain(world.platform, "proxy/stale")
    world.overrides[f"{HOST}/proxy/stale"] = world.platform.clone_url("proxy/stale")
    first = module.releases["v1.0.0"]
    early = GoClient(world.root / "early", world.private.url).download(first.query)["Sum"]
    world.overrides.clear()
    world.platform.delete_tag("proxy/stale", "v1.0.0")
    moved = module.release("v1.0.0", {"stale.go": "package stale\n\nconst Moved = true\n"})

    run = ended(service, world.send(moved))

    assert run["status"] == "rejected"
    error: dict[str, str] = run["error"]  # type: ignore[assignment]
    assert error["code"] == "served_other_commit"
    both = f"Served is commit {first.commit} ({early}), released is commit {moved.commit} (h1:"
    assert both in error["message"]
    assert "To purge it: " in error["message"]

    world.purge(moved.module_path, "v1.0.0")
    again = requests.post(f"{world.url}/api/runs/{run['id']}/replay", headers=service.authorization, timeout=10)
    assert again.status_code == 202, again.text
    done = ended(service, str(run["id"]))
    assert (done["status"], done["attempt"]) == ("done", 2), done["error"]
    assert done["facts"]["verify"]["commit"] == moved.commit  # type: ignore[index]


def force_success(world: ProxyWorld, service: Service, path: str, run: str) -> str:
    """Let the run's pipeline look successful, whatever its job does."""
    service.until(lambda: bool(made(world, path)), "the pipeline")
    world.gitlab.force_status(made(world, path)[0], "success")
    return run


def made(world: ProxyWorld, path: str) -> list[int]:
    """The pipelines that modsync created; a push with ci.skip leaves skipped ones."""
    return [one.id for one in world.gitlab.pipelines(path) if one.source == "api"]


def test_nothing_of_it_left_a_secret_behind(world: ProxyWorld, service: Service) -> None:
    for path in [*(world.root / "data").rglob("*"), *(world.root / "logs").rglob("*")]:
        content = path.read_bytes() if path.is_file() else b""
        leaked: list[Path] = [path for secret in world.secrets if secret.encode() in content]
        assert not leaked
