"""A push of forty nested module tags: forty runs, one fetch and one push, with two workers that have nothing else to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.modules import HOST, Module
from tests.sandbox.service import Service
from tests.sandbox.webhook import send
from tests.sandbox.world import MIRRORS, World

COUNT = 40
REPOSITORY = "platform/many"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Its pipelines do nothing: what is looked at is the mirror."""
    quick = 'workflow:\n  name: "modsync $MODSYNC_RUN"\nwarm:\n  script: ["true"]\n'
    with World(tmp_path, pipeline=quick, more="\n[worker]\nlive = 2\n") as made:
        yield made


@pytest.mark.slow
def test_forty_tags_go_in_one_push(world: World) -> None:
    world.platform.make_repository(REPOSITORY)
    names = [f"m{number:02d}" for number in range(COUNT)]
    modules = [
        Module(world.platform, REPOSITORY, f"{HOST}/{REPOSITORY}/{name}", subdir=name, tag_prefix=f"{name}/")
        for name in names
    ]
    releases = [
        module.release("v1.0.0", {"doc.go": f"package {name}\n"}) for module, name in zip(modules, names, strict=True)
    ]
    body = {"releases": [world.platform.payload(each) for each in releases]}
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        sent = send(f"{world.url}/webhooks/platform", world.secret, body)
        runs = [str(each["id"]) for each in sent.json["runs"]]
        assert (sent.status, len(set(runs))) == (202, COUNT)
        service.until(lambda: len(tags(world)) == COUNT, "all tags to be in the mirror", 120)
        service.until(lambda: all(service.run(run)["stage"] != "mirror" for run in runs), "the runs to go on")
    pushes = [each for each in world.gitlab.requests if each.method == "POST" and "git-receive-pack" in each.path]
    assert len(pushes) == 1


def tags(world: World) -> list[str]:
    path = f"{MIRRORS}/{REPOSITORY}"
    found = world.gitlab.refs(path) if world.gitlab.has_project(path) else {}
    return [ref for ref in found if ref.startswith("refs/tags/")]
