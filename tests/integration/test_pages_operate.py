"""What people do on the pages beside runs: test a source, pause and resume."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from app.adapters.database import writing
from app.adapters.tables import runs
from app.bootstrap import Container
from app.domain.access import Role
from tests.integration.pages_world import (
    MIRROR,
    SAMPLE,
    SCHEMES,
    audited,
    page,
    post,
    rows,
    token,
    words,
)
from tests.integration.web_world import (
    BEARER,
    ENVIRONMENT,
    release,
    signed,
)


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
