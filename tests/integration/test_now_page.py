"""The first page as HTML: runs by how they stand, the health of what modsync needs, the service level as it is drawn."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.adapters.board_store import SqlBoardStore
from app.adapters.shared_sums import RedisSums
from app.bootstrap import Container
from app.domain.run import Status
from app.services.standing import HostReport
from app.standing import Standing
from tests.integration.embedded import embedded_redis
from tests.integration.pages_world import page
from tests.integration.stored import Stored
from tests.integration.web_world import BEARER

GB = 1 << 30


@pytest.fixture
def stored(container: Container) -> Stored:
    made = Stored(container.engine)
    made.now = container.clock.now() - timedelta(minutes=2)
    return made


def mark(text: str, name: str) -> tuple[str, str]:
    """(state, what the page says) of one thing's health."""
    found = re.search(rf'<li class="(\w+)"><strong>{name}</strong>(.*?)</li>', text, re.DOTALL)
    assert found is not None, name
    return found[1], re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", found[2])).strip()


def own_disk(monkeypatch: pytest.MonkeyPatch, free: int, total: int) -> None:
    """This host's, in gigabytes."""
    usage = SimpleNamespace(free=free * GB, total=total * GB)
    monkeypatch.setattr("app.adapters.cache_budget.shutil.disk_usage", lambda _place: usage)


def figure(text: str, title: str) -> str:
    found = re.search(rf'<figure class="level">\s*<figcaption><strong>{title}:.*?</figure>', text, re.DOTALL)
    assert found is not None, title
    return found[0]


def test_runs_stand_below_what_they_do(client: FlaskClient, stored: Stored) -> None:
    running, blocked, failed, waiting = (stored.release(version=f"v1.0.{n}").run_id for n in range(4))
    stored.flow.claim(running, "worker-1", stored.now, 600)
    claim = stored.claim(blocked)
    stored.record(claim, Status.MIRROR, error="source_unreachable", due_at=stored.now + timedelta(minutes=9))
    stored.fail(failed)
    text = page(client, "/")
    titles = ("Running", "Waiting", "Blocked: tried again by itself", "Failed since yesterday", "Last reconcile")
    parts = [text.partition(f"<h2>{title}</h2>")[2].partition("<h2>")[0] for title in titles]
    found = [re.findall(r'class="row" href="/runs/(\w+)"', part) for part in parts]
    assert found == [[running], [waiting], [blocked], [failed], []]
    assert "source_unreachable" in parts[2]


def test_the_service_level_of_day_and_month_is_drawn(client: FlaskClient, stored: Stored) -> None:
    done, failed = (stored.release(version=f"v1.0.{n}").run_id for n in range(2))
    stored.finish(done)
    stored.fail(failed)
    text = page(client, "/")
    for title, bars in (("Last 24 hours", 24), ("Last 30 days", 30)):
        drawn = figure(text, title)
        assert "50.0 % of 2\n    releases were downloadable within 5 min" in drawn
        kinds = Counter(re.findall(r'<rect class="(\w+)" x=', drawn))
        assert kinds == {"empty": bars, "quick": 1, "failed": 1}
        assert "1 within 1 min" in drawn
        assert "1 failed" in drawn


@pytest.mark.parametrize(("free", "total", "state"), [(50, 100, "ok"), (1, 10, "bad"), (4, 100, "bad")])
def test_a_disk_that_fills_is_bad(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, free: int, total: int, state: str
) -> None:
    own_disk(monkeypatch, free, total)
    found, said = mark(page(client, "/"), "Disk")
    assert found == state
    assert re.search(r"[\d.]+ GB free of \d+ GB", said)
    assert f" on {socket.gethostname()}" in said
    assert ("Make room" in said or "Free" in said) == (state == "bad")


def marks(text: str, name: str) -> list[tuple[str, str]]:
    """(state, what the page says) of each thing of this name."""
    rows = re.findall(rf'<li class="\w+"><strong>{name}</strong>.*?</li>', text, re.DOTALL)
    return [mark(row, name) for row in rows]


@pytest.fixture
def valkey() -> Iterator[str]:
    with embedded_redis() as url:
        yield url


def test_the_fullest_disks_of_all_hosts_are_shown_and_the_api_has_all(
    client: FlaskClient, container: Container, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_disk(monkeypatch, 50, 100)
    container.__dict__["sums"] = sums = RedisSums(valkey, ())
    for number in range(4):
        sums.report(f"worker-{number}", HostReport((10 + number) * GB, 1000 * GB, GB, 0, 5 * GB, 3))
    sums.report("<b>idle", HostReport(0, 0, 0, 0))
    found = marks(page(client, "/"), "Disk")
    assert [state for state, _ in found] == ["bad"] * 5
    assert "on &lt;b&gt;idle" in found[0][1]
    assert "11 GB free of 1.1 TB on worker-0, caches take 5.4 GB" in found[1][1]
    assert "Redis" not in str(found)
    told = client.get("/api/now", headers=BEARER).get_json()["disks"]
    assert {each["host"] for each in told} == {socket.gethostname(), "<b>idle", *(f"worker-{n}" for n in range(4))}
    assert [each["host"] for each in told if not each["full"]] == [socket.gethostname()]
    assert told[1] == {
        "host": "worker-0", "free_bytes": 10 * GB, "size_bytes": 1000 * GB, "floor_bytes": GB, "cache_bytes": 5 * GB,
        "full": True,
    }  # fmt: skip


def test_while_redis_is_away_only_this_hosts_disk_is_known_and_that_is_said(client: FlaskClient) -> None:
    (own, others) = marks(page(client, "/"), "Disk")
    assert socket.gethostname() in own[1]
    assert others == ("unknown", "? unknown those of other hosts are not known while Redis does not answer")


def test_a_proxy_and_a_gitlab_that_refused_are_bad_until_they_answer(client: FlaskClient, stored: Stored) -> None:
    assert mark(page(client, "/"), "Proxy default") == (
        "unknown",
        "? unknown not checked yet: no recent run came so far",
    )
    first = stored.release(version="v1.0.0").run_id
    claim = stored.push(stored.claim(first))
    stored.record(claim, Status.FAILED, error="gitlab_unavailable")
    state, said = mark(page(client, "/"), "GitLab")
    assert (state, "gitlab_unavailable: gitlab_unavailable happened" in said) == ("bad", True)
    stored.finish(stored.release(version="v1.0.1").run_id)
    text = page(client, "/")
    assert [mark(text, name)[0] for name in ("GitLab", "Proxy default")] == ["ok", "ok"]
    assert "answered the last run that asked" in mark(text, "Proxy default")[1]


def test_days_that_are_over_are_counted_once_an_hour(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[timedelta] = []
    moment = [1000.0]
    honest = SqlBoardStore.level

    def level(self: SqlBoardStore, since: datetime, bucket: int, until: datetime | None = None) -> Any:
        asked.append((until or container.clock.now()) - since)
        return honest(self, since, bucket, until)

    monkeypatch.setattr(SqlBoardStore, "level", level)
    monkeypatch.setattr("app.services.remembered.time.monotonic", lambda: moment[0])
    standing = Standing(container)
    for later in (0, 10, 21, 3600):
        moment[0] += later
        standing.levels()
    # Thrice anew, and twice with the month's past days.
    assert len(asked) == 3 * 2 + 2
    assert sum(each == timedelta(days=28) for each in asked) == 2
