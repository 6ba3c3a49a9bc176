"""What platforms are told of their own events: 2xx for all that is authentic and no release, lest they switch the webhook off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.adapters import migrate
from app.bootstrap import Container
from app.config_models import Web
from app.domain.announce import Signing, sign
from tests.integration.pages_world import SOURCES
from tests.integration.web_world import SECRET, write_settings

GOLDEN = Path(__file__).parents[1] / "unit/golden"
# Those of another policy than these sources have are left out.
IGNORED = [file for file in sorted(GOLDEN.glob("*/ignored-*.json")) if not file.stem.startswith("ignored-tag_event")]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    settings = write_settings(tmp_path_factory.mktemp("platforms"), more=SOURCES)
    migrate.upgrade(settings.store.url)
    web = settings.web.model_copy(update={"max_body_bytes": Web().max_body_bytes})  # the tests' own is small
    return create_app(Container(settings.model_copy(update={"web": web}))).test_client()


def sent(client: FlaskClient, scheme: str, told: Mapping[str, str], raw: bytes, delivery: str) -> TestResponse:
    """The event as its platform sends it, with a signature that is right."""
    signature = sign(scheme, raw, Signing(SECRET.encode(), delivery, datetime.now(UTC)))
    replaced = {name.lower() for name in signature}
    headers = {name: value for name, value in told.items() if name.lower() not in replaced}
    return client.post(f"/webhooks/{scheme}", data=raw, headers={**headers, **signature})


@pytest.mark.parametrize("file", IGNORED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_event_that_is_no_release_is_answered_200_with_the_reason(client: FlaskClient, file: Path) -> None:
    case = json.loads(file.read_text("utf-8"))
    raw = json.dumps(case["body"]).encode()
    answer = sent(client, case["scheme"], case["headers"], raw, f"d-{file.parent.name}-{file.stem}")
    told = answer.json or {}
    assert (answer.status_code, told.get("ignored"), told.get("runs")) == (200, case["outcome"]["ignored"], []), told


@pytest.mark.parametrize(("characters", "status"), [(1_000_000, 202), (1_700_000, 413)])
def test_a_release_with_the_longest_description_that_gitlab_takes(
    client: FlaskClient, characters: int, status: int
) -> None:
    """1,000,000 characters of up to four bytes; what is larger than the default is refused as a whole."""
    case = json.loads((GOLDEN / "gitlab/released-created.json").read_text("utf-8"))
    body = {**case["body"], "description": "\U0001f984" * (characters - 100_000) + "\u6a21" * 100_000}
    raw = json.dumps(body, ensure_ascii=False).encode()
    answer = sent(client, case["scheme"], case["headers"], raw, f"d-{characters}")
    assert answer.status_code == status, answer.json
