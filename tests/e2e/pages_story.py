"""Runs in every state in a real world, for the pages to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.sandbox.modules import Release, make_plain
from tests.sandbox.service import Service
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import World


@dataclass(frozen=True)
class Told:
    """Run ids by what became of them. `failed` failed while the proxy was away, which is back."""

    done: str
    failed: str
    rejected: str
    delivery: str


def send(world: World, release: Release, **fields: Any) -> Delivered:
    """A rightly signed webhook."""
    return world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release, **fields)


def run_of(delivered: Delivered) -> str:
    """The first run that it asked for."""
    assert delivered.status in (200, 202), delivered.text
    return str(delivered.json["runs"][0]["id"])


def failing(world: World, service: Service, *repositories: str) -> list[str]:
    """A release of each repository that fails at its pipeline, because the proxy is away until they have."""
    world.proxy.stop()
    try:
        made = [make_plain(world.platform, world.mirrored(name), "v1.0.0") for name in repositories]
        runs = [run_of(send(world, each.releases["v1.0.0"])) for each in made]
        for run in runs:
            assert service.wait_for(run, "failed", "done")["status"] == "failed"
    finally:
        world.proxy.start()
    return runs


def tell(world: World, service: Service, team: str) -> Told:
    """One run of each kind in repositories of `team`."""
    module = make_plain(world.platform, world.mirrored(f"{team}/done"), "v1.0.0", "v1.1.0")
    delivered = send(world, module.releases["v1.1.0"])
    done = run_of(delivered)
    service.wait_for(done, "done")
    moved = world.platform.commit(f"{team}/done", {"evil.go": "package done\n"}, "Not what was released")
    rejected = run_of(send(world, module.releases["v1.1.0"], commit_id=moved))
    service.wait_for(rejected, "rejected")
    failed = failing(world, service, f"{team}/failed")[0]
    return Told(done, failed, rejected, str(delivered.json["delivery"]))
