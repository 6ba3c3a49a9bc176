"""`modsync notify`: what people see, and what scripts get."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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
