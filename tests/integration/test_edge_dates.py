"""Dates at the calendar's edges, which ISO 8601 can say and arithmetic with them cannot bear, end no request."""

from __future__ import annotations

import base64
import json
from itertools import product

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from app.adapters.audit_reads import SqlAuditReads
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.services.audit_log import AuditFilter
from tests.integration.stored import Stored
from tests.integration.test_audit_page import START, fill
from tests.integration.test_cli_reasons import run
from tests.integration.web_world import BEARER, BROWSER

FIRST, LAST = "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"
# Beyond the edges in UTC, and ages that lead there.
BEYOND = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "999999w")
SPANS = ("/releases", "/deliveries", "/audit", "/api/runs", "/api/deliveries")
SINCE = ("/replays?code=tag_missing", "/api/replays?code=tag_missing", "/api/failures?")


@pytest.mark.parametrize(("name", "moment"), list(product(["since", "until"], [FIRST, LAST])))
def test_the_audit_log_is_asked_for_them_on_both_databases(engine: Engine, name: str, moment: str) -> None:
    fill(engine, 3)
    page = SqlAuditReads(engine).page(AuditFilter.parse({name: moment}, START), None, 10)
    every = (name, moment) in {("since", FIRST), ("until", LAST)}
    assert [each.number for each in page.items] == ([3, 2, 1] if every else [])


@pytest.mark.parametrize("moment", [FIRST, LAST, *BEYOND])
def test_pages_and_the_api_answer(client: FlaskClient, container: Container, moment: str) -> None:
    stored = Stored(container.engine)
    stored.fail(stored.release().run_id, error="tag_missing")
    asked = [f"{path}?{name}={moment}" for path in SPANS for name in ("since", "until")]
    asked += [f"{path}&since={moment}" for path in SINCE]
    headers = {**BROWSER, **BEARER}
    told = {path: client.get(path.replace("+", "%2B"), headers=headers).status_code for path in asked}
    assert told == dict.fromkeys(asked, 422 if moment in BEYOND else 200)


@pytest.mark.parametrize("moment", BEYOND[:2])
def test_a_cursor_from_beyond_is_refused(client: FlaskClient, moment: str) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([moment, "r1"]).encode()).decode().rstrip("=")
    for path in ("/api/runs?cursor=", "/api/deliveries?cursor=", "/api/replays?code=x&after="):
        assert client.get(path + cursor, headers=BEARER).status_code == 422, path


@pytest.mark.parametrize("moment", [FIRST, LAST, *BEYOND])
def test_commands_answer(container: Container, moment: str) -> None:
    for command in (
        ["runs", "--since", moment], ["failures", "--since", moment], ["deliveries", "--since", moment],
        ["replay", "--failed", "tag_missing", "--since", moment, "--dry-run"],
        ["redeliver", "--failed", "--since", moment],
    ):  # fmt: skip
        done = run(container, *command)
        assert (done.exit_code == 0) == (moment not in BEYOND), (command, done.output)
        assert done.exception is None or isinstance(done.exception, SyncError | SystemExit), (command, done.exception)
