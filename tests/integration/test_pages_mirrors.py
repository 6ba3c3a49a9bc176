"""The pages about mirrors: what reconcile found, drift that is named and mended, a GitLab that is away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert

from app import create_app
from app.adapters import migrate
from app.adapters.database import writing
from app.adapters.tables import mirrors, repositories
from app.bootstrap import Container
from app.config import load_settings
from app.domain.access import Role
from app.domain.run import Status
from app.web.mirror_turns import turn
from tests.integration.gitlab_helpers import connect
from tests.integration.pages_world import MIRROR, NOW, audited, page, post, token, words
from tests.integration.stored import TARGET, Stored
from tests.integration.web_world import (
    BEARER,
    BODY_LIMIT,
    CONFIG,
    ENVIRONMENT,
    free_port,
)
from tests.sandbox.gitlab import GitLab


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
    for path in ("/mirrors/check", "/mirrors/mend", "/mirrors/move-source"):
        form = {"mirror": "no/such", "to": "https://git.corp.example/x", "reason": "why"}
        assert client.post(path, data=form, headers=BEARER).status_code == 404


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


def test_a_mirror_says_what_it_is_of_and_who_may_move_it(client: FlaskClient, container: Container) -> None:
    a_mirror(container)
    here, there = "https://git.corp.example/team/repo", "https://git2.corp.example/team/repo.git"
    assert "the repository of the next release" in page(client, f"/mirrors/{MIRROR}")
    form = {"mirror": MIRROR, "to": here, "reason": "first"}
    for role in (Role.VIEWER, Role.OPERATOR):
        found = page(client, f"/mirrors/{MIRROR}?to={there}", token(container, role))
        assert ("/mirrors/move-source" in found, "An administrator can say here" in found) == (False, True)
    answer = post(client, "/mirrors/move-source", **form)
    assert (answer.status_code, answer.location) == (303, f"/mirrors/{MIRROR}")
    for path in (f"/mirrors/{MIRROR}", "/mirrors"):
        assert here in page(client, path)
    shown = page(client, f"/mirrors/{MIRROR}?to={there}")
    assert '<details id="move-source" open>' in shown
    assert f'value="{there}"' in shown
    again = post(client, "/mirrors/move-source", **form)
    assert (again.status_code, "is of https://git.corp.example/team/repo already" in words(again)) == (422, True)
    (entry,) = audited(container, "mirror.source")
    assert entry == ("api:admin", f"mirror:{MIRROR}", "first", {"source": ""}, {"source": here})


def test_a_rejected_run_leads_to_the_mirrors_page(client: FlaskClient, container: Container) -> None:
    stored = Stored(container.engine)
    run = stored.release().run_id
    stored.record(stored.claim(run), Status.REJECTED, error="mirror_of_another")
    found = page(client, f"/runs/{run}")
    link = f"/mirrors/{TARGET.mirror}?to={quote(TARGET.clone_url, safe='/')}#move-source"
    assert link in found
    assert f'action="/runs/{run}/replay"' in found


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
    with turn(), turn():
        answer = client.post("/mirrors/check", data={"mirror": MIRROR}, headers=BEARER)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "busy")
        answer = client.post("/api/mirrors/check", json={"mirror": MIRROR}, headers=BEARER)
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
