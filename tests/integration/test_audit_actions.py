"""What people and processes do is in the audit log, through the service's real wiring, on both databases."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app import upkeep
from app.adapters.access_store import SqlAuditStore
from app.bootstrap import Container
from app.config_models import Settings
from app.config_record import record_settings
from app.domain.access import Kind, Role, Scope
from app.domain.audit import Entry, verify
from app.domain.pause import PauseKind
from app.services.moves import MoveOrder
from app.services.stores import ReplayOrder
from tests.integration.stored import A, B, Stored
from tests.integration.web_world import BROWSER, ROOT, running, write_settings

ORDER = ReplayOrder(actor="cli:alice", reason="the runner was down")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return write_settings(tmp_path, DATABASE_URL=database_url)


@pytest.fixture
def container(settings: Settings) -> Container:
    return Container(settings)


def entries(container: Container) -> list[Entry]:
    found = list(container.audit.entries())
    assert verify(found)[2] is None
    return found


def whole(entry: Entry) -> tuple[object, ...]:
    """All that an entry says, but when."""
    return entry.actor, entry.action, entry.object, entry.reason, dict(entry.before), dict(entry.after)


def test_what_is_done_to_releases(container: Container, stored: Stored) -> None:
    module = "go.corp.example/platform/log"
    done = stored.release(module=module)
    stored.finish(done.run_id)
    failed = stored.release(version="v2.0.0", module=module)
    stored.fail(failed.run_id)
    error = stored.row(failed.run_id)["error"]
    container.replay.replay(failed.run_id, ORDER)
    container.replay._store.cancel(failed.run_id, "cli:alice", stored.later(), "tagged by mistake")  # type: ignore[attr-defined]
    receipt = container.moves.accept(MoveOrder.parse(module, "v1.0.0", B, "cli:bob", "tagged the wrong branch"))
    push, *rest = map(whole, entries(container))
    assert push[:3] == (f"run:{done.run_id}", "push", f"mirror:{stored.row(done.run_id)['mirror']}")
    assert (push[5]["commit"], push[5]["run"]) == (A, done.run_id)  # type: ignore[index]
    stage = stored.row(failed.run_id)["stage"]
    run = f"run:{failed.run_id}"
    assert rest == [
        ("cli:alice", "run.replay", run, "the runner was down", {"status": "failed", "error": error, "attempt": 1},
         {"stage": stage, "attempt": 2, "forced": False}),
        ("cli:alice", "run.cancel", run, "tagged by mistake", {"status": "queued", "attempt": 2},
         {"status": "failed", "error": "cancelled"}),
        ("cli:bob", "release.move", f"release:{module}@v1.0.0", "tagged the wrong branch",
         {"commit": A, "h1": None, "run": done.run_id}, {"commit": B, "run": receipt.run_id}),
    ]  # fmt: skip


def test_pauses(container: Container) -> None:
    pausing, module = upkeep.pausing(container), "go.corp.example/platform/log"
    pausing.pause(PauseKind.MODULE, module, "cli:alice", "new disks")
    pausing.resume(PauseKind.MODULE, module, "cli:bob", "they are in")
    begun, ended = map(whole, entries(container))
    thing = f"pause:module {module}"
    assert begun == ("cli:alice", "pause", thing, "new disks", {}, {"kind": "module", "value": module})
    assert ended[:4] == ("cli:bob", "resume", thing, "they are in")
    assert ended[4].items() >= {"actor": "cli:alice", "reason": "new disks"}.items()  # type: ignore[attr-defined]


def test_a_redelivery_is_there_even_when_it_is_refused(container: Container, stored: Stored) -> None:
    delivery = stored.delivery()
    stored.intake.record(delivery, [])
    with pytest.raises(Exception, match="invalid_payload"):
        container.deliveries.redeliver(delivery.id, "cli:alice", "the rule is there now")
    (entry,) = entries(container)
    before = {"source": delivery.source, "verdict": delivery.verdict}
    thing = f"delivery:{delivery.id}"
    assert whole(entry) == ("cli:alice", "delivery.redeliver", thing, "the rule is there now", before, {})
    with pytest.raises(Exception, match="not_found"):
        container.deliveries.redeliver("d0000000000000000000", "cli:alice")
    assert len(entries(container)) == 1


def test_who_comes_in(container: Container) -> None:
    secret, token = container.access.create_token("ci", Role.VIEWER, 1, "cli:alice", "INC-1", scopes=[Scope.RUNS])
    who = container.access.identify(secret, Kind.TOKEN)
    assert who
    session = container.access.open_session(who)
    container.access.close_session(session)
    container.access.revoke_token("ci", "cli:alice", "left")
    container.access.create_link("bob", Role.OPERATOR, "cli:alice")
    made, login, logout, revoked, link = map(whole, entries(container))
    until = token.expires_at.isoformat()
    assert made == (
        "cli:alice", "token.create", f"token:{token.id}", "INC-1", {},
        {"name": "ci", "role": "viewer", "scopes": ["runs"], "until": until},
    )  # fmt: skip
    assert login == ("token:ci", "login", logout[2], "", {}, {"role": "viewer"})
    assert logout == ("session:ci", "logout", logout[2], "", {"role": "viewer"}, {})
    ended = revoked[5]["ended"]  # type: ignore[index]
    assert revoked == (
        "cli:alice", "token.revoke", f"token:{token.id}", "left", {"name": "ci", "role": "viewer"}, {"ended": ended},
    )  # fmt: skip
    assert (link[:2], link[3:5]) == (("cli:alice", "link.create"), ("", {}))
    assert link[5].items() >= {"name": "bob", "role": "operator"}.items()  # type: ignore[attr-defined]


def test_logins_good_and_bad_and_the_servers_configuration(tmp_path: Path) -> None:
    for world in running(tmp_path):
        assert world.login(token="a-guess-of-somebody").status == 401
        cookie = world.cookie()
        assert world.ask("GET", "/api/runs", headers={**BROWSER, **cookie}).status == 200
        found = list(Container(world.settings).audit.entries())
    assert [each.action for each in found] == ["config.changed", "login.refused", "login"]
    assert found[0].actor.startswith("process:web:")
    assert found[1].after == {"address": "127.0.0.1"}
    assert "a-guess-of-somebody" not in str(found)


# --- the configuration -------------------------------------------------------------------------------------------------


def changed(settings: Settings, **tables: Any) -> Settings:
    """The settings with other values: table -> {key: value}."""
    new = {name: getattr(settings, name).model_copy(update=values) for name, values in tables.items()}
    return settings.model_copy(update=new)


def test_the_first_start_is_recorded_and_the_next_one_is_not(container: Container, settings: Settings) -> None:
    assert record_settings(settings, "web")
    assert not record_settings(settings, "worker")
    (entry,) = entries(container)
    assert (entry.action, entry.object, entry.before) == ("config.changed", "config", {})
    assert entry.actor.startswith("process:web:")
    assert entry.after["worker.live"] == "2"
    assert entry.after["rules[go.corp.example/{team}/{repo}].mirror"] == '"go-mirrors/{team}/{repo}"'
    assert "path" not in entry.after


def test_a_change_names_its_keys_only(container: Container, settings: Settings) -> None:
    record_settings(settings, "web")
    new = changed(settings, worker={"live": 7}, gitlab={"branch": "sync"})
    assert record_settings(new, "sweeper")
    entry = entries(container)[1]
    assert dict(entry.before) == {"gitlab.branch": '"ci-sync"', "worker.live": "2"}
    assert dict(entry.after) == {"gitlab.branch": '"sync"', "worker.live": "7"}
    assert record_settings(settings, "sweeper")  # and back
    assert len(entries(container)) == 3


def test_a_changed_secret_shows_and_no_secret_is_told(container: Container, settings: Settings) -> None:
    record_settings(settings, "web")
    new = changed(settings, gitlab={"token": SecretStr("glpat-another-token")}, queue={"url": "redis://:one-word@r/0"})
    assert record_settings(new, "web")
    assert record_settings(changed(new, queue={"url": "redis://:two-word@r/0"}), "web")
    first, second, third = entries(container)
    assert set(second.after) == {"gitlab.token", "queue.url"}
    assert second.before["gitlab.token"] != second.after["gitlab.token"]
    assert set(third.after) == {"queue.url"}  # only its password is another
    text = str([each.as_json() for each in (first, second, third)])
    for secret in ("glpat", "one-word", "two-word", settings.access.admin_token.get_secret_value()):
        assert secret not in text


def test_of_processes_that_start_at_once_one_records_it(container: Container, settings: Settings) -> None:
    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(lambda number: record_settings(settings, f"role{number}"), range(6)))
    assert sum(told) == 1
    new = changed(settings, worker={"live": 9})
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(lambda number: record_settings(new, f"role{number}"), range(6))) == 1
    assert len(entries(container)) == 2


def test_real_processes_that_start_at_once(tmp_path: Path, container: Container, settings: Settings) -> None:
    program = (
        "import os, sys; from pathlib import Path; from app.config import load_settings;"
        "from app.config_record import record_settings;"
        "record_settings(load_settings(Path(sys.argv[1]), {**os.environ, **dict(p.split('=', 1) for p in sys.argv[2:])}),"
        " 'worker')"
    )
    values = ["ADMIN_TOKEN=" + "a" * 20, "GITLAB_TOKEN=" + "b" * 20, "HOOK_SECRET=" + "c" * 20]
    command = [sys.executable, "-c", program, str(settings.path), *values, f"DATABASE_URL={settings.store.url}"]
    started = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [(each.communicate(timeout=120)[1], each.returncode) for each in started]
    assert [status for _, status in ended] == [0, 0, 0], ended
    assert [each.action for each in entries(container)] == ["config.changed"]


def test_a_start_without_a_database_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gone").mkdir()
    settings = write_settings(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'gone'}")
    assert not record_settings(settings, "web")
    assert "config_not_recorded" in caplog.messages


def test_the_log_is_one_chain_beside_other_writers(container: Container, settings: Settings) -> None:
    log = SqlAuditStore(container.engine)
    with ThreadPoolExecutor(4) as pool:
        mine = pool.submit(record_settings, settings, "web")
        list(pool.map(lambda n: log.append("cli:me", "test", f"thing:{n}", container.clock.now()), range(20)))
        assert mine.result(60)
    assert len(entries(container)) == 21
