"""`python -m tests.e2e.pictures`: makes the README's two screenshots anew, from a real world's runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import requests

from tests.e2e.browser import Visitor, chromium
from tests.e2e.pages_story import failing, run_of, send
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import PROJECT, World

IMAGES = PROJECT / "docs/images"
HEIGHT = 860


def main() -> None:
    """Write docs/images/now.png and docs/images/run.png."""
    with tempfile.TemporaryDirectory(prefix="modsync-pictures-") as name:
        root = Path(name)
        with World(root, give_up=12, patience=12) as world, _service(world, root) as service:
            world.gitlab.set_variable("MODSYNC_WAIT", "2")
            world.gitlab.set_variable("MODSYNC_POLL", "1")
            _take(world, service, _told(world, service))


def _service(world: World, root: Path) -> Service:
    return Service(world.url, world.environment, root / "logs", world.admin_token)


def _told(world: World, service: Service) -> str:
    """A morning: releases that went well, one that failed, and the run of one that was replayed, which is returned."""
    for name in ("payments/ledger", "platform/log", "search/index"):
        module = make_plain(world.platform, world.mirrored(name), "v1.3.0", "v1.4.0")
        for release in module.releases.values():
            service.wait_for(run_of(send(world, release)), "done")
    replayed, _ = failing(world, service, "identity/tokens", "billing/invoice")
    order = {"from": "pipeline", "reason": "the proxy is back"}
    requests.post(
        f"{world.url}/api/runs/{replayed}/replay", json=order, headers=service.authorization, timeout=10
    ).raise_for_status()
    service.until(lambda: service.run(replayed)["status"] == "done", "the replay's end")
    return replayed


def _take(world: World, service: Service, replayed: str) -> None:
    with chromium() as browser, Visitor(browser, world.url, zone="Europe/Berlin") as visitor:
        visitor.page.set_viewport_size({"width": 1200, "height": HEIGHT})
        world.runner.stop()  # so that one is still under way
        going = make_plain(world.platform, world.mirrored("platform/metrics"), "v0.9.0").releases["v0.9.0"]
        run = run_of(send(world, going))
        service.wait_for(run, "pipeline")
        visitor.open("/", world.admin_token)
        visitor.page.screenshot(path=IMAGES / "now.png")
        visitor.open(f"/runs/{replayed}")
        visitor.page.screenshot(path=IMAGES / "run.png")


if __name__ == "__main__":
    main()
