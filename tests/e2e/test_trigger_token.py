"""A release goes all the way when its pipeline is started by a trigger token with pipeline variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gitlab_world import connect
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World

REPOSITORY = "payments/triggered"
MIRROR = f"{MIRRORS}/{REPOSITORY}"


class TriggerWorld(World):
    """The one mirror is there, empty, with a trigger token that modsync knows."""

    trigger = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MODSYNC_TRIGGER": self.trigger}

    def start(self) -> None:
        super().start()
        self.gitlab.create_project(MIRROR)
        project = connect(self.gitlab, self.gitlab_token).projects.get(MIRROR)
        self.trigger = str(project.triggers.create({"description": "modsync"}).token)
        text = self.config.read_text(encoding="utf-8")
        text = text.replace("[gitlab]\n", '[gitlab]\ntrigger_token_env = "MODSYNC_TRIGGER"\n')
        self.config.write_text(text, encoding="utf-8")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TriggerWorld]:
    with TriggerWorld(tmp_path) as world:
        yield world


def test_a_release_by_a_trigger_token(world: TriggerWorld) -> None:
    release = make_plain(world.platform, world.mirrored(REPOSITORY)).releases["v1.0.0"]
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        sent = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)
        run = service.wait_for(sent.json["runs"][0]["id"], "done", "failed", "rejected", seconds=90)
    assert run["status"] == "done", run["error"]
    (pipeline,) = (one for one in world.gitlab.pipelines(MIRROR) if one.status != "skipped")
    assert (pipeline.source, pipeline.id) == ("trigger", run["facts"]["pipeline"]["id"])
    assert pipeline.variables["MODSYNC_VERSION"].value == "v1.0.0"
    assert world.trigger not in str(run)
