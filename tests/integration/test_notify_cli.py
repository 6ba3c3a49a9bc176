"""`modsync notify`: what people see, and what scripts get."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app import create_app
from app.adapters.database import connect, writing
from app.adapters.tables_notify import receivers
from app.cli import cli
from app.domain.errors import SyncError
from tests.contract.test_receiver_contract import free_port
from tests.integration.databases import sqlite_only
from tests.integration.web_world import ENVIRONMENT, write_settings
from tests.sandbox.receiver import Receiver

SIGNING = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
TABLE = '[[notify]]\nname = "on-call"\nkind = "webhook"\nsecret_url_env = "URL"\nsecret_env = "SIGN"\n[sandbox]\nenabled = true\n'


def ask(directory: Path, database_url: str, url: str, *arguments: str) -> Result:
    told = {"URL": url, "SIGN": SIGNING, "DATABASE_URL": database_url}
    settings = write_settings(directory, 8080, TABLE, **told)
    environment = {**ENVIRONMENT, **told, "MODSYNC_CONFIG": str(settings.path)}
    return CliRunner().invoke(cli, ["notify", *arguments], env=environment)


@sqlite_only
def test_a_test_message_says_what_came_back(tmp_path: Path, database_url: str) -> None:
    with Receiver() as server:
        taken = ask(tmp_path, database_url, server.url, "test", "on-call")
        assert (taken.exit_code, taken.output) == (0, "on-call: HTTP 200 OK: ok\n")
        assert json.loads(server.got[0].body)["type"] == "modsync.test"
        server.answers.append((404, "no such hook", {}))
        refused = ask(tmp_path, database_url, server.url, "test", "on-call")
        assert refused.exit_code == 1
        assert "receiver_refused: 127.0.0.1 answered HTTP 404 Not Found: no such hook" in refused.output
        assert "Check the receiver's address" in refused.output
    silent = ask(tmp_path, database_url, f"http://127.0.0.1:{free_port()}/x", "test", "on-call", "--json")
    assert (silent.exit_code, json.loads(silent.output)["code"]) == (4, "receiver_unreachable")


@sqlite_only
def test_an_unknown_receiver_names_those_that_there_are(tmp_path: Path, database_url: str) -> None:
    found = ask(tmp_path, database_url, "https://x.example/y", "test", "on-cal")
    assert isinstance(found.exception, SyncError)
    assert found.exception.code == "not_found"
    assert found.exception.message.endswith("there are: on-call")


@pytest.mark.parametrize("form", [(), ("--json",)])
@sqlite_only
def test_the_list_has_those_that_never_got_anything(tmp_path: Path, database_url: str, form: tuple[str, ...]) -> None:
    found = ask(tmp_path, database_url, "https://x.example/y", "list", *form)
    assert found.exit_code == 0, found.output
    assert "on-call" in found.output
    if form:
        (state,) = json.loads(found.output)
        assert (state["delivered"], state["failing_since"]) == (0, None)


@sqlite_only
def test_the_metrics_name_configured_receivers_alone(tmp_path: Path, database_url: str) -> None:
    """One that failed last and was removed would fail for ever."""
    told = {"URL": "https://x.example/y", "SIGN": SIGNING, "DATABASE_URL": database_url}
    app = create_app(write_settings(tmp_path, 8080, TABLE, **told))
    engine = connect(database_url)
    with writing(engine) as connection:
        row = {"name": "gone", "delivered": 1, "given_up": 2, "answer": "no", "failing_since": datetime.now(UTC)}
        connection.execute(receivers.insert().values(row))
    engine.dispose()
    lines = app.test_client().get("/metrics", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}).text.splitlines()
    assert [line for line in lines if line.startswith("modsync_receiver_failing")] == [
        'modsync_receiver_failing{receiver="on-call"} 0.0'
    ]
    assert 'modsync_notices_total{outcome="given_up",receiver="on-call"} 0.0' in lines
    assert not [line for line in lines if 'receiver="gone"' in line]
