"""A run that finds its source's cache in use on this host holds no worker: the only one does other releases meanwhile."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from filelock import FileLock

from app.adapters import git_cache
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One with a single worker."""
    with World(tmp_path_factory.mktemp("busy"), give_up=12, patience=12, more="\n[worker]\nlive = 1\n") as world:
        yield world


def _sent(world: World, release: object) -> str:
    delivered = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)  # type: ignore[arg-type]
    return str(delivered.json["runs"][0]["id"])


def test_the_only_worker_goes_on_with_other_releases(world: World, service: Service) -> None:
    held = make_plain(world.platform, world.mirrored("busy/held"), "v1.0.0")
    free = make_plain(world.platform, world.mirrored("busy/free"), "v1.0.0", "v1.1.0")
    with ExitStack() as cache:
        path = git_cache.directory(world.root / "data" / "cache", world.platform.clone_url(held.repository))
        path.parent.mkdir(parents=True, exist_ok=True)
        cache.enter_context(FileLock(path.with_suffix(".lock")))
        waits = _sent(world, held.releases["v1.0.0"])
        service.until(lambda: service.run(waits)["status"] == "mirror", "the worker to find the cache in use")
        for version in free.releases:
            service.wait_for(_sent(world, free.releases[version]), "done")
        seen = service.run(waits)
        (attempt,) = seen["attempts"]
        assert (seen["status"], seen["error"], attempt["steps"]) == ("mirror", None, [])
    assert service.wait_for(waits, "done", "failed", "rejected")["status"] == "done"
