"""The API and the overview over real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.integration.web_world import BEARER, BROWSER, Answer, WebWorld, release, running


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("web"))


def replay(web: WebWorld, identifier: str, order: object = None) -> Answer:
    raw = b"" if order is None else json.dumps(order).encode()
    return web.ask("POST", f"/api/runs/{identifier}/replay", raw, BEARER)


def test_runs_are_listed_newest_first_in_pages_that_miss_nothing(web: WebWorld) -> None:
    made = [web.deliver(release("go.corp.example/pages/one", f"v1.0.{n}")).json["runs"][0]["id"] for n in range(5)]
    seen, path = [], "/api/runs?module=go.corp.example/pages/one&limit=2"
    sizes = []
    while path:
        page = web.get(path).json
        seen += [run["id"] for run in page["runs"]]
        sizes.append(len(page["runs"]))
        following = page["links"]["next"]
        path = urlsplit(following)._replace(scheme="", netloc="").geturl() if following else ""
    assert seen == made[::-1]
    assert sizes == [2, 2, 1]


def test_filters_choose(web: WebWorld) -> None:
    run = web.deliver(release("go.corp.example/filters/one", "v1.0.0", commit_id="b" * 40)).json["runs"][0]["id"]
    web.deliver(release("go.corp.example/filters/two", "v1.0.0"))
    for query in ("commit=bbbbbbb", "module=go.corp.example/filters/one", f"q={run}-1-1", f"q={run}"):
        assert [each["id"] for each in web.get(f"/api/runs?{query}").json["runs"]] == [run], query
    assert run in {each["id"] for each in web.get("/api/runs?status=queued&source=platform&since=1h").json["runs"]}
    assert web.get("/api/runs?source=another").json == {"runs": [], "next_cursor": None, "links": {"next": None}}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("limit=%C2%B2", "limit"),
        ("cursor=nonsense", "cursor"),
        ("status=lost", "status"),
        ("since=yesterday", "since"),
        ("commit=xyz", "commit"),
        ("modul=x", "modul"),
        ("module=a&module=b", "module"),
    ],
)
def test_a_wrong_parameter_is_named(web: WebWorld, query: str, field: str) -> None:
    answer = web.get(f"/api/runs?{query}")
    assert (answer.status, answer.json["error"]["code"], answer.json["error"]["field"]) == (422, "bad_request", field)


def test_one_run_with_its_attempts_by_run_and_by_job_id(web: WebWorld) -> None:
    run = web.deliver(release(version="v1.20.0")).json["runs"][0]["id"]
    by_run, by_job = (web.get(f"/api/runs/{name}").json for name in (run, f"{run}-1-1"))
    assert by_run == by_job
    assert (by_run["id"], by_run["status"], by_run["module"]) == (run, "queued", "go.corp.example/team/repo")
    assert [(each["number"], each["jobs"]) for each in by_run["attempts"]] == [(1, [f"{run}-1-1"])]
    assert by_run["links"]["replay"] == f"{web.settings.web.base_url}/api/runs/{run}/replay"


@pytest.mark.parametrize("identifier", ["r" + "0" * 19, "nonsense", "r" + "0" * 19 + "-1-1"])
def test_an_unknown_id_is_404(web: WebWorld, identifier: str) -> None:
    for answer in (web.get(f"/api/runs/{identifier}"), replay(web, identifier)):
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


def test_a_replay_by_job_id_is_a_new_attempt_with_who_and_why(web: WebWorld) -> None:
    run, job = web.failed_run("v1.21.0")
    answer = replay(web, job, {"from": "mirror", "reason": "the runner is back"})
    assert answer.status == 202
    assert (answer.json["run"], answer.json["attempt"], answer.json["job"]) == (run, 2, f"{run}-2-1")
    attempt = web.get(f"/api/runs/{run}").json["attempts"][1]
    assert (attempt["kind"], attempt["from_stage"]) == ("replay", "mirror")
    assert (attempt["actor"], attempt["reason"]) == ("api:admin", "the runner is back")


def test_two_replays_at_the_same_moment_make_one_attempt(web: WebWorld) -> None:
    run, job = web.failed_run("v1.22.0")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: replay(web, job), range(8)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 7
    assert {answer.json["error"]["code"] for answer in answers if answer.status == 409} == {"still_running"}
    assert len(web.get(f"/api/runs/{run}").json["attempts"]) == 2


def test_a_run_that_has_ended_is_not_cancelled(web: WebWorld) -> None:
    run, _ = web.failed_run("v1.24.0")
    refused = web.ask("POST", f"/api/runs/{run}/cancel", headers=BEARER)
    assert (refused.status, refused.json["error"]["code"]) == (409, "already_ended")


def test_a_done_run_is_replayed_by_force_only(web: WebWorld) -> None:
    run, _ = web.failed_run("v1.23.0")
    web.change(f"UPDATE runs SET status = 'done', error = NULL WHERE id = '{run}'")
    refused = replay(web, run)
    assert (refused.status, refused.json["error"]["code"]) == (409, "already_done")
    assert replay(web, run, {"force": True}).status == 202


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"form": "mirror"}, "form"),
        ({"from": "deploy"}, "from"),
        ({"from": 1}, "from"),
        ({"reason": 1}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"reason": "\0"}, "reason"),
        ({"force": "yes"}, "force"),
        (["mirror"], "body"),
    ],
)
def test_a_wrong_replay_order_names_the_field(web: WebWorld, order: object, field: str) -> None:
    answer = replay(web, "r" + "0" * 19, order)
    assert (answer.status, answer.json["error"]["field"]) == (422, field)


def test_a_huge_replay_order_is_413(web: WebWorld) -> None:
    assert replay(web, "r" + "0" * 19, {"reason": "x" * 70_000}).status == 413


def test_explain_says_where_a_module_goes(web: WebWorld) -> None:
    answer = web.get("/api/explain?module=go.corp.example/team/thing&version=v1.0.0").json
    (route,) = answer["routes"]
    assert (route["target"]["mirror"], route["tag"]) == ("go-mirrors/team/thing", "v1.0.0")
    missing = web.get("/api/explain")
    assert (missing.status, missing.json["error"]["field"]) == (422, "module")


def test_the_overview_shows_counts_and_runs_and_escapes_what_senders_say(web: WebWorld) -> None:
    run, _ = web.failed_run("v1.24.0")
    page = web.ask("GET", "/", headers={**web.cookie(), **BROWSER})
    assert page.status == 200
    assert 'href="/rq/"' in page.text
    own = web.ask("GET", f"/runs/{run}", headers={**web.cookie(), **BROWSER})
    assert "&lt;script&gt;alert(1)" in own.text
    for text in (page.text, own.text):
        assert not re.search(r"<script(?! src=\"/static/)", text)


def test_metrics_count_over_all_processes_and_read_the_present(web: WebWorld) -> None:
    def value(name: str) -> float:
        lines = web.ask("GET", "/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    before = value('modsync_deliveries_total{source="platform",verdict="accepted"}')
    for patch in range(20):
        assert web.deliver(release("go.corp.example/metrics/one", f"v1.0.{patch}")).status == 202
    # Two processes answered: what both counted is in every scrape, whichever answers it.
    assert {value('modsync_deliveries_total{source="platform",verdict="accepted"}') for _ in range(10)} == {before + 20}
    assert value('modsync_runs{status="queued"}') >= 20
    assert value("modsync_queue_depth") >= 20
    assert (value("modsync_database_up"), value("modsync_redis_up")) == (1, 1)


def test_what_alerts_take_the_rate_of_begins_at_0(web: WebWorld) -> None:
    """A series that begins with a burst has none, for Prometheus."""
    lines = web.ask("GET", "/metrics").text.splitlines()
    for source in (*(each.name for each in web.settings.sources), "unknown"):
        for reason in ("missing", "malformed", "mismatch"):
            labels = f'reason="{reason}",source="{source}"'
            assert any(line.startswith(f"modsync_refusals_total{{{labels}}} ") for line in lines), labels
        for verdict in ("busy", "store_unavailable", "source_rate_limited"):
            labels = f'source="{source}",verdict="{verdict}"'
            assert any(line.startswith(f"modsync_deliveries_total{{{labels}}} ") for line in lines), labels
    for lane in ("live", "backfill"):
        assert f'modsync_downloadable_seconds_bucket{{lane="{lane}",le="300.0"}} 0.0' in lines
        assert f'modsync_downloadable_seconds_count{{lane="{lane}"}} 0.0' in lines
        for status in ("done", "failed", "rejected"):
            assert f'modsync_runs_ended_total{{lane="{lane}",status="{status}"}} 0.0' in lines


def test_metrics_through_a_proxy_need_the_token(web: WebWorld) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    assert web.ask("GET", "/metrics").status == 200
    assert web.ask("GET", "/metrics", headers=forwarded).status == 401
    assert web.get("/metrics", **forwarded).status == 200
