"""People are told, through real worker and sweeper: one message for a failure, one for its recovery, none lost."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from app.adapters.database import connect
from app.adapters.notice_store import SqlNoticeStore
from tests.chaos.session import PIPELINE
from tests.sandbox.gitlab import faults
from tests.sandbox.modules import make_plain
from tests.sandbox.receiver import Received, Receiver
from tests.sandbox.service import Service
from tests.sandbox.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SIGNING = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
CONFIG = """
[[notify]]
name = "on-call"
kind = "webhook"
secret_url_env = "NOTIFY_URL"
secret_env = "NOTIFY_SECRET"
gather_seconds = 1
min_interval_seconds = 0

[[notify]]
name = "team"
kind = "mattermost"
secret_url_env = "CHAT_URL"
gather_seconds = 1
min_interval_seconds = 0
"""


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    with Receiver() as on_call, Receiver() as team:
        yield on_call, team


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, pipeline=PIPELINE, more=CONFIG) as world:
        yield world


@pytest.fixture
def environment(world: World, receivers: tuple[Receiver, Receiver]) -> dict[str, str]:
    on_call, team = receivers
    told = {"NOTIFY_URL": on_call.url, "CHAT_URL": team.url, "NOTIFY_SECRET": SIGNING}
    return {**world.environment, **told}


@pytest.fixture
def service(world: World, environment: dict[str, str], logs: Path) -> Iterator[Service]:
    with Service(world.url, environment, logs, world.admin_token) as service:
        yield service


def verified(message: Received) -> dict[str, Any]:
    """What was sent, once the official library found the signature right."""
    body: dict[str, Any] = Webhook(SIGNING).verify(message.body, message.headers)
    return body


def test_from_a_failure_to_its_recovery_with_a_sweeper_that_is_killed(
    world: World, service: Service, receivers: tuple[Receiver, Receiver], logs: Path
) -> None:
    on_call, team = receivers
    on_call.hang.set()
    world.gitlab.faults.add("POST .*/pipeline$", faults.status(400, '{"message":"no runner <!channel> & @all"}'))
    release = make_plain(world.platform, world.mirrored("told/broken"), "v1.0.0").releases["v1.0.0"]
    sent = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)
    run = str(sent.json["runs"][0]["id"])
    service.wait_for(run, "failed")

    # It is in the middle of being told when the sweeper dies; who answers in time hears of it at once.
    on_call.wait(1)
    service.until(lambda: delivered(world)["team"] == 1, "the chat to hear of it", 60)
    service.kill("sweeper")
    service.processes["sweeper"].wait(30)
    on_call.hang.clear()
    service.start_role("sweeper")
    service.until(lambda: delivered(world)["on-call"] == 1, "the message to be sent again", 120)
    told = list(on_call.got)
    assert len(told) >= 2
    assert {(each.headers["webhook-id"], each.body) for each in told} == {(told[0].headers["webhook-id"], told[0].body)}
    failed = verified(told[-1])
    assert (failed["type"], failed["data"]["count"], failed["data"]["code"]) == (
        "modsync.run.failed",
        1,
        "pipeline_refused",
    )
    assert failed["data"]["link"] == f"{world.url}/runs/{run}"
    page = requests.get(failed["data"]["link"], headers=service.authorization, timeout=10)
    assert page.status_code == 200

    # A replay brings it through, and the message says what it is about.
    asked = requests.post(
        f"{world.url}/api/runs/{run}/replay",
        json={"reason": "runner is back"},
        headers=service.authorization,
        timeout=10,
    )
    assert asked.status_code == 202
    service.wait_for(run, "done")
    recovered = verified(on_call.wait(len(told) + 1, 120)[-1])
    assert recovered["type"] == "modsync.run.recovered"
    assert recovered["data"]["runs"][0]["failed"]["notice"] == told[0].headers["webhook-id"]
    assert (recovered["data"]["runs"][0]["run"], recovered["data"]["runs"][0]["attempt"]) == (run, 2)

    # Nobody is told more than that, and a chat's message calls nobody.
    service.until(lambda: set(delivered(world).values()) == {2}, "all messages to be delivered", 60)
    chats = [json.loads(each.body) for each in team.got]
    assert (len(on_call.got), len(chats)) == (len(told) + 1, 2)
    assert "&lt;!channel&gt; &amp; @\u200ball" in chats[0]["attachments"][0]["text"]
    assert run in chats[1]["attachments"][0]["text"]
    written = "".join(path.read_text(errors="replace") for path in logs.glob("*.log"))
    written += "".join(path.read_bytes().decode("latin-1") for path in (world.root / "data").glob("modsync.db*"))
    assert "notice_delivered" in written
    assert not [each for each in ("very-secret-place", SIGNING, SIGNING[6:]) if each in written]


def delivered(world: World) -> dict[str, int]:
    """How many messages each receiver took, as the database says."""
    engine = connect(f"sqlite:///{world.root}/data/modsync.db")
    try:
        return {"on-call": 0, "team": 0} | {each.name: each.delivered for each in SqlNoticeStore(engine).states()}
    finally:
        engine.dispose()
