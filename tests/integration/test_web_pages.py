"""The pages without a browser: what they say when something is away, whom they show buttons, what they never do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update
from werkzeug.test import TestResponse

from app import create_app
from app.adapters.database import writing
from app.adapters.tables import releases, runs
from app.bootstrap import Container
from app.domain.access import Role
from tests.integration.web_world import BEARER, BROWSER, release, signed, write_settings

PAGES = ("/", "/releases", "/modules", "/mirrors", "/reconcile", "/deliveries", "/sources", "/replays", "/audit")


def page(client: FlaskClient, path: str, token: str = "") -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else BEARER
    return client.get(path, headers={**BROWSER, **headers})


def a_run(client: FlaskClient, **body: str) -> tuple[str, str]:
    """(run, delivery) of a release that waits for ever."""
    raw = release(**body)
    answer = client.post("/webhooks/platform", data=raw, headers=signed(raw)).get_json()
    return answer["runs"][0]["id"], answer["delivery"]


def change(container: Container, run: str, **values: object) -> None:
    """Change a run behind the application's back."""
    with writing(container.engine) as connection:
        connection.execute(update(runs).where(runs.c.id == run).values(values))


def test_without_redis_all_is_shown_and_redis_is_said_to_be_away(client: FlaskClient) -> None:
    run, _ = a_run(client)
    text = page(client, "/").text
    assert re.search(r'<li class="bad"><strong>Redis</strong>', text)
    assert f'href="/runs/{run}"' in text
    assert re.search(r'<li class="unknown"><strong>GitLab</strong>.*?not checked yet', text, re.DOTALL)


UNREADABLE = [
    "/modules?q=%00", "/mirrors?q=a%00", "/replays?code=%00", "/mirrors/%00", "/releases?q=%0A", "/modules/%00",
    "/modules/a.b/c%00", "/deliveries/d%00", "/api/deliveries/d%00",
]  # fmt: skip


def test_what_nobody_can_read_is_no_outage(database_url: str, tmp_path: Path) -> None:
    """PostgreSQL takes no text with NUL."""
    client = create_app(Container(write_settings(tmp_path, DATABASE_URL=database_url))).test_client()
    for path in UNREADABLE:
        answer = page(client, path)
        assert answer.status_code in (200, 404, 422), (path, answer.text)
        assert "Check the database" not in answer.text
    for path, form in (
        ("/deliveries/d%00/redeliver", {}),
        ("/mirrors/move-source", {"mirror": "a\0", "to": "https://git.corp.example/a.git", "reason": "x"}),
    ):
        answer = client.post(path, data=form, headers={**BROWSER, **BEARER})
        assert answer.status_code in (404, 422), (path, answer.text)


@pytest.mark.parametrize("path", ["/releases?q=a%E2%80%8Bb", "/releases?since=x%E2%80%8B", "/audit?actor=a%C2%A0b"])
def test_a_character_that_nobody_sees_is_said_beside_its_field(client: FlaskClient, path: str) -> None:
    """It was pasted: the filter is there still, to be mended."""
    answer = page(client, path)
    assert answer.status_code == 422
    assert 'class="filter' in answer.text or "<form" in answer.text
    assert "holds characters that cannot be there" in answer.text


def test_a_number_that_no_entry_has_is_the_logs_end(client: FlaskClient) -> None:
    assert page(client, "/api/audit?after=99999999999").get_json() == {"entries": []}
    assert page(client, "/audit/export?after=99999999999").text == ""


def test_without_the_database_the_first_page_says_what_to_do(client: FlaskClient, container: Container) -> None:
    database = Path(container.settings.store.url.removeprefix("sqlite:///"))
    operator, _ = container.access.create_token("does", Role.OPERATOR, 1, "test")
    container.engine.dispose()
    for each in database.parent.glob(f"{database.name}*"):
        each.unlink()
    database.write_bytes(b"this is no database, and it is longer than a header" * 10)
    answer = page(client, "/")
    assert answer.status_code == 200
    assert "Check the database" in answer.text
    assert re.search(r'<li class="bad"><strong>Database</strong>', answer.text)
    other = page(client, "/releases")
    assert (other.status_code, "Check the database" in other.text) == (503, True)
    # Whom only the database knows sees no page, and is told why and what helps.
    asked = page(client, "/releases?status=failed", operator)
    assert asked.status_code == 503
    assert 'href="/releases?status=failed">try again' in asked.text
    assert "token of the configuration needs no" in asked.text
    assert "The database is away" in asked.text


def test_a_viewer_sees_all_and_no_button_that_would_be_refused(client: FlaskClient, container: Container) -> None:
    viewer, _ = container.access.create_token("looks", Role.VIEWER, 1, "test")
    operator, _ = container.access.create_token("does", Role.OPERATOR, 1, "test")
    run, delivery = a_run(client)
    for path, action in ((f"/runs/{run}", f"/runs/{run}/cancel"), (f"/deliveries/{delivery}", "/redeliver")):
        shown = page(client, path, viewer)
        assert shown.status_code == 200
        assert action not in shown.text
        assert action in page(client, path, operator).text
    assert "Your role is viewer" in page(client, f"/runs/{run}", viewer).text


def test_only_an_administrator_is_offered_a_move(client: FlaskClient, container: Container) -> None:
    operator, _ = container.access.create_token("does", Role.OPERATOR, 1, "test")
    run, _ = a_run(client)
    change(container, run, status="rejected", active=False, error="version_moved")
    assert "accept-move" in page(client, f"/runs/{run}").text
    refused = page(client, f"/runs/{run}", operator).text
    assert "/accept-move" not in refused
    assert "Only an administrator can accept" in refused


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_anything_inline_or_from_elsewhere(client: FlaskClient, path: str) -> None:
    a_run(client)
    text = page(client, path).text
    assert not re.search(r"<script(?! src=\"/static/)", text)
    assert not re.search(r"\s(?:style|on[a-z]+)=", text)
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", text)


def test_a_module_s_page_says_that_it_has_more_versions(client: FlaskClient) -> None:
    for number in range(21):
        a_run(client, version=f"v1.{number}.0")
    path, more = (
        "/modules/go.corp.example/team/repo",
        '<a href="/releases?module=go.corp.example/team/repo">and more</a>',
    )
    shown = page(client, path).text
    assert more in shown
    assert shown.index(">v1.20.0</a>") < shown.index(">v1.9.0</a>")
    versions = shown[shown.index("<h2>Versions") : shown.index("<h2>Runs")]
    assert ">v1.0.0</a>" not in versions


def test_a_module_s_page_links_no_run_that_is_not_there(client: FlaskClient, container: Container) -> None:
    a_run(client)
    path, module = "/modules/go.corp.example/team/repo", "go.corp.example/team/repo"
    there = {"module": module, "commit": "a" * 40, "pushed_at": container.clock.now()}
    with writing(container.engine) as connection:
        connection.execute(insert(releases).values(version="v1.0.0", run_id="", **there))
        connection.execute(insert(releases).values(version="v1.1.0", run_id="r0kz3v7m2c5q8x1b4n6d", **there))
    shown = re.sub(r"\s+", " ", page(client, path).text)
    assert 'v1.0.0 <span class="quiet">adopted</span>' in shown
    assert 'v1.1.0 <span class="quiet">its run is not kept</span>' in shown
    links = set(re.findall(r'href="(/runs/\w*)"', shown))
    assert len(links) == 1
    assert all(page(client, each).status_code == 200 for each in links)


def test_what_a_source_was_warned_of_is_said(client: FlaskClient, container: Container) -> None:
    run, _ = a_run(client)
    change(container, run, facts={"warnings": [{"code": "submodules", "message": "go leaves <them> out"}]})
    assert "<code>submodules</code> go leaves &lt;them&gt; out" in page(client, f"/runs/{run}").text


def test_a_link_that_is_no_web_address_is_only_text(client: FlaskClient, container: Container) -> None:
    run, _ = a_run(client)
    facts = {
        "project": {"url": "javascript:alert(1)", "path": "x"},
        "pipeline": {"id": 1, "url": "javascript:alert(2)"},
    }
    change(container, run, facts=facts)
    assert "javascript:" not in re.sub(r"<code>.*?</code>", "", page(client, f"/runs/{run}").text)


def test_a_search_by_id_goes_to_the_run_and_a_wrong_field_is_422(client: FlaskClient) -> None:
    run, _ = a_run(client)
    found = page(client, f"/releases?q={run}-1-1")
    assert (found.status_code, found.location) == (303, f"/runs/{run}-1-1")
    wrong = page(client, "/releases?status=lost")
    assert (wrong.status_code, "none of queued" in wrong.text) == (422, True)


def test_pages_of_a_list_follow_each_other_and_keep_the_filter(client: FlaskClient) -> None:
    for patch in range(52):
        a_run(client, version=f"v1.0.{patch}")
    first = page(client, "/releases?source=platform").text
    following = re.search(r'href="(/releases\?[^"]*)" rel="next"', first)
    assert following
    second = page(client, following[1].replace("&amp;", "&")).text
    rows = [re.findall(r'class="row" href="/runs/(\w+)"', text) for text in (first, second)]
    assert [len(each) for each in rows] == [50, 2]
    assert len(set(rows[0]) | set(rows[1])) == 52
    assert "source=platform" in following[1]
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({}, "run"),
        ({"run": "nonsense"}, "run"),
        ({"run": ["r" + "0" * 19] * 51}, "run"),
        ({"reason": "x" * 501}, "run"),
    ],
)
def test_a_bulk_replay_that_names_nothing_or_too_much_is_refused(
    client: FlaskClient, form: dict[str, str], field: str
) -> None:
    answer = client.post("/replays", data=form, headers=BEARER)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (422, field)
