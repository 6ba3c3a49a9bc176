"""Athens' validation hook over the web application: what is allowed, what is written down, what is begun."""

from __future__ import annotations

import json
import os
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app import athens_hook, create_app
from app.adapters import migrate
from app.adapters.database import connect, reading, writing
from app.adapters.job_queue import RqJobQueue
from app.domain.errors import SyncError
from tests.integration.web_world import release, signed, until, write_settings
from tests.sandbox.bad_servers import Listener, hanging

SECRET = "a-secret-in-the-address-of-the-tests"
PRIVATE = "go.corp.example/team/repo"
PATIENCE_SECONDS = athens_hook.PATIENCE_SECONDS
TABLE = '[athens]\nsecret_env = "ATHENS_SECRET"\n'


class Hook:
    """The application with a database; Redis is a list of calls."""

    def __init__(self, directory: Path, more: str = TABLE) -> None:
        self.settings = write_settings(directory, more=more, ATHENS_SECRET=SECRET)
        migrate.upgrade(self.settings.store.url)
        self.client: FlaskClient = create_app(self.settings).test_client()

    def ask(self, module: str = PRIVATE, version: str = "v1.2.3", secret: str = SECRET) -> int:
        """The status of Athens' own question."""
        asked = {"Module": module, "Version": version}
        return self.client.post(f"/athens/validate/{secret}", json=asked).status_code

    def lines(self) -> list[dict[str, Any]]:
        """The access audit."""
        path = self.settings.data_dir / "access-audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def last(self) -> tuple[str, bool, str]:
        """(module@version, allowed, reason) of the last line."""
        line = self.lines()[-1]
        return f"{line['module']}@{line['version']}", line["allowed"], line["reason"]

    def deliver(self, version: str = "v1.2.3", commit: str = "a" * 40) -> str:
        """A run of the private module; its id."""
        raw = release(PRIVATE, version, commit_id=commit)
        answer = self.client.post("/webhooks/platform", data=raw, headers=signed(raw))
        return str(answer.get_json()["runs"][0]["id"])

    def change(self, run: str, **values: str) -> None:
        """Change a run behind the application's back."""
        named = ", ".join(f"{name} = :{name}" for name in values)
        with writing(connect(self.settings.store.url)) as connection:
            connection.execute(text(f"UPDATE runs SET {named} WHERE id = :run"), {"run": run, **values})

    def repositories(self) -> list[str]:
        with reading(connect(self.settings.store.url)) as connection:
            return [row[0] for row in connection.execute(text("SELECT mirror FROM repositories WHERE job_at NOT NULL"))]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowded machine's database may take longer than a build should wait."""
    monkeypatch.setattr(athens_hook, "PATIENCE_SECONDS", 30.0)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The (function, argument) that Redis would have got."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(RqJobQueue, "call", lambda self, name, argument, job, lane: found.append((name, argument)))
    monkeypatch.setattr(RqJobQueue, "enqueue_all", lambda self, jobs, lane="live": None)
    return found


@pytest.fixture
def hook(tmp_path: Path, jobs: list[tuple[str, str]]) -> Hook:
    return Hook(tmp_path)


def test_only_who_knows_the_address_gets_an_answer(hook: Hook) -> None:
    assert hook.ask("example.com/public") == 200
    assert hook.ask("example.com/public", secret="another-secret-of-the-tests") == 403
    assert [line["module"] for line in hook.lines()] == ["example.com/public"]


def test_without_a_secret_in_the_configuration_nobody_does(tmp_path: Path) -> None:
    hook = Hook(tmp_path, more="")
    assert (hook.ask(), hook.ask(secret="None"), hook.lines()) == (403, 403, [])


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"Module": 1, "Version": "v1"}', b'{"Module": "x"}', b'{"Module": "", "Version": ""}',
     b'{"Module": "a\\nb", "Version": "v1"}', b"[" * 8000, b'{"Module": "' + b"x" * 9000 + b'", "Version": "v1"}'],
)  # fmt: skip
def test_what_is_no_question_is_refused(hook: Hook, body: bytes) -> None:
    assert hook.client.post(f"/athens/validate/{SECRET}", data=body).status_code == 403
    assert hook.lines() == []


def test_athens_logs_a_body_so_there_is_one_for_refusals_only(tmp_path: Path) -> None:
    hook = Hook(tmp_path, TABLE + 'block = ["example.com/bad@v1.*"]')
    asked = {"Module": "example.com/bad", "Version": "v2.0.0"}
    assert hook.client.post(f"/athens/validate/{SECRET}", json=asked).data == b""
    refused = hook.client.post(f"/athens/validate/{SECRET}", json=asked | {"Version": "v1.0.0"})
    assert (refused.status_code, refused.text) == (403, "modsync: blocked\n")


def test_the_configuration_allows_and_blocks(tmp_path: Path, jobs: list[tuple[str, str]]) -> None:
    rules = 'allow = ["go.corp.example", "example.com/*/good"]\nblock = ["go.corp.example/team/repo@v1.0.*"]'
    hook = Hook(tmp_path, TABLE + rules)
    assert (hook.ask(version="v1.0.3"), hook.last()[2]) == (403, "blocked")
    assert (hook.ask("example.com/x/bad"), hook.last()[2]) == (403, "not_allowed")
    assert (hook.ask("example.com/x/good/v2"), hook.last()[2]) == (200, "public")
    assert hook.ask(version="v1.1.0") == 200


def test_a_moved_version_is_refused_until_its_own_pipeline_asks(hook: Hook) -> None:
    hook.deliver()
    run = hook.deliver(commit="b" * 40)
    hook.change(run, status="rejected", error="version_moved", error_message="moved")
    assert (hook.ask(), hook.last()) == (403, (f"{PRIVATE}@v1.2.3", False, "moved"))
    assert hook.lines()[-1]["run"] == run
    for status in ("pipeline", "verify"):
        hook.change(run, status=status)
        assert (hook.ask(), hook.last()[2]) == (200, status)


def test_the_rightful_run_replayed_has_the_last_word(hook: Hook) -> None:
    first = hook.deliver()
    moved = hook.deliver(commit="b" * 40)
    hook.change(moved, status="rejected", error="version_moved", error_message="moved")
    assert hook.ask() == 403
    hook.change(first, status="done", updated_at="2999-01-01 00:00:00.000000")
    assert hook.ask() == 200


def test_moved_versions_are_allowed_where_the_configuration_says_so(
    tmp_path: Path, jobs: list[tuple[str, str]]
) -> None:
    hook = Hook(tmp_path, TABLE + "block_moved = false")
    hook.change(hook.deliver(), status="rejected", error="version_moved", error_message="moved")
    assert hook.ask() == 200


def test_a_known_module_begins_nothing(hook: Hook, jobs: list[tuple[str, str]]) -> None:
    hook.deliver()
    assert (hook.ask(), hook.last()[2]) == (200, "released")
    assert (hook.ask(version="v9.0.0"), hook.last()[2]) == (200, "unknown_version")
    assert hook.repositories() == []
    assert jobs == []


def test_an_unknown_private_module_is_reconciled_once(hook: Hook, jobs: list[tuple[str, str]]) -> None:
    for module in (PRIVATE, PRIVATE, f"{PRIVATE}/sub", "example.com/public"):
        assert hook.ask(module) == 200
    until(lambda: jobs)
    assert hook.repositories() == ["go-mirrors/team/repo"]
    assert jobs == [("reconcile_repository", "go-mirrors/team/repo")]


def test_no_redis_and_no_database_stop_no_build(
    hook: Hook, jobs: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise SyncError("queue_unavailable", "away")

    monkeypatch.setattr(RqJobQueue, "call", away)
    assert hook.ask() == 200
    with writing(connect(hook.settings.store.url)) as connection:
        connection.execute(text("DROP TABLE delivery_runs"))
        connection.execute(text("DROP TABLE releases"))
    assert (hook.ask(version="v3.0.0"), hook.last()[2]) == (200, "unchecked")


def test_an_audit_that_cannot_be_written_goes_to_the_log(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    (hook.settings.data_dir / "access-audit.jsonl").mkdir()
    assert hook.ask("example.com/public") == 200
    found = [record for record in caplog.records if record.message == "access_audit_not_written"]
    assert '"example.com/public"' in str(vars(found[0])["line"])


def test_a_defect_stops_no_build_and_is_logged(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A status that a newer version wrote, say, while an older one still answers."""
    hook.change(hook.deliver(), status="of_tomorrow")
    assert (hook.ask(), hook.last()) == (200, (f"{PRIVATE}@v1.2.3", True, "unchecked"))
    assert [record.message for record in caplog.records if record.exc_info] == ["validation_defect"]


def test_a_body_that_ends_early_is_a_refusal_as_well(hook: Hook) -> None:
    stream = {"wsgi.input": BytesIO(b"{"), "CONTENT_LENGTH": "40"}
    assert hook.client.post(f"/athens/validate/{SECRET}", environ_overrides=stream).status_code == 403


@pytest.mark.parametrize("module", [PRIVATE, f"{PRIVATE}/sub"])
def test_a_database_that_says_nothing_costs_a_second_and_then_nothing(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A black hole: connections are made, and nothing ever comes."""
    assert PATIENCE_SECONDS <= 0.5
    monkeypatch.setattr(athens_hook, "PATIENCE_SECONDS", 0.8)
    with Listener(hanging) as hole:
        url = f"postgresql+psycopg://u@127.0.0.1:{hole.port}/m"
        settings = write_settings(tmp_path, more=TABLE + 'block = ["go.corp.example/bad"]', ATHENS_SECRET=SECRET)
        client = create_app(
            settings.model_copy(update={"store": settings.store.model_copy(update={"url": url})})
        ).test_client()
        asked = {"Module": module, "Version": "v1.0.0"}
        seconds = []
        for _ in range(5):
            begun = time.monotonic()
            assert client.post(f"/athens/validate/{SECRET}", json=asked).status_code == 200
            seconds.append(time.monotonic() - begun)
        assert 0.8 <= min(seconds[:4]) <= max(seconds[:4]) < 6  # and a slow machine's own
        assert seconds[4] < 0.7  # as many as there are threads wait: nobody waits any more
        blocked = client.post(f"/athens/validate/{SECRET}", json=asked | {"Module": "go.corp.example/bad"})
        assert blocked.status_code == 403
    lines = (settings.data_dir / "access-audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["unchecked"] * 5 + ["blocked"]


def test_a_line_that_is_written_in_part_goes_to_the_log(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that fills up with it."""
    whole = os.write
    monkeypatch.setattr("app.adapters.access_audit.os.write", lambda where, line: whole(where, line[:10]))
    assert hook.ask("example.com/public") == 200
    monkeypatch.undo()
    found = [record for record in caplog.records if record.message == "access_audit_not_written"]
    assert '"example.com/public"' in str(vars(found[0])["line"])
    # And what comes after it is a line of its own, which readers of JSON lines find.
    assert [hook.ask("example.com/next"), hook.ask("example.com/last")] == [200, 200]
    half, *lines = (hook.settings.data_dir / "access-audit.jsonl").read_text().splitlines()
    assert len(half) == 10
    assert [json.loads(line)["module"] for line in lines] == ["example.com/next", "example.com/last"]
