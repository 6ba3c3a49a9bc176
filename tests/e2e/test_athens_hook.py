"""A real Athens that asks modsync before it hands out a version, in the whole loop. Run by `make athens`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from tests.e2e.proxy_world import ProxyWorld
from tests.sandbox.athens import Athens
from tests.sandbox.goclient import GoClient
from tests.sandbox.modules import HOST, Release, make_plain
from tests.sandbox.service import Service

pytestmark = pytest.mark.athens
BLOCKED = f"{HOST}/hook/blocked@v1.0.0"
PATIENCE = 120.0


class HookedWorld(ProxyWorld):
    """Athens asks modsync's hook; what it asked is in `audit`."""

    def __init__(self, root: Path, storage: Literal["disk", "memory"]) -> None:
        super().__init__(root, "athens")
        self.hook_secret = secrets.token_urlsafe(24)
        assert isinstance(self.private, Athens)
        self.private.storage = storage
        self.private.validator = f"{self.url}/athens/validate/{self.hook_secret}"

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "ATHENS_SECRET": self.hook_secret}

    def start(self) -> None:
        super().start()
        with self.config.open("a", encoding="utf-8") as config:
            config.write(f'\n[athens]\nsecret_env = "ATHENS_SECRET"\nblock = ["{BLOCKED}"]\n')

    def audit(self, release: Release) -> list[tuple[bool, str]]:
        """(allowed, reason) of each question about a release, oldest first."""
        lines = (self.root / "data/access-audit.jsonl").read_text(encoding="utf-8").splitlines()
        asked: list[dict[str, Any]] = [json.loads(line) for line in lines]
        name = (release.module_path, release.version)
        return [(each["allowed"], each["reason"]) for each in asked if (each["module"], each["version"]) == name]

    def status(self, release: Release) -> int:
        """Athens' answer to somebody who wants the release."""
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.private.url}/{release.module_path}/@v/{release.version}.info"
            return session.get(url, timeout=PATIENCE).status_code


@pytest.fixture(scope="module", params=["disk", "memory"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HookedWorld]:
    with HookedWorld(tmp_path_factory.mktemp("world"), request.param) as world:
        world.gitlab.set_variable("MODSYNC_WAIT", "2")
        world.gitlab.set_variable("MODSYNC_POLL", "1")
        yield world


@pytest.fixture(scope="module")
def service(world: HookedWorld) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def ended(service: Service, run: str) -> dict[str, Any]:
    return service.wait_for(run, "done", "failed", "rejected", seconds=PATIENCE)


def test_a_release_on_its_way_is_let_through_and_a_released_one_too(world: HookedWorld, service: Service) -> None:
    release = make_plain(world.platform, "hook/good").releases["v1.0.0"]
    run = ended(service, world.send(release))
    assert run["status"] == "done", run["error"]
    on_the_way = set(world.audit(release))
    assert on_the_way == {(True, "pipeline"), (True, "verify")}

    found = GoClient(world.root / "developer", world.private.url).download(release.query)
    assert found.get("Sum") == run["facts"]["verify"]["h1"]
    assert set(world.audit(release)) - on_the_way == {(True, "released")}


def test_a_blocked_version_reaches_nobody(world: HookedWorld, service: Service) -> None:
    release = make_plain(world.platform, "hook/blocked").releases["v1.0.0"]
    assert release.query == BLOCKED
    run = ended(service, world.send(release))
    assert run["error"]["code"] == "pipeline_failed"
    assert "403" in run["error"]["message"]
    assert world.status(release) == 403
    assert set(world.audit(release)) == {(False, "blocked")}


def test_a_version_whose_tag_moved_is_refused_until_that_is_settled(world: HookedWorld, service: Service) -> None:
    module = make_plain(world.platform, "hook/moved")
    release = module.releases["v1.0.0"]
    assert ended(service, world.send(release))["status"] == "done"
    world.platform.delete_tag("hook/moved", "v1.0.0")
    moved = module.release("v1.0.0", {"more.go": "package moved\n"})
    run = ended(service, world.send(moved))
    assert (run["status"], run["error"]["code"]) == ("rejected", "version_moved")
    assert world.status(release) == 403
    assert world.audit(release)[-1] == (False, "moved")


def test_a_module_that_modsync_never_heard_of_is_found_by_who_asks_for_it(world: HookedWorld, service: Service) -> None:
    """The webhook was lost: the first developer gets nothing, and modsync mends it."""
    release = make_plain(world.platform, "hook/lost").releases["v1.0.0"]
    assert world.status(release) == 404
    assert world.audit(release)[0] == (True, "unknown_module")

    def runs() -> list[dict[str, Any]]:
        asked = {"module": release.module_path}
        answer = requests.get(f"{world.url}/api/runs", asked, headers=service.authorization, timeout=30)
        found: list[dict[str, Any]] = answer.json()["runs"]
        return found

    service.until(lambda: bool(runs()), "the reconcile to find the release", PATIENCE)
    assert ended(service, runs()[0]["id"])["status"] == "done"
    assert GoClient(world.root / "second", world.private.url).download(release.query).get("Sum")


def test_without_modsync_nothing_comes_also_not_from_the_store(world: HookedWorld, service: Service) -> None:
    release = make_plain(world.platform, "hook/alone").releases["v1.0.0"]
    assert ended(service, world.send(release))["status"] == "done"
    assert world.status(release) == 200
    service.kill("web")
    service.until(lambda: world.status(release) == 500, "Athens to miss modsync", PATIENCE)
    service.start_role("web")
    service.until(lambda: world.status(release) == 200, "Athens to have modsync again", PATIENCE)
