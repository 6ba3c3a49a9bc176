"""Every route and who may use it: this table must name each route and its role, so that none is open by mistake."""

from __future__ import annotations

import re
import zlib
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.adapters import migrate
from app.domain.access import Role, Scope
from app.web import auth, scopes
from app.web.context import EXTENSION
from tests.integration.web_world import BEARER, BROWSER, TOKEN, write_settings

OPEN, SIGNED, METRICS = "open", "signed", "metrics"
VIEWER, OPERATOR, ADMIN = Role

# rule -> by method (besides HEAD and OPTIONS), who may: from which role on, or what else opens it
CACHED = {"/setup", "/setup.sh", "/static/<path:filename>"}  # the same for everybody
ROUTES: dict[str, dict[str, str]] = {
    "/webhooks/<source>": {"POST": SIGNED},
    "/hooks/gitlab": {"POST": SIGNED},
    "/athens/validate/<secret>": {"POST": SIGNED},
    "/setup": {"GET": OPEN},
    "/setup.sh": {"GET": OPEN},
    "/healthz": {"GET": OPEN},
    "/readyz": {"GET": OPEN},
    "/login": {"GET": OPEN, "POST": OPEN},
    "/static/<path:filename>": {"GET": OPEN},
    "/metrics": {"GET": METRICS},
    "/logout": {"POST": VIEWER},
    "/": {"GET": VIEWER},
    "/live/now": {"GET": VIEWER},
    "/live/runs/<identifier>": {"GET": VIEWER},
    "/releases": {"GET": VIEWER},
    "/runs/<identifier>": {"GET": VIEWER},
    "/runs/<identifier>/replay": {"POST": OPERATOR},
    "/runs/<identifier>/cancel": {"POST": OPERATOR},
    "/runs/<identifier>/accept-move": {"POST": ADMIN},
    "/replays": {"GET": VIEWER, "POST": OPERATOR},
    "/modules": {"GET": VIEWER},
    "/modules/<path:name>": {"GET": VIEWER},
    "/mirrors": {"GET": VIEWER},
    "/mirrors/<path:name>": {"GET": VIEWER},
    "/mirrors/check": {"POST": OPERATOR},
    "/mirrors/mend": {"POST": ADMIN},
    "/mirrors/move-source": {"POST": ADMIN},
    "/reconcile": {"GET": VIEWER},
    "/pauses": {"POST": OPERATOR},
    "/pauses/resume": {"POST": OPERATOR},
    "/sources/<source>/test": {"POST": ADMIN},
    "/deliveries": {"GET": VIEWER},
    "/deliveries/<identifier>": {"GET": VIEWER},
    "/deliveries/<identifier>/redeliver": {"POST": OPERATOR},
    "/sources": {"GET": VIEWER},
    "/audit": {"GET": ADMIN},
    "/audit/export": {"GET": ADMIN},
    "/api/runs": {"GET": VIEWER},
    "/api/runs/<identifier>": {"GET": VIEWER},
    "/api/runs/<identifier>/replay": {"POST": OPERATOR},
    "/api/runs/<identifier>/cancel": {"POST": OPERATOR},
    "/api/now": {"GET": VIEWER},
    "/api/modules": {"GET": VIEWER},
    "/api/mirrors": {"GET": VIEWER},
    "/api/reconcile": {"GET": VIEWER},
    "/api/mirrors/check": {"POST": OPERATOR},
    "/api/mirrors/mend": {"POST": ADMIN},
    "/api/mirrors/move-source": {"POST": ADMIN},
    "/api/failures": {"GET": VIEWER},
    "/api/replays": {"GET": VIEWER, "POST": OPERATOR},
    "/api/sources": {"GET": VIEWER},
    "/api/sources/<source>/test": {"POST": ADMIN},
    "/api/pauses": {"GET": VIEWER, "POST": OPERATOR},
    "/api/pauses/end": {"POST": OPERATOR},
    "/api/audit": {"GET": ADMIN},
    "/api/deliveries": {"GET": VIEWER},
    "/api/deliveries/<identifier>": {"GET": VIEWER},
    "/api/deliveries/<identifier>/redeliver": {"POST": OPERATOR},
    "/api/moves": {"POST": ADMIN},
    "/api/explain": {"GET": VIEWER},
    "/api/docs": {"GET": VIEWER},
    "/openapi.json": {"GET": VIEWER},
    "/api/gitlab": {"GET": VIEWER},
    "/rq/": {"GET": VIEWER},
    "/rq/favicon.ico": {"GET": VIEWER},
    "/rq/static/<path:filename>": {"GET": VIEWER},
    "/rq/<int:instance_number>/": {"GET": VIEWER},
    "/rq/<int:instance_number>/view": {"GET": VIEWER},
    "/rq/<int:instance_number>/view/queues": {"GET": VIEWER},
    "/rq/<int:instance_number>/view/workers": {"GET": VIEWER},
    "/rq/<int:instance_number>/view/jobs": {"GET": VIEWER},
    "/rq/<int:instance_number>/view/jobs/<queue_name>/<registry_name>/<int:per_page>/<order>/<int:page>": {
        "GET": VIEWER
    },
    "/rq/<int:instance_number>/view/job/<job_id>": {"GET": VIEWER},
    "/rq/<int:instance_number>/data/queues.json": {"GET": VIEWER},
    "/rq/<int:instance_number>/data/workers.json": {"GET": VIEWER},
    "/rq/<int:instance_number>/data/job/<job_id>.json": {"GET": VIEWER},
    "/rq/<int:instance_number>/data/jobs/<queue_name>/<registry_name>/<per_page>/<order>/<page>.json": {"GET": VIEWER},
    "/rq/job/<job_id>/delete": {"POST": OPERATOR},
    "/rq/job/<job_id>/requeue": {"POST": OPERATOR},
    "/rq/requeue/<queue_name>": {"GET": VIEWER, "POST": OPERATOR},
    "/rq/queue/<queue_name>/<registry_name>/empty": {"POST": OPERATOR},
    "/rq/queue/<queue_name>/compact": {"POST": OPERATOR},
}
VALUES = {
    "source": "platform", "identifier": "r" + "0" * 19, "filename": "style.css", "instance_number": 0,
    "queue_name": "live", "registry_name": "queued", "per_page": 8, "order": "asc", "page": 1, "job_id": "some-job",
    "name": "go.corp.example/team/repo", "secret": "wrong",
}  # fmt: skip
CASES = [(rule, method, who) for rule, methods in ROUTES.items() for method, who in methods.items()]
PRIVATE = [case for case in CASES if isinstance(case[2], Role)]
CHANGES = [case for case in PRIVATE if case[1] == "POST"]
ASKING = [*PRIVATE, *(case for case in CASES if case[2] == METRICS)]
# Nothing inline, no eval, nothing from elsewhere: of every answer, the RQ dashboard's, too.
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
OWN = {"Sec-Fetch-Site": "same-origin"}
# What each scope opens, by the first part of an address; said here once more, so that a wrong group shows.
OF_SCOPE = {
    Scope.NOW: ("", "now"), Scope.RUNS: ("runs", "releases", "replays", "failures", "moves"),
    Scope.MODULES: ("modules", "explain"), Scope.DELIVERIES: ("deliveries",), Scope.METRICS: ("metrics",),
    Scope.MIRRORS: ("mirrors", "reconcile", "gitlab"), Scope.SOURCES: ("sources",), Scope.PAUSES: ("pauses",),
    Scope.AUDIT: ("audit",), Scope.QUEUE: ("rq",),
}  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    settings = write_settings(tmp_path_factory.mktemp("routes"))
    migrate.upgrade(settings.store.url)
    return create_app(settings)


@pytest.fixture(scope="module")
def tokens(app: Flask) -> dict[Role, str]:
    """An API token of each role."""
    access = app.extensions[EXTENSION].access
    return {role: access.create_token(f"a-{role}", role, 1, "cli:test")[0] for role in Role}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def path(rule: str) -> str:
    """An address of the rule, with plausible parts."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(VALUES[found[1]]), rule)


def test_the_table_is_the_whole_map(app: Flask) -> None:
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        found.setdefault(rule.rule, set()).update((rule.methods or set()) - {"HEAD", "OPTIONS"})
    assert found == {rule: set(methods) for rule, methods in ROUTES.items()}


def test_each_route_for_administrators_is_one_of_the_table(app: Flask) -> None:
    """A name that no route has guards nothing: a renamed function must not leave the set behind."""
    found = {rule.endpoint: rule.rule for rule in app.url_map.iter_rules()}
    assert {found.get(endpoint) for endpoint in auth.ADMIN} == {rule for rule, _, who in CASES if who is ADMIN}


@pytest.mark.parametrize(("rule", "method", "who"), ASKING)
def test_a_stranger_gets_nothing(client: FlaskClient, rule: str, method: str, who: str) -> None:
    for verb in (method, "OPTIONS", *(["HEAD"] if method == "GET" else [])):
        far = {"REMOTE_ADDR": "203.0.113.7"}
        answer = client.open(path(rule), method=verb, environ_overrides=far)
        redirected = answer.status_code == 308 and answer.location.endswith("/rq/")
        assert answer.status_code == 401 or redirected, verb
        wrong = {"Authorization": "Bearer wrong"}
        # Each case from an address of its own: too many wrong tokens of one address are answered 429.
        near = {"REMOTE_ADDR": str(IPv4Address(zlib.crc32(f"{rule} {method}".encode())))}
        found = client.open(path(rule), method=verb, headers=wrong, environ_overrides=near)
        assert found.status_code in (401, 308), verb


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("rule", "method", "who"), PRIVATE)
def test_a_role_is_a_bound_on_every_route(
    client: FlaskClient, tokens: dict[Role, str], rule: str, method: str, who: Role, role: Role
) -> None:
    """As a token of the API, and as a session, which is asked last: it may log itself out."""
    token = {"Authorization": f"Bearer {tokens[role]}"}
    answers = [client.open(path(rule), method=method, headers=token)]
    assert client.post("/login", data={"token": tokens[role]}).status_code == 303
    answers.append(client.open(path(rule), method=method, headers=OWN))
    for answer in answers:
        if role.may(who):
            assert answer.status_code not in (401, 403)
        else:
            assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "forbidden_role")


def test_every_route_that_asks_who_has_a_scope(app: Flask) -> None:
    """A group by the first part of the address; what opens with any scope is named one by one."""
    found = {scopes.subject(rule): scopes.scope_of(rule) for rule, _, _ in ASKING}
    assert {name for name, scope in found.items() if scope is None} == scopes.EVERY
    assert set(found.values()) - {None} == set(Scope)


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_is_a_bound_on_every_route(app: Flask, client: FlaskClient, scope: Scope) -> None:
    access = app.extensions[EXTENSION].access
    secret, _ = access.create_token(f"only-{scope}", Role.ADMIN, 1, "cli:test", scopes=[scope])
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.post("/login", data={"token": secret}).status_code == 303
    for rule, method, _ in (case for case in ASKING if case[0] != "/logout"):
        may = scopes.subject(rule) in (*scopes.EVERY, *OF_SCOPE[scope])
        for headers in (bearer, OWN):
            answer = client.open(
                path(rule), method=method, headers=headers, environ_overrides={"REMOTE_ADDR": "203.0.113.7"}
            )
            if may:
                assert answer.status_code not in (401, 403), rule
            elif answer.status_code != 308:
                assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "forbidden_scope"), rule


@pytest.mark.parametrize(("rule", "method", "who"), CHANGES)
def test_a_session_needs_our_own_pages_for_every_change(client: FlaskClient, rule: str, method: str, who: Role) -> None:
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    assert client.open(path(rule), method=method).status_code == 403
    forged = {"Sec-Fetch-Site": "cross-site"}
    assert client.open(path(rule), method=method, headers=forged).status_code == 403
    assert client.open(path(rule), method=method, headers=OWN).status_code not in (401, 403)


@pytest.mark.parametrize("headers", [BEARER, {**BEARER, **BROWSER}, {}], ids=["api", "browser", "stranger"])
@pytest.mark.parametrize(("rule", "method", "who"), CASES)
def test_no_answer_is_cached_and_each_has_its_policy(
    client: FlaskClient, rule: str, method: str, who: str, headers: dict[str, str]
) -> None:
    answer = client.open(path(rule), method=method, headers=headers)
    shared = rule in CACHED and answer.status_code == 200
    assert answer.headers.get("Cache-Control", "") == "no-store" or shared or rule.endswith("<path:filename>")
    assert answer.headers.getlist("Content-Security-Policy") == [POLICY]


@pytest.mark.parametrize(("rule", "method", "who"), [case for case in CASES if case[2] == OPEN])
def test_an_open_route_asks_for_nothing(client: FlaskClient, rule: str, method: str, who: str) -> None:
    expected = 401 if (rule, method) == ("/login", "POST") else 200  # a login without a token
    assert client.open(path(rule), method=method).status_code == expected


def test_a_webhook_is_asked_for_its_signature(client: FlaskClient) -> None:
    assert client.post("/webhooks/platform", headers=BEARER).get_json()["error"]["code"] == "bad_signature"


def test_a_pipeline_event_is_asked_for_its_signature(client: FlaskClient) -> None:
    assert client.post("/hooks/gitlab", headers=BEARER).get_json()["error"]["code"] == "bad_signature"


def test_athens_is_asked_for_the_secret_in_its_address(client: FlaskClient) -> None:
    assert client.post("/athens/validate/wrong", headers=BEARER, json={}).status_code == 403


def test_metrics_are_for_near_networks(client: FlaskClient) -> None:
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}).status_code == 200
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": "::1"}).status_code == 200
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": "203.0.113.7"}).status_code == 401
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": ""}).status_code == 401


def test_another_token_ends_the_sessions(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    migrate.upgrade(settings.store.url)
    client = create_app(settings).test_client()
    cookie = client.post("/login", data={"token": TOKEN}).headers["Set-Cookie"].partition(";")[0]
    changed = write_settings(tmp_path, ADMIN_TOKEN="another-token-for-the-admin-of-the-tests")
    for each, status in ((settings, 200), (changed, 401)):
        stranger = create_app(each).test_client(use_cookies=False)
        assert stranger.get("/api/runs", headers={"Cookie": cookie}).status_code == status


def test_making_the_application_connects_to_nothing(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    create_app(settings)
    assert [each.name for each in settings.data_dir.iterdir()] == ["secret_key"]


def test_over_https_the_cookie_is_for_https_and_this_host_only(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    migrate.upgrade(settings.store.url)
    web = settings.web.model_copy(update={"base_url": "https://modsync.corp.example"})
    client = create_app(settings.model_copy(update={"web": web})).test_client()
    cookie = client.post("/login", data={"token": TOKEN}, base_url="https://modsync.corp.example").headers["Set-Cookie"]
    assert cookie.startswith("__Host-modsync=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_a_defect_says_nothing_to_whoever_asked(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("the inside story")

    monkeypatch.setitem(app.view_functions, "health.alive", broken)
    answer = client.get("/healthz")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (500, "internal")
    assert "inside story" not in answer.text
    page = client.get("/healthz", headers=BROWSER)
    assert page.status_code == 500
    assert "inside story" not in page.text
    assert any(record.exc_info for record in caplog.records)
