"""GitLab's own pipeline events, sent by the stand-in to a running modsync: they end a run that would wait for long.

Polling is set so slow that only the event can end a run in time; then so fast that both see the pipeline's end.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.gitlab.webhooks import Hook, Sent
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World

SLOW = 1800.0  # the tests wait for a small part of it
PATIENCE = 120.0


class HookWorld(World):
    """GitLab's webhooks for the mirrors' group are to be added; modsync knows a token and a signing key."""

    def __init__(self, root: Path, poll: float) -> None:
        super().__init__(root)
        self.token = secrets.token_urlsafe(24)
        self.signing = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self._poll = poll

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "HOOK_TOKEN": self.token, "HOOK_SIGNING": self.signing}

    def start(self) -> None:
        super().start()
        text = self.config.read_text(encoding="utf-8")
        known = '[{ id = "token", env = "HOOK_TOKEN" }, { id = "signing", env = "HOOK_SIGNING" }]'
        polls = f"poll_first_seconds = {self._poll}\npoll_longest_seconds = {self._poll}"
        text = text.replace("poll_first_seconds = 0.3", f"hook_secrets = {known}\n{polls}")
        self.config.write_text(text, encoding="utf-8")

    def hook(self, **how: str) -> Hook:
        """GitLab tells modsync of the mirrors' pipelines from now on."""
        return self.gitlab.webhooks.add(MIRRORS, f"{self.url}/hooks/gitlab", **how)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HookWorld, Service]]:
    yield from _running(HookWorld(tmp_path_factory.mktemp("slow"), SLOW))


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HookWorld, Service]]:
    yield from _running(HookWorld(tmp_path_factory.mktemp("fast"), 0.3))


def _running(world: HookWorld) -> Iterator[tuple[HookWorld, Service]]:
    world.gitlab.set_variable("MODSYNC_WAIT", "2")
    world.gitlab.set_variable("MODSYNC_POLL", "1")
    with world, Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield world, service


def waiting(world: HookWorld, service: Service, repository: str) -> str:
    """A run whose pipeline waits for a runner, and whose next look is far away."""
    world.runner.stop()
    release = make_plain(world.platform, world.mirrored(repository)).releases["v1.0.0"]
    delivered = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)
    run = str(delivered.json["runs"][0]["id"])
    service.until(lambda: looked(service.run(run)), "the run to wait for its pipeline", PATIENCE)
    return run


def looked(run: dict[str, Any]) -> bool:
    """The run has seen its pipeline at work, and is left alone for long."""
    due = run.get("due_at")
    far = datetime.now(UTC) + timedelta(seconds=SLOW / 2)
    return run["stage"] == "pipeline" and due is not None and datetime.fromisoformat(due) > far


def made(world: HookWorld, repository: str) -> list[int]:
    """The pipelines that modsync created; a push with ci.skip leaves skipped ones."""
    return [one.id for one in world.gitlab.pipelines(f"{MIRRORS}/{repository}") if one.source == "api"]


@pytest.mark.parametrize("form", ["token", "signing"])
def test_only_the_event_can_end_the_run_in_time(slow: tuple[HookWorld, Service], form: str) -> None:
    world, service = slow
    hook = world.hook(secret=world.token) if form == "token" else world.hook(signing=world.signing)
    run = waiting(world, service, f"event/{form}")
    world.runner.start()
    done = service.wait_for(run, "done", "failed", "rejected", seconds=PATIENCE)
    world.gitlab.webhooks.hooks.remove(hook)
    assert done["status"] == "done", done["error"]
    told = of(world, hook)
    assert {each.status for each in told} == {200}
    assert made(world, f"event/{form}") == [told[-1].pipeline]


def test_a_failure_is_known_at_once(slow: tuple[HookWorld, Service]) -> None:
    world, service = slow
    hook = world.hook(secret=world.token)
    run = waiting(world, service, "event/failed")
    world.proxy.stop()
    try:
        world.runner.start()
        failed = service.wait_for(run, "done", "failed", "rejected", seconds=PATIENCE)
    finally:
        world.proxy.start()
        world.gitlab.webhooks.hooks.remove(hook)
    assert failed["error"]["code"] == "pipeline_failed"
    assert "job precache (" in failed["error"]["message"]


def test_an_event_with_another_secret_ends_nothing(slow: tuple[HookWorld, Service]) -> None:
    world, service = slow
    run = waiting(world, service, "event/forged")
    wrong = world.hook(secret="not-the-secret-of-this-hook")
    world.runner.start()
    service.until(lambda: any(each.state == "success" for each in of(world, wrong)), "the pipeline's end", PATIENCE)
    assert {each.status for each in of(world, wrong)} == {401}
    assert looked(service.run(run))
    world.gitlab.webhooks.hooks.remove(wrong)

    right = world.hook(secret=world.token)
    world.gitlab.webhooks.resend(of(world, wrong)[-1], right)
    assert service.wait_for(run, "done", "failed", seconds=PATIENCE)["status"] == "done"
    world.gitlab.webhooks.hooks.remove(right)


def of(world: HookWorld, hook: Hook) -> list[Sent]:
    return [each for each in world.gitlab.webhooks.sent if each.hook is hook]


def test_events_and_polling_together_double_nothing(fast: tuple[HookWorld, Service]) -> None:
    world, service = fast
    hooks = [world.hook(secret=world.token), world.hook(signing=world.signing)]
    names = [f"both/m{number}" for number in range(6)]
    releases = [make_plain(world.platform, world.mirrored(name)).releases["v1.0.0"] for name in names]
    sent = [world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, each) for each in releases]
    runs = [str(each.json["runs"][0]["id"]) for each in sent]
    done = [service.wait_for(run, "done", "failed", "rejected", seconds=PATIENCE) for run in runs]
    assert [each["status"] for each in done] == ["done"] * len(names)
    assert [len(made(world, name)) for name in names] == [1] * len(names)
    for run in done:
        assert [each["number"] for each in run["attempts"]] == [1]
        good = [step["stage"] for step in run["attempts"][0]["steps"] if step["outcome"] == "ok"]
        assert good == ["mirror", "pipeline", "verify"]
    for hook in hooks:
        assert {each.status for each in of(world, hook)} == {200}
