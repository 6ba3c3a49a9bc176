"""`modsync send`, `sources`, `deliveries`, `redeliver` and the API's delivery log against a real gunicorn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.webhook import SCHEMES
from tests.integration.web_world import WebWorld, release, running

SOURCES = "\n".join(
    f"""
[[sources]]
name = "{scheme}"
scheme = "{scheme}"
secrets = [{{ id = "new", env = "HOOK_SECRET" }}, {{ id = "old", env = "ADMIN_TOKEN" }}]
allow = ["https://git.corp.example/**"]
"""
    for scheme in SCHEMES
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODULE = "go.corp.example/team/repo"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("intake-cli"), SOURCES)


def modsync(world: WebWorld, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("modsync")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=dict(world.environment), timeout=60)


def said(world: WebWorld, *arguments: str, status: int = 0) -> str:
    done = modsync(world, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(SCHEMES)))
def test_send_speaks_for_every_platform(world: WebWorld, number: int) -> None:
    scheme = list(SCHEMES)[number]
    version = f"v1.{number}.0"
    sent = ("send", scheme, "--module", MODULE, "--version", version, "--commit", COMMIT)
    assert "HTTP 202" in said(world, *sent)
    where = f"WHERE source = '{scheme}'"
    assert world.rows(f"SELECT module, version FROM runs {where}") == [(MODULE, version)]
    assert world.rows(f"SELECT verdict, secret_id FROM deliveries {where}") == [("accepted", "new")]


@pytest.mark.parametrize("number", range(len(SCHEMES)))
def test_a_dry_run_prints_a_command_that_works(world: WebWorld, number: int) -> None:
    scheme = list(SCHEMES)[number]
    command = said(
        world, "send", scheme, "--module", MODULE, "--version", f"v1.{number}.1", "--commit", COMMIT, "--dry-run"
    )  # fmt: skip
    assert world.rows(f"SELECT id FROM runs WHERE version = 'v1.{number}.1'") == []
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["runs"][0]["status"] == "queued"


def test_sources_shows_which_secret_is_in_use(world: WebWorld) -> None:
    world.deliver(release(version="v2.0.0-x", module=f"{MODULE}/v2"))
    rows = json.loads(said(world, "sources", "--json"))
    uses = {(row["source"], row["secret"]): row for row in rows}
    assert uses["platform", "one"]["count"] == 1
    assert uses["platform", "one"]["url"].endswith("/webhooks/platform")
    assert (uses["github", "old"]["count"], uses["github", "old"]["last_used_at"]) == (0, None)
    assert "never" in said(world, "sources")


def test_clock_skew_is_reported(world: WebWorld) -> None:
    said(world, "send", "standard-webhooks", "--module", MODULE, "--version", "v1.50.0", "--commit", COMMIT)
    rows = json.loads(said(world, "sources", "--json"))
    (skew,) = [row["skew_seconds"] for row in rows if row["source"] == "standard-webhooks" and row["secret"] == "new"]
    assert -60 < skew <= 0
    assert 'modsync_clock_skew_seconds{source="standard-webhooks"}' in world.ask("GET", "/metrics").text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_guide_names_the_address_and_never_the_secret(world: WebWorld, scheme: str) -> None:
    text = said(world, "sources", "guide", scheme)
    assert f"{world.settings.web.base_url}/webhooks/{scheme}" in text
    assert "$HOOK_SECRET" in text
    assert world.environment["HOOK_SECRET"] not in text


def test_deliveries_are_listed_shown_and_taken_again(world: WebWorld) -> None:
    run, _ = world.failed_run("v1.60.0")
    (row,) = world.rows(f"SELECT delivery FROM runs WHERE id = '{run}'")
    delivery = str(row[0])
    assert delivery in said(world, "deliveries", "--failed", "--source", "platform")
    shown = said(world, "deliveries", delivery)
    assert run in shown
    assert "v1.60.0" in shown
    assert f"run {run} begun anew" in said(world, "redeliver", delivery)
    assert "no delivery failed" in said(world, "redeliver", "--failed", "--since", "2h", "--source", "artifactory")
    assert modsync(world, "redeliver").returncode == 2
    assert modsync(world, "redeliver", "d0000000000000000000").returncode == 1


def test_all_that_failed_in_a_span_is_taken_again_oldest_first(world: WebWorld) -> None:
    world.failed_run("v1.80.0")
    begin = datetime.now(UTC).isoformat()
    failed = [world.failed_run(f"v1.80.{number}")[0] for number in (1, 2)]
    refused = world.deliver(b'{"ref": "v1.0.0", "commit_id": "short"}')
    assert refused.status == 422
    world.deliver(release(version="v1.80.3"))
    end = datetime.now(UTC).isoformat()
    world.failed_run("v1.80.4")
    span = ("redeliver", "--failed", "--since", begin, "--until", end)
    found = json.loads(said(world, *span, "--json", status=1))
    assert [[run["id"] for run in each.get("runs", [])] for each in found] == [[failed[0]], [failed[1]], []]
    assert found[2]["error"] == "invalid_payload"
    begun = world.rows(
        "SELECT version FROM runs WHERE status = 'queued' AND attempt = 2 AND version LIKE 'v1.80.%' ORDER BY 1"
    )
    assert begun == [("v1.80.1",), ("v1.80.2",)]
    again = said(world, *span, status=1)  # what is under way is not taken a third time
    assert "invalid_payload" in again
    assert not any(run in again for run in failed)


def test_a_refused_delivery_is_kept_with_the_reason(world: WebWorld) -> None:
    answer = world.deliver(b'{"ref": "v1.0.0"}')
    assert (answer.status, answer.json["error"]["field"]) == (422, "module_path")
    listed = world.get("/api/deliveries?verdict=refused&source=platform").json
    found = listed["deliveries"][0]
    assert (found["reason"], found["runs"], listed["next_cursor"]) == ("invalid_payload", [], None)
    detail = world.get(f"/api/deliveries/{found['id']}").json
    assert (detail["body"], detail["kept"]) == ('{"ref": "v1.0.0"}', True)


def test_the_api_takes_a_delivery_again(world: WebWorld) -> None:
    run, _ = world.failed_run("v1.70.0")
    page = world.get("/api/deliveries?failed=true&limit=1").json
    address = page["deliveries"][0]["links"]["redeliver"].removeprefix(world.settings.web.base_url)
    token = {"Authorization": f"Bearer {world.environment['ADMIN_TOKEN']}"}
    again = world.ask("POST", address, headers=token)
    assert (again.status, again.json["runs"][0]["id"], again.json["runs"][0]["status"]) == (202, run, "queued")
    assert world.ask("POST", address, headers=token).status == 200
    assert world.ask("POST", address).status == 401
    assert world.get("/api/deliveries/d0000000000000000000").status == 404
    assert world.get("/api/deliveries?verdict=nonsense").json["error"]["field"] == "verdict"
