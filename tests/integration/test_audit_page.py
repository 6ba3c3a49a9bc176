"""The audit page: entries in pages, filters, the chain's state, the export; who may see it; on both databases."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete, insert, update

from app.adapters.audit_reads import SqlAuditReads
from app.adapters.database import writing
from app.adapters.tables import audit
from app.bootstrap import Container
from app.cli import cli
from app.domain.access import Role
from app.domain.audit import GENESIS, Entry, verify
from app.services.audit_log import AuditFilter, ChainWatch
from tests.integration.unguarded import unguard
from tests.integration.web_world import BEARER, BROWSER, ENVIRONMENT

START = datetime(2026, 11, 1, tzinfo=UTC)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def chance(self) -> float:
        return 0.5


def fill(engine: Engine, count: int) -> list[Entry]:
    """A right chain, an entry a minute; every tenth is alice's replay of a run."""
    entries, previous = [], GENESIS
    for number in range(1, count + 1):
        hers = number % 10 == 0
        entry = Entry(
            number, START + timedelta(minutes=number), "session:alice" if hers else "token:ci",
            "run.replay" if hers else "login", f"run:r{number:019d}" if hers else f"session:c{number}",
            "100 % sure" if hers else "", {"status": "failed"} if hers else {}, {"attempt": number}, previous,
        ).sealed()  # fmt: skip
        entries.append(entry)
        previous = entry.hash
    rows = [{name: getattr(each, name) for name in Entry.__dataclass_fields__} for each in entries]
    with writing(engine) as connection:
        connection.execute(insert(audit), rows)
    return entries


def change(engine: Engine, number: int, **values: object) -> None:
    with writing(engine) as connection:
        unguard(connection)
        connection.execute(update(audit).where(audit.c.number == number).values(values))


def cut(engine: Engine, above: int) -> None:
    with writing(engine) as connection:
        unguard(connection)
        connection.execute(delete(audit).where(audit.c.number > above))


def numbers(reads: SqlAuditReads, wanted: AuditFilter) -> list[int]:
    """All that match, page by page."""
    found, before = [], None
    while True:
        page = reads.page(wanted, before, 7)
        found += [each.number for each in page.items]
        if page.next is None:
            return found
        assert before is None or page.next < before
        before = page.next


def test_pages_hold_every_entry_once_newest_first(engine: Engine) -> None:
    fill(engine, 40)
    assert numbers(SqlAuditReads(engine), AuditFilter()) == list(range(40, 0, -1))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"actor": "ALICE"}, [40, 30, 20, 10]),
        ({"action": "replay"}, [40, 30, 20, 10]),
        ({"object": f"r{30:019d}"}, [30]),
        ({"actor": "alice", "action": "login"}, []),
        ({"object": "%"}, []),
        ({"since": "2026-11-01T00:38"}, [40, 39, 38]),
        ({"until": "2026-11-01T00:03"}, [2, 1]),
        ({"since": "2026-11-01T00:20", "until": "2026-11-01T00:31", "actor": "alice"}, [30, 20]),
        ({"since": "2027-01-01"}, []),
        ({"until": "2020-01-01"}, []),
    ],
)
def test_each_filter(engine: Engine, asked: dict[str, str], expected: list[int]) -> None:
    entries = fill(engine, 40)
    wanted = AuditFilter.parse(asked, START)
    assert numbers(SqlAuditReads(engine), wanted) == expected
    assert [each.number for each in reversed(entries) if wanted.matches(each)] == expected


def test_a_search_without_a_match_reads_a_part_only_and_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.adapters.audit_reads._WINDOW", 15)
    fill(engine, 40)
    page = SqlAuditReads(engine).page(AuditFilter(object="nothing"), None, 50)
    assert (page.items, page.next, page.looked_to) == ((), 26, 26)
    assert numbers(SqlAuditReads(engine), AuditFilter(actor="alice")) == [40, 30, 20, 10]
    old = AuditFilter.parse({"until": "2026-11-01T00:03"}, START)
    assert numbers(SqlAuditReads(engine), old) == [2, 1]


def test_the_chain_is_gone_through_piece_by_piece(engine: Engine) -> None:
    entries = fill(engine, 25)
    watch = ChainWatch(SqlAuditReads(engine), Hand(), piece=10)
    states = [watch.look() for _ in range(3)]
    assert [(each.verified, each.whole) for each in states] == [(10, False), (20, False), (25, True)]
    assert (states[2].last_hash, states[2].total) == (entries[-1].hash, 25)


def test_a_changed_entry_is_found_when_its_turn_comes_again(engine: Engine) -> None:
    fill(engine, 25)
    clock = Hand()
    watch = ChainWatch(SqlAuditReads(engine), clock, piece=100)
    assert watch.look().whole
    change(engine, 7, actor="session:mallory")
    assert watch.look().whole  # remembered
    clock.moment += timedelta(minutes=6)
    state = watch.look()
    assert (state.verified, state.whole, state.fault) == (6, False, "entry 7 was changed")
    assert watch.look().fault == "entry 7 was changed"
    change(engine, 7, actor="token:ci")
    assert watch.look().whole


def test_entries_that_were_cut_off_at_the_end_are_missed(engine: Engine) -> None:
    fill(engine, 25)
    watch = ChainWatch(SqlAuditReads(engine), Hand())
    assert watch.look().whole
    cut(engine, 20)
    state = watch.look()
    assert not state.whole
    assert "entry 25, which was right at 2026-11-01 00:00:00 UTC, is gone" in (state.fault or "")
    # A log that is right in itself does not hide it.
    assert verify(SqlAuditReads(engine).entries())[2] is None


def page(client: FlaskClient, path: str) -> str:
    return client.get(path, headers={**BROWSER, **BEARER}).text


def test_an_entry_is_shown_whole_and_the_next_page_follows(client: FlaskClient, container: Container) -> None:
    entries = fill(container.engine, 60)
    first = page(client, "/audit")
    row = first[first.index('id="entry-60"') : first.index('id="entry-59"')]
    for shown in ("session:alice", "run.replay", f'href="/runs/r{60:019d}"', "100 % sure", "status:", entries[59].hash):
        assert shown in row
    assert "Verified up to entry 60" in first
    following = re.search(r'href="(/audit\?before=\d+)" rel="next"', first)
    assert following
    assert [int(each) for each in re.findall(r'id="entry-(\d+)"', page(client, following[1]))] == list(range(10, 0, -1))


def test_what_others_wrote_is_only_text(client: FlaskClient, container: Container) -> None:
    evil = "<script>alert(1)</script>"
    container.audit.append(evil, "login", evil, START, reason=evil, before={evil: 1}, after={"x": evil})
    assert "<script>alert" not in page(client, "/audit")


def test_a_changed_log_is_said_at_the_top(client: FlaskClient, container: Container) -> None:
    fill(container.engine, 30)
    change(container.engine, 12, reason="never said")
    text = page(client, "/audit")
    assert "The log is not intact:</strong> entry 12 was changed; 11 entries before it are right" in text


def test_a_wrong_filter_is_said_beside_its_field(client: FlaskClient) -> None:
    answer = client.get("/audit?since=yesterday", headers={**BROWSER, **BEARER})
    assert (answer.status_code, "neither an ISO 8601 time" in answer.text) == (422, True)
    for wrong in ("before=x", "before=-1"):
        assert client.get(f"/audit?{wrong}", headers=BEARER).get_json()["error"]["field"] == "before"


def test_the_export_is_what_the_command_prints(
    client: FlaskClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = fill(container.engine, 30)
    answer = client.get("/audit/export", headers=BEARER)
    for name, value in {**ENVIRONMENT, "MODSYNC_CONFIG": str(container.settings.path)}.items():
        monkeypatch.setenv(name, value)
    assert answer.text == CliRunner().invoke(cli, ["audit", "export"]).output
    assert [json.loads(line)["hash"] for line in answer.text.splitlines()] == [each.hash for each in entries]
    part = client.get("/audit/export?actor=alice&after=10", headers=BEARER).text.splitlines()
    assert [json.loads(line)["number"] for line in part] == [20, 30]


def test_long_logs_are_exported_in_files(
    client: FlaskClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.pages_audit.FILE", 12)
    fill(container.engine, 30)
    links = re.findall(r'href="(/audit/export\?after=\d+)">entries (\d+) to (\d+)', page(client, "/audit"))
    assert [each[1:] for each in links] == [("1", "12"), ("13", "24"), ("25", "30")]
    lines = [line for address, *_ in links for line in client.get(address, headers=BEARER).text.splitlines()]
    assert [json.loads(line)["number"] for line in lines] == list(range(1, 31))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_it_is_for_administrators_only(client: FlaskClient, container: Container, role: Role) -> None:
    secret, _ = container.access.create_token("someone", role, 1, "test")
    bearer = {"Authorization": f"Bearer {secret}", **BROWSER}
    for path in ("/audit", "/audit/export"):
        assert client.get(path, headers=bearer).status_code == 403
    assert 'href="/audit"' not in client.get("/", headers=bearer).text
    assert 'href="/audit"' in page(client, "/")


def test_a_long_log_stays_fast(client: FlaskClient, container: Container) -> None:
    fill(container.engine, 12_000)
    for path in ("/audit", "/audit?object=nothing", "/audit?until=2026-11-01T01:00&actor=alice"):
        began = time.monotonic()
        assert client.get(path, headers=BEARER).status_code == 200
        assert time.monotonic() - began < 10  # 0.3 s on an idle machine
