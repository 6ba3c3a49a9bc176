"""`modsync now`, `failures`, `modules`, `token list`, `login-link`, `audit verify` as real processes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, insert, update

from app.adapters.database import writing
from app.adapters.tables import audit, repositories
from tests.integration.cli_world import Cli
from tests.integration.databases import sqlite_only
from tests.integration.stored import MODULE, TARGET, Stored
from tests.integration.unguarded import unguard

pytestmark = sqlite_only


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> Cli:
    return Cli(tmp_path, database_url)


@pytest.fixture
def told(stored: Stored) -> dict[str, str]:
    """A minute ago: a release that is done, one that failed at its pipeline, one that waits for its source."""
    stored.now = datetime.now(UTC) - timedelta(minutes=1)
    done, failed, blocked = (stored.release(version=f"v1.{n}.0").run_id for n in range(3))
    stored.finish(done)
    stored.fail(failed, pushed=True)
    claim = stored.claim(blocked)
    stored.record(claim, claim.run.status, error="source_unreachable", due_at=stored.now + timedelta(minutes=5))
    return {"done": done, "failed": failed, "blocked": blocked}


def row(text: str, *cells: str) -> bool:
    """True when a line of the table begins with these cells."""
    return re.search("^ *" + r"\s{2,}".join(map(re.escape, cells)), text, re.MULTILINE) is not None


def compare(engine: Engine) -> None:
    """What reconcile last found: one repository, with something for a person."""
    result = {"tags": 2, "counts": {"moved": 1}, "runs": ["r1"]}
    with writing(engine) as connection:
        values = {"mirror": TARGET.mirror, "source": "platform", "clone_url": TARGET.clone_url, "result": result}
        connection.execute(insert(repositories).values(**values, reconciled_at=datetime.now(UTC)))


def test_now_says_what_the_first_page_says(cli: Cli, told: dict[str, str], engine: Engine) -> None:
    compare(engine)
    (cli.home / "var").mkdir()
    found = cli("now")
    assert found.status == 0, found.err
    assert "runs      1 mirror, 1 done, 1 failed" in found.out
    for cells in (
        ("Database", "ok", "answers"), ("Redis", "bad", "does not answer"), ("GitLab", "ok", "answered the last run"),
        ("Proxy default", "ok", "answered the last run"), ("GitLab token", "unknown", "not checked yet"),
    ):  # fmt: skip
        assert row(found.out, *cells), found.out
    assert re.search(r"^Disk +(ok|bad) +[\d.]+ \wB free of", found.out, re.MULTILINE)
    for period in ("last 24 hours", "last 30 days"):
        assert f"{period}: 50.0 % of 2 downloadable within 5 min (1 quick, 1 open, 1 failed)" in found.out
    assert "reconcile: 1 of 1 repositories compared, the last at 2026-" in found.out
    assert f"a person is needed: {TARGET.mirror}: 1 finding\n" in found.out
    assert found.out.index("\nblocked\n") < found.out.index(told["blocked"])
    assert found.out.index("\nfailed since yesterday\n") < found.out.index(told["failed"])


def test_now_for_scripts(cli: Cli, told: dict[str, str]) -> None:
    found = cli("now", "--json").json
    assert [run["id"] for run in found["blocked"]] == [told["blocked"]]
    assert {each["name"]: each["state"] for each in found["marks"]}["Redis"] == "bad"
    assert [(each["title"], each["share"]) for each in found["levels"]] == [
        ("Last 24 hours", 0.5),
        ("Last 30 days", 0.5),
    ]
    assert found["levels"][0]["counts"] == {"quick": 1, "in_time": 0, "late": 0, "open": 1, "failed": 1}
    assert found["reconcile"]["repositories"] == 0


def test_failures_are_counted_with_their_advice(cli: Cli, told: dict[str, str]) -> None:
    assert re.search(r"^pipeline_failed +1 +Read the pipeline's log", cli("failures").out, re.MULTILINE)
    assert cli("failures", "--json").json == [{"code": "pipeline_failed", "runs": 1}]
    assert cli("failures", "--since", "1s").out == "no run failed in that time\n"


def test_modules_are_listed_a_page_at_a_time(cli: Cli, told: dict[str, str], stored: Stored) -> None:
    other = "go.corp.example/platform/other"
    stored.release(module=other)
    first = cli("modules", "--limit", "1").out
    assert re.search(rf"^{re.escape(MODULE)} +mirror +v1\.2\.0 +\S+ \S+ +3 +2 *$", first, re.MULTILINE)
    assert first.endswith(f"there are more: --after {MODULE}\n")
    rest = cli("modules", "--after", MODULE, "--json").json
    assert ([each["module"] for each in rest["items"]], rest["next"]) == ([other], None)
    assert cli("modules", "nowhere").out == "no modules\n"


def test_tokens_are_listed_in_the_readers_zone(cli: Cli) -> None:
    made = cli("token", "create", "grafana", "--days", "2", "--json").json
    assert cli("token", "revoke", "grafana").status == 0
    ends = datetime.fromisoformat(made["expires_at"])
    for zone, hours in (("UTC", 0), ("Etc/GMT-5", 5)):
        listed = cli("token", "list", TZ=zone).out
        until = ends + timedelta(hours=hours)
        assert row(listed, made["id"], "grafana", "viewer", "all", "cli:"), listed
        assert f"{until:%Y-%m-%d %H:%M:%S}" in listed
        assert "never" in listed
    (kept,) = cli("token", "list", "--json").json
    assert (kept["name"], kept["revoked_at"] is None, "token" in kept) == ("grafana", False, False)


def test_a_token_is_limited_to_scopes(cli: Cli) -> None:
    made = cli(
        "token", "create", "prometheus", "--scope", "metrics", "--scope", "now", "--reason", "INC-1", "--json"
    ).json
    assert made["scopes"] == ["metrics", "now"]
    assert row(cli("token", "list").out, made["id"], "prometheus", "viewer", "metrics now", "cli:")
    (entry,) = map(json.loads, cli("audit", "export").out.splitlines())
    assert (entry["reason"], entry["after"]["scopes"]) == ("INC-1", ["metrics", "now"])
    assert cli("token", "create", "x", "--scope", "nothing").status == 2
    taken = cli("token", "create", "prometheus")
    assert (taken.status, taken.out, taken.err.startswith("error: name_taken: ")) == (1, "", True)


def test_a_login_link_is_an_address_of_this_modsync(cli: Cli) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:8080/login\?link=msl_\S{20,}\n", cli("login-link", "alice").out)
    (entry,) = cli("audit", "export").out.splitlines()
    assert '"action": "link.create"' in entry
    assert '"role": "operator"' in entry


def test_a_changed_audit_log_is_status_1(cli: Cli, engine: Engine) -> None:
    for name in ("one", "two", "three"):
        cli("token", "create", name)
    whole = cli("audit", "verify")
    assert whole.status == 0
    kept = re.fullmatch(r"3 entries, nothing changed\nkeep this: (3:[0-9a-f]{64})\n", whole.out)
    assert kept
    assert cli("audit", "verify", "--expect", kept[1]).status == 0
    assert cli("audit", "verify", "--expect", "3").err.startswith("error: bad_request: ")
    with writing(engine) as connection:
        unguard(connection)
        connection.execute(delete(audit).where(audit.c.number == 3))
    assert cli("audit", "verify").status == 0
    cut = cli("audit", "verify", "--expect", kept[1])
    assert (cut.status, "entry 3, which was kept, is gone" in cut.out) == (1, True)
    with writing(engine) as connection:
        unguard(connection)
        connection.execute(update(audit).where(audit.c.number == 2).values(actor="nobody"))
    changed = cli("audit", "verify")
    assert (changed.status, changed.err) == (1, "")
    assert changed.out.startswith("the audit log is not intact: ")
    assert "1 entries before it are right" in changed.out
    told = cli("audit", "verify", "--json")
    assert (told.status, told.json["entries"]) == (1, 1)
    assert told.json["fault"]
