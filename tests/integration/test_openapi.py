"""The API's description is valid, complete, and what a real server does: schemathesis asks it all that it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from jsonschema import Draft202012Validator

from app import create_app
from app.web.openapi import document
from tests.integration.schemathesis_hooks import SECRET, SOURCES
from tests.integration.web_world import BEARER, BROWSER, ROOT, TOKEN, WebWorld, make_world, release, write_settings
from tests.unit.test_pipeline_event import body as pipeline_event
from tests.unit.webhook_requests import GOOD

GOLDEN = ROOT / "tests/unit/golden"
ALL = document("http://x")["components"]["schemas"]
DELIVERY_IDS = {"x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery", "idempotency-key"}

# What is right by the schema can be wrong for what is there (a stage the run never came to, a cursor of nobody's).
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 404, 409, 422, 503]

# GitLab disables hooks that answer 4xx: whatever it signed is answered 200, though it be no JSON.
[[operations]]
include-name = "POST /hooks/gitlab"
checks.negative_data_rejection.expected-statuses = ["2xx", "4xx"]

# A question that is right may be answered no.
[[operations]]
include-name = "POST /athens/validate/{secret}"
checks.positive_data_acceptance.expected-statuses = ["2xx", 403]
"""


ATHENS = '[athens]\nsecret_env = "FUZZ_SECRET"\n'
SOURCE = """
[[sources]]
name = "{0}"
scheme = "{0}"
secrets = [{{ id = "one", env = "FUZZ_SECRET" }}]
rate_per_minute = 0
allow = ["https://git.corp.example/**"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    """With a source of each scheme, GitLab's hook and Athens', for all of which schemathesis_hooks.py knows the secret."""
    sources = "".join(map(SOURCE.format, SOURCES))
    made = make_world(tmp_path_factory.mktemp("openapi"), sources + ATHENS, FUZZ_SECRET=SECRET)
    config = made.directory / "modsync.toml"
    text = config.read_text().replace("[gitlab]\n", '[gitlab]\nhook_secrets = [{ id = "one", env = "FUZZ_SECRET" }]\n')
    config.write_text(text.replace("max_body_bytes = 4096", "max_body_bytes = 1000000"))
    try:
        made.start_redis()
        made.start_web()
        for number in range(3):
            made.deliver(release(version=f"v1.0.{number}"))
        made.failed_run("v1.1.0")
        yield made
    finally:
        made.stop()


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app(write_settings(tmp_path))


# What shows pages and files to people: whose address is none of these is for machines, and has to be described.
PAGES = frozenset({"pages", "auth", "rq_dashboard"})
PAGE_ROUTES = frozenset({"/setup", "/api/docs", "/static/<path:filename>"})


def is_for_machines(blueprint: str, rule: str) -> bool:
    return blueprint not in PAGES and rule not in PAGE_ROUTES


def test_every_route_for_machines_is_described(app: Flask) -> None:
    described = {
        (method, re.sub(r"\{(\w+)\}", r"<\1>", path))
        for path, methods in document("http://x")["paths"].items()
        for method in methods
    }
    routes = {
        (method.lower(), rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if is_for_machines(rule.endpoint.rpartition(".")[0], rule.rule)
    }
    assert described == routes


def test_the_description_is_openapi_3_1(world: WebWorld) -> None:
    found = world.get("/openapi.json").json
    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": world.settings.web.base_url}]
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert names <= set(found["components"]["schemas"])
    ways = {
        name
        for each in found["paths"].values()
        for one in each.values()
        for way in one.get("security", [])
        for name in way
    }
    assert ways <= set(found["components"]["securitySchemes"])


def test_a_webhook_is_described_with_its_bodies_and_signatures(world: WebWorld) -> None:
    """Every scheme's header, and every source by name."""
    found = world.get("/openapi.json").json
    webhook = found["paths"]["/webhooks/{source}"]["post"]
    signed = [found["components"]["securitySchemes"][name]["name"] for way in webhook["security"] for name in way]
    assert {name.lower() for each in GOOD.values() for name in each} - DELIVERY_IDS <= {each.lower() for each in signed}
    bodies = webhook["requestBody"]["content"]
    assert set(bodies) == {"application/json", "application/x-www-form-urlencoded"}
    (source,) = (each for each in webhook["parameters"] if each["in"] == "path")
    assert source["schema"]["enum"] == ["platform", *SOURCES]
    hook = found["paths"]["/hooks/gitlab"]["post"]
    assert [sorted(way) for way in hook["security"]] == [
        ["gitlabToken"], ["standardId", "standardSignature", "standardTimestamp"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "file", sorted(GOLDEN.glob("*/released-*.json")), ids=lambda file: f"{file.parent.name}/{file.stem}"
)
def test_what_platforms_send_is_described(file: Path) -> None:
    """Each real release is one of the bodies that have a name, not only "another event"."""
    named = {"anyOf": [each for each in ALL["WebhookBody"]["anyOf"] if not each["$ref"].endswith("/OtherEvent")]}
    body = json.loads(file.read_text())["body"]
    Draft202012Validator({**named, "components": {"schemas": ALL}}).validate(body)


def test_a_pipeline_event_is_described() -> None:
    Draft202012Validator({**ALL["PipelineEvent"], "components": {"schemas": ALL}}).validate(pipeline_event())


def test_the_page_asks_no_other_host(world: WebWorld) -> None:
    page = world.ask("GET", "/api/docs", headers={**BEARER, **BROWSER})
    assert page.status == 200
    addresses = re.findall(r"""(?:src|href|action)=["']([^"']+)""", page.text)
    assert addresses
    assert [each for each in addresses if not each.startswith(("/", "#"))] == []
    assert "/api/runs/{identifier}/replay" in page.text


def test_nobody_reads_it_without_a_token(world: WebWorld) -> None:
    assert world.ask("GET", "/openapi.json").status == 401


@pytest.mark.slow
@pytest.mark.timeout(560)
def test_schemathesis_finds_nothing(world: WebWorld, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_bytes(world.get("/openapi.json").raw)
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "run", "openapi.json",
        "--url", f"http://127.0.0.1:{world.port}", "-H", f"Authorization: Bearer {TOKEN}", "--checks", "all",
        "--max-examples", "25", "--seed", "7", "--generation-database", "none",
    ]  # fmt: skip
    hooks = {"SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=500, env={**os.environ, "NO_COLOR": "1", **hooks}
    )  # fmt: skip
    assert found.returncode == 0, (found.stdout.partition("= FAILURES =")[2] or found.stdout)[:8000] + found.stderr[
        -2000:
    ]
    taken = dict(world.rows("SELECT source, count(*) FROM deliveries GROUP BY source"))
    assert set(SOURCES) <= set(taken), "nothing came past the signature of these"
    counted = world.get("/metrics").text
    for past in (
        r'modsync_pipeline_events_total\{[^}]*"ignored"[^}]*',
        r'modsync_athens_validations_total\{answer="allowed"[^}]*',
    ):
        assert sum(map(float, re.findall(past + r"\} ([0-9.]+)", counted))) >= 5, past
    assert [each for each in world.log() if each["event"] in ("request_defect", "request_failed")] == []
