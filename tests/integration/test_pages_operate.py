"""What people do on the pages beside runs: test a source, pause and resume, look after mirrors, read what reconcile found."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, insert, select, update
from werkzeug.test import TestResponse

from app import create_app
from app.adapters import migrate
from app.adapters.database import reading, writing
from app.adapters.tables import deliveries, mirrors, releases, repositories, runs
from app.bootstrap import Container
from app.config import load_settings
from app.domain.access import Role
from app.web import pages_mirrors
from tests.integration.gitlab_helpers import connect
from tests.integration.web_world import (
    BEARER,
    BODY_LIMIT,
    BROWSER,
    CONFIG,
    ENVIRONMENT,
    free_port,
    release,
    signed,
    write_settings,
)
from tests.sandbox.gitlab import GitLab

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MIRROR = "go-mirrors/team/repo"
SCHEMES = ("github", "gitea", "forgejo", "gitlab-token", "standard-webhooks", "artifactory")
SOURCES = "".join(
    f'[[sources]]\nname = "{each}"\nscheme = "{each}"\nallow = ["https://git.corp.example/**"]\n'
    f'secrets = [{{ id = "new", env = "HOOK_SECRET" }}, {{ id = "old", env = "ADMIN_TOKEN" }}]\nprereleases = false\n'
    for each in SCHEMES
)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    settings = write_settings(tmp_path, more=SOURCES)
    migrate.upgrade(settings.store.url)
    return Container(settings)


@pytest.fixture
def client(container: Container) -> FlaskClient:
    return create_app(container).test_client()


def post(client: FlaskClient, path: str, token: str = "", **form: str) -> TestResponse:
    bearer = {"Authorization": f"Bearer {token}"} if token else BEARER
    return client.post(path, data=form, headers={**BROWSER, **bearer})


def page(client: FlaskClient, path: str, token: str = "") -> str:
    bearer = {"Authorization": f"Bearer {token}"} if token else BEARER
    return client.get(path, headers={**BROWSER, **bearer}).text


def words(answer: TestResponse) -> str:
    """The page's text without markup."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text)))


def rows(container: Container) -> list[int]:
    with reading(container.engine) as connection:
        return [
            connection.execute(select(func.count()).select_from(each)).scalar_one()
            for each in (deliveries, runs, releases)
        ]


def audited(container: Container, action: str) -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    return [
        (each.actor, each.object, each.reason, dict(each.before), dict(each.after))
        for each in container.audit.entries() if each.action == action
    ]  # fmt: skip


def token(container: Container, role: Role) -> str:
    return container.access.create_token(f"a-{role}", role, 1, "test")[0]


SAMPLE = {"module": "go.corp.example/team/repo", "version": "v1.2.3"}


@pytest.mark.parametrize("source", ["platform", *SCHEMES])
def test_a_test_delivery_goes_through_intake_and_leaves_nothing(
    client: FlaskClient, container: Container, source: str
) -> None:
    before = rows(container)
    said = words(post(client, f"/sources/{source}/test", **SAMPLE))
    assert "A new run would begin (202)." in said
    assert "understood as go.corp.example/team/repo@v1.2.3" in said
    assert "to the mirror go-mirrors/team/repo and the proxy default" in said
    names = ["one"] if source == "platform" else ["new", "old"]
    assert all(f"secret {name} : signs, and the signature is found right" in said for name in names)
    assert rows(container) == before
    assert not list(container.audit.entries()) or audited(container, "source.test") == [
        (
            "api:admin",
            f"source:{source}",
            "",
            {},
            {"verdict": "accepted", "release": "go.corp.example/team/repo@v1.2.3"},
        )
    ]
    assert len(audited(container, "source.test")) == 1
    assert not any(secret in said for secret in ENVIRONMENT.values())


@pytest.mark.parametrize(
    ("source", "form", "verdict", "said"),
    [
        ("github", {"version": "v1.3.0-rc.1"}, "ignored", "is a prerelease, which this source's policy leaves out"),
        ("platform", {"version": "v1.2.3"}, "known", "known already at commit aaaaaaaaaaaa"),
        (
            "platform",
            {"version": "v1.2.3", "commit": "b" * 40},
            "rejected",
            "a run would be rejected with version_moved",
        ),
        ("platform", {"repo_url": "https://elsewhere.example/x.git"}, "accepted", "would begin"),  # the rule's URL wins
        ("platform", {"commit": "not hex"}, "refused", "commit"),
    ],
)
def test_what_a_test_would_come_to(
    client: FlaskClient, container: Container, source: str, form: dict[str, str], verdict: str, said: str
) -> None:
    raw = release(version="v1.2.3")
    assert client.post("/webhooks/platform", data=raw, headers=signed(raw)).status_code == 202
    before = rows(container)
    answer = post(client, f"/sources/{source}/test", **{**SAMPLE, "version": "v1.4.0", **form})
    assert f"{verdict}." in words(answer)
    assert said in words(answer)
    assert rows(container) == before


@pytest.mark.parametrize(
    ("form", "field"),
    [({"module": "not a path"}, "module"), ({"version": "1.0"}, "version"), ({"module": "else.example/x"}, "module")],
)
def test_a_test_that_cannot_be_made_names_the_field(client: FlaskClient, form: dict[str, str], field: str) -> None:
    answer = client.post("/sources/platform/test", data={**SAMPLE, **form}, headers=BEARER)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (422, field)
    assert client.post("/sources/nobody/test", data=SAMPLE, headers=BEARER).status_code == 404


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_an_administrator_tests_sources_and_mends_mirrors(
    client: FlaskClient, container: Container, role: Role
) -> None:
    secret = token(container, role)
    assert post(client, "/sources/platform/test", secret, **SAMPLE).status_code == 403
    assert post(client, "/mirrors/mend", secret, mirror=MIRROR).status_code == 403
    assert "/sources/platform/test" not in page(client, "/sources", secret)
    assert "/sources/platform/test" in page(client, "/sources")


def test_a_pause_is_shown_with_whose_and_why_and_an_operator_ends_it(client: FlaskClient, container: Container) -> None:
    operator, viewer = token(container, Role.OPERATOR), token(container, Role.VIEWER)
    asked = {"kind": "module", "value": "go.corp.example/team/*", "reason": "GitLab <is> upgraded"}
    assert post(client, "/pauses", viewer, **asked).status_code == 403
    done = post(client, "/pauses", operator, **asked)
    assert (done.status_code, done.location) == (303, "/#now-held")
    shown = page(client, "/", viewer)
    assert re.search(
        r"module go\.corp\.example/team/\*</strong> since .* by api:a-operator: <q>GitLab &lt;is&gt; upgraded", shown
    )
    assert "/pauses/resume" not in shown
    assert "/pauses/resume" in page(client, "/", operator)
    assert post(client, "/pauses/resume", viewer, **asked).status_code == 403
    assert post(client, "/pauses/resume", operator, **asked).status_code == 303
    assert "Nothing is paused" in page(client, "/", viewer)
    assert post(client, "/pauses/resume", operator, **asked).status_code == 404
    assert [each[:3] for each in audited(container, "pause")] == [
        ("api:a-operator", "pause:module go.corp.example/team/*", "GitLab <is> upgraded")
    ]
    assert len(audited(container, "resume")) == 1


def test_runs_that_wait_for_a_pause_are_counted(client: FlaskClient, container: Container) -> None:
    raw = release()
    run = client.post("/webhooks/platform", data=raw, headers=signed(raw)).get_json()["runs"][0]["id"]
    post(client, "/pauses", kind="all")
    with writing(container.engine) as connection:
        connection.execute(update(runs).where(runs.c.id == run).values(error="paused", status="mirror"))
    assert "Paused: 1 run waits" in page(client, "/")


@pytest.mark.parametrize("form", [{}, {"kind": "nonsense"}, {"kind": "module"}, {"kind": "all", "value": "x"}])
def test_a_pause_of_nothing_is_refused(client: FlaskClient, form: dict[str, str]) -> None:
    assert client.post("/pauses", data=form, headers=BEARER).status_code == 422


def a_mirror(container: Container, path: str = MIRROR) -> None:
    values = {"path": path, "project_id": 1, "web_url": "https://gitlab.corp.example/x", "updated_at": NOW}
    with writing(container.engine) as connection:
        connection.execute(insert(mirrors).values(values))


def compared(container: Container, mirror: str, **more: object) -> None:
    row = {"mirror": mirror, "source": "platform", "clone_url": "https://git.corp.example/x.git", "result": {}}
    with writing(container.engine) as connection:
        connection.execute(insert(repositories).values({**row, **more}))


FOUND = {
    "tags": 7, "counts": {"missing_in_mirror": 2, "moved": 1}, "runs": ["r1", "r2"], "adopted": 0, "error": None,
    "findings": [{
        "finding": "moved", "module": "go.corp.example/team/repo", "version": "v1.2.3", "tag": "v1.2.3",
        "commit": "a" * 40, "detail": "released at <aaaa>",
    }],
}  # fmt: skip


def test_what_reconcile_found_is_on_the_first_page_and_the_mirrors(client: FlaskClient, container: Container) -> None:
    compared(container, MIRROR, reconciled_at=NOW, result=FOUND)
    compared(container, "go-mirrors/a/good", reconciled_at=NOW, result={"tags": 3})
    away = {"code": "git_failed", "message": "no answer"}
    compared(container, "go-mirrors/b/away", error="git_failed", result={"error": away})
    compared(container, "go-mirrors/c/never")
    now = re.sub(r"\s+", " ", page(client, "/"))
    assert "2 of 4 repositories were compared" in now
    assert "2 missing in mirror, 1 moved, 2 runs begun" in now
    assert "1 could not be asked" in now
    assert f'href="/mirrors/{MIRROR}"' in now
    text = page(client, f"/mirrors/{MIRROR}")
    assert "7 version tags at the source" in text
    assert "released at &lt;aaaa&gt;" in text
    assert "no answer" in page(client, "/mirrors/go-mirrors/b/away")
    assert "All is well" in page(client, "/mirrors/go-mirrors/a/good")
    listed = re.findall(r'class="row" href="/mirrors/([^"]*)"', page(client, "/reconcile"))
    assert listed == ["go-mirrors/a/good", "go-mirrors/b/away", "go-mirrors/c/never", MIRROR]
    people = re.findall(r'class="row" href="/mirrors/([^"]*)"', page(client, "/reconcile?people=1"))
    assert people == ["go-mirrors/b/away", MIRROR]


def test_the_list_of_repositories_goes_on(
    client: FlaskClient, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.pages_mirrors.PAGE", 2)
    monkeypatch.setattr("app.adapters.reconciled_reads._WINDOW", 3)
    for number in range(5):
        bad = {"reconciled_at": NOW, "result": FOUND} if number in (0, 4) else {}
        compared(container, f"m/{number}", **bad)
    for path, expected in (("/reconcile", list(range(5))), ("/reconcile?people=1", [0, 4])):
        found, following = [], path
        while following:
            text = page(client, following)
            found += re.findall(r'class="row" href="/mirrors/m/(\d)"', text)
            more = re.search(r'href="([^"]*)" rel="next"', text)
            following = more[1].replace("&amp;", "&") if more else ""
        assert [int(each) for each in found] == expected


def test_a_mirror_that_nobody_knows_is_not_found(client: FlaskClient) -> None:
    assert client.get("/mirrors/no/such", headers=BEARER).status_code == 404
    for path in ("/mirrors/check", "/mirrors/mend"):
        assert client.post(path, data={"mirror": "no/such"}, headers=BEARER).status_code == 404


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("go-mirrors")
        connect(server).ensure_project(MIRROR)
        yield server


def place(directory: Path, url: str, gitlab_token: str) -> Container:
    """modsync with this GitLab, and one mirror there."""
    text = CONFIG.format(port=8080, limit=BODY_LIMIT).replace("https://gitlab.corp.example", url)
    (directory / "modsync.toml").write_text(f"{text}[sandbox]\nenabled = true\n")
    settings = load_settings(directory / "modsync.toml", {**ENVIRONMENT, "GITLAB_TOKEN": gitlab_token})
    migrate.upgrade(settings.store.url)
    made = Container(settings)
    a_mirror(made)
    return made


def test_drift_is_named_and_mended_and_the_audit_log_keeps_it(tmp_path: Path, gitlab: GitLab) -> None:
    container = place(tmp_path, gitlab.url, gitlab.create_token())
    client = create_app(container).test_client()
    operator = token(container, Role.OPERATOR)
    assert "As modsync set it up" in words(post(client, "/mirrors/check", operator, mirror=MIRROR))
    gitlab.project(MIRROR).protected_tags.pop("*/v*")
    found = post(client, "/mirrors/check", operator, mirror=MIRROR)
    assert "protected tags */v* : not protected, wanted created by maintainers" in words(found)
    assert "/mirrors/mend" not in found.text
    assert "/mirrors/mend" in post(client, "/mirrors/check", mirror=MIRROR).text
    assert "*/v*" not in gitlab.project(MIRROR).protected_tags
    done = post(client, "/mirrors/mend", mirror=MIRROR, reason="somebody was too quick")
    assert "protected tags */v* was not protected, is created by maintainers" in words(done)
    assert "*/v*" in gitlab.project(MIRROR).protected_tags
    what = "protected tags */v*"
    assert audited(container, "mirror.mend") == [
        (
            "api:admin",
            f"mirror:{MIRROR}",
            "somebody was too quick",
            {what: "not protected"},
            {what: "created by maintainers"},
        )
    ]
    post(client, "/mirrors/mend", mirror=MIRROR)  # there is nothing to mend, and nothing to keep
    assert len(audited(container, "mirror.mend")) == 1


def test_a_gitlab_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    container = place(tmp_path, f"http://127.0.0.1:{free_port()}", "glpat-x")
    client = create_app(container).test_client()
    answer = post(client, "/mirrors/check", mirror=MIRROR)
    assert answer.status_code == 200
    assert "GitLab could not be asked:" in words(answer)
    assert "Check that GitLab answers" in words(answer)
    assert "glpat-x" not in answer.text


def test_few_ask_gitlab_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = place(tmp_path, f"http://127.0.0.1:{free_port()}", "glpat-x")
    client = create_app(container).test_client()
    with pages_mirrors._turn(), pages_mirrors._turn():
        answer = client.post("/mirrors/check", data={"mirror": MIRROR}, headers=BEARER)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "busy")
    assert client.post("/mirrors/check", data={"mirror": MIRROR}, headers=BEARER).status_code == 200


def test_a_token_that_ends_soon_is_said_on_the_first_page(client: FlaskClient, container: Container) -> None:
    container.access.create_token("grafana", Role.VIEWER, 90, "test")
    assert "grafana" not in page(client, "/")
    with writing(container.engine) as connection:
        connection.exec_driver_sql("UPDATE credentials SET created_at = '2026-01-01 00:00:00.000000'")
        connection.exec_driver_sql(
            "UPDATE credentials SET expires_at = datetime('now', '+3 days') || '.000000' WHERE name = 'grafana'"
        )
    assert re.search(r"API token</strong>.*grafana \(viewer\) ends on", page(client, "/"), re.DOTALL)
