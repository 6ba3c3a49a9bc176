"""Names that git takes and nobody can print: answered 2xx, kept, and shown by database, API, page and command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from app import create_app
from app.adapters.delivery_store import SqlDeliveryStore
from app.config import load_settings
from app.services.deliveries import DeliveryFilter
from tests.integration.pages_world import page
from tests.integration.test_gitlab_check import Place
from tests.integration.test_platform_events import URL, Platform
from tests.integration.web_world import BEARER, SECRET
from tests.sandbox.gitlab import GitLab
from tests.sandbox.webhook import signature

GITHUB = """
[[sources]]
name = "github"
scheme = "github"
secrets = [{ id = "one", env = "HOOK_SECRET" }]
"""
NAMES = {
    "no-break": "nice\u00a0tag", "wide": "a\u3000b", "joiner": "x\u200dy", "override": "x\u202egpj", "c1": "x\u0085y",
    "line": "x\u2028y", "tag": "x\U000e0001y", "noncharacter": "x\uffffy",
}  # fmt: skip
odd = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@odd
def test_both_databases_keep_it(engine: Engine, name: str) -> None:
    github, store = Platform(engine, "github"), SqlDeliveryStore(engine)
    branch = {"ref": f"refs/heads/{name}", "after": "ab" * 20}
    answers = [github.send(branch, **{"X-GitHub-Event": "push"}), github.pushed(name), github.published(name)]
    assert [each.ignored for each in answers] == ["not_a_release", "not_a_version_tag", "not_a_version_tag"]
    found = store.list(DeliveryFilter(), None, 9)
    assert [each.verdict for each in found] == ["ignored"] * 3
    for answer in answers:
        detail = store.detail(answer.delivery)
        assert detail is not None
        assert name in json.dumps(json.loads(detail.body), ensure_ascii=False)
        assert (detail.message.isprintable(), detail.message) == (True, answer.message)


def sent(client: FlaskClient, raw: bytes) -> TestResponse:
    """GitHub's push event."""
    headers = {
        "X-Hub-Signature-256": signature(SECRET, raw),
        "X-GitHub-Event": "push",
        "Content-Type": "application/json",
    }
    return client.post("/webhooks/github", data=raw, headers=headers)


def pushed(client: FlaskClient, name: str) -> str:
    """The push of a tag, its bytes as GitHub sends them; the id of the delivery."""
    body = {"ref": f"refs/tags/{name}", "after": "ab" * 20, "head_commit": None, "repository": {"clone_url": URL}}
    answer = sent(client, json.dumps(body, ensure_ascii=False).encode())
    assert (answer.status_code, answer.get_json()["ignored"]) == (200, "not_a_version_tag")
    assert answer.data.isascii()
    return str(answer.get_json()["delivery"])


@odd
def test_the_api_and_the_page_show_it(client: FlaskClient, name: str) -> None:
    delivery = pushed(client, name)
    listed = client.get("/api/deliveries", headers=BEARER).get_json()["deliveries"]
    assert [each["id"] for each in listed] == [delivery]
    assert name in client.get(f"/api/deliveries/{delivery}", headers=BEARER).get_json()["body"]
    shown = page(client, f"/deliveries/{delivery}")
    assert f"tag {name!r} names no module version".replace("'", "&#39;") in shown
    assert delivery in page(client, "/deliveries")


def test_half_of_a_surrogate_pair_is_refused_and_its_page_shows_it(client: FlaskClient) -> None:
    """It stands in JSON by its escape only, and nowhere in UTF-8."""
    answer = sent(client, b'{"ref": "refs/heads/\\ud83d", "after": "1", "repository": {}}')
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (422, "ref")
    (delivery,) = client.get("/api/deliveries", headers=BEARER).get_json()["deliveries"]
    assert "refs/heads/\\ud83d" in page(client, f"/deliveries/{delivery['id']}")


def test_the_command_line_shows_it_without_what_cannot_be_printed(tmp_path: Path, gitlab: GitLab) -> None:
    place, name = Place(tmp_path, gitlab, gitlab.create_token()), "".join(NAMES.values())
    place.path.write_text(f"{place.path.read_text()}{GITHUB}")
    shown = place.run(
        "deliveries", pushed(create_app(load_settings(place.path, place.environment)).test_client(), name)
    )
    assert (shown.exit_code, "refs/tags/nice" in shown.stdout) == (0, True)
    assert shown.stdout.replace("\n", "").isprintable()
