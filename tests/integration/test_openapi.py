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

from app import create_app
from app.web.openapi import document
from tests.integration.web_world import BEARER, BROWSER, TOKEN, WebWorld, release, running, write_settings

# What is right by the schema can be wrong for what is there (a stage the run never came to, a cursor of nobody's).
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 404, 409, 422, 503]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    for made in running(tmp_path_factory.mktemp("openapi")):
        for number in range(3):
            made.deliver(release(version=f"v1.0.{number}"))
        made.failed_run("v1.1.0")
        yield made


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app(write_settings(tmp_path))


def test_every_route_of_the_api_is_described(app: Flask) -> None:
    described = {
        (method, re.sub(r"\{(\w+)\}", r"<\1>", path))
        for path, methods in document("http://x")["paths"].items()
        for method in methods
    }
    routes = {
        (method.lower(), rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/api/", "/webhooks/", "/healthz", "/readyz")) and rule.rule != "/api/docs"
    }
    assert described == routes


def test_the_description_is_openapi_3_1(world: WebWorld) -> None:
    found = world.get("/openapi.json").json
    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": world.settings.web.base_url}]
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert names <= set(found["components"]["schemas"])


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
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=500, env={**os.environ, "NO_COLOR": "1"}
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert [each for each in world.log() if each["event"] in ("request_defect", "request_failed")] == []
