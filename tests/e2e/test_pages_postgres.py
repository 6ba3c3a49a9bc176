"""The pages over PostgreSQL: an operator's whole way, and each page once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor
from tests.e2e.operators_way import operators_way
from tests.integration.databases import PostgresServer, running_postgres
from tests.sandbox.service import Service
from tests.sandbox.world import World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)

PAGES = (
    "/", "/releases", "/releases?q=ledger", "/modules", "/modules/go.corp.example/way/ledger", "/mirrors?q=way",
    "/mirrors/go-mirrors/way/ledger", "/reconcile", "/reconcile?people=1", "/deliveries", "/sources", "/replays",
    "/audit", "/audit?actor=admin&since=1h&until=2030-01-01", "/audit/export",
)  # fmt: skip


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.mark.timeout(400)
def test_the_operators_way_and_every_page_on_postgresql(world: World, logs: Path, postgres: PostgresServer) -> None:
    environment = {**world.environment, "DATABASE_URL": postgres.fresh("migrated")}
    with (
        Service(world.url, environment, logs, world.admin_token) as service,
        chrome.chromium() as browser,
        Visitor(browser, world.url) as visitor,
    ):
        operators_way(visitor, world, service, "way/ledger")
        asked = {path: visitor.page.request.get(path) for path in PAGES}
        assert {path: answer.status for path, answer in asked.items()} == dict.fromkeys(PAGES, 200)
        assert "Verified up to entry" in asked["/audit"].text()
        assert "run.replay" in asked["/audit/export"].text()
        assert visitor.complaints == []
    assert not (world.root / "data/modsync.db").exists()
