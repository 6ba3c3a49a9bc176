"""Every route and who may use it: this table must name each route, so that a new one cannot be open by mistake."""

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
from tests.integration.web_world import BEARER, BROWSER, TOKEN, write_settings

OPEN, SIGNED, METRICS, PRIVATE = "open", "signed", "metrics", "private"

# rule -> (methods besides HEAD and OPTIONS, who may)
ROUTES: dict[str, tuple[str, str]] = {
    "/webhooks/<source>": ("POST", SIGNED),
    "/hooks/gitlab": ("POST", SIGNED),
    "/athens/validate/<secret>": ("POST", SIGNED),
    "/setup": ("GET", OPEN),
    "/setup.sh": ("GET", OPEN),
    "/healthz": ("GET", OPEN),
    "/readyz": ("GET", OPEN),
    "/login": ("GET POST", OPEN),
    "/static/<path:filename>": ("GET", OPEN),
    "/metrics": ("GET", METRICS),
    "/logout": ("POST", PRIVATE),
    "/": ("GET", PRIVATE),
    "/live/now": ("GET", PRIVATE),
    "/live/runs/<identifier>": ("GET", PRIVATE),
    "/releases": ("GET", PRIVATE),
    "/runs/<identifier>": ("GET", PRIVATE),
    "/runs/<identifier>/replay": ("POST", PRIVATE),
    "/runs/<identifier>/cancel": ("POST", PRIVATE),
    "/runs/<identifier>/accept-move": ("POST", PRIVATE),
    "/replays": ("GET POST", PRIVATE),
    "/modules": ("GET", PRIVATE),
    "/modules/<path:name>": ("GET", PRIVATE),
    "/mirrors": ("GET", PRIVATE),
    "/mirrors/<path:name>": ("GET", PRIVATE),
    "/mirrors/check": ("POST", PRIVATE),
    "/mirrors/mend": ("POST", PRIVATE),
    "/reconcile": ("GET", PRIVATE),
    "/pauses": ("POST", PRIVATE),
    "/pauses/resume": ("POST", PRIVATE),
    "/sources/<source>/test": ("POST", PRIVATE),
    "/deliveries": ("GET", PRIVATE),
    "/deliveries/<identifier>": ("GET", PRIVATE),
    "/deliveries/<identifier>/redeliver": ("POST", PRIVATE),
    "/sources": ("GET", PRIVATE),
    "/audit": ("GET", PRIVATE),
    "/audit/export": ("GET", PRIVATE),
    "/api/runs": ("GET", PRIVATE),
    "/api/runs/<identifier>": ("GET", PRIVATE),
    "/api/runs/<identifier>/replay": ("POST", PRIVATE),
    "/api/runs/<identifier>/cancel": ("POST", PRIVATE),
    "/api/now": ("GET", PRIVATE),
    "/api/modules": ("GET", PRIVATE),
    "/api/mirrors": ("GET", PRIVATE),
    "/api/mirrors/check": ("POST", PRIVATE),
    "/api/mirrors/mend": ("POST", PRIVATE),
    "/api/failures": ("GET", PRIVATE),
    "/api/replays": ("GET POST", PRIVATE),
    "/api/sources": ("GET", PRIVATE),
    "/api/sources/<source>/test": ("POST", PRIVATE),
    "/api/pauses": ("GET POST", PRIVATE),
    "/api/pauses/end": ("POST", PRIVATE),
    "/api/audit": ("GET", PRIVATE),
    "/api/deliveries": ("GET", PRIVATE),
    "/api/deliveries/<identifier>": ("GET", PRIVATE),
    "/api/deliveries/<identifier>/redeliver": ("POST", PRIVATE),
    "/api/moves": ("POST", PRIVATE),
    "/api/explain": ("GET", PRIVATE),
    "/api/docs": ("GET", PRIVATE),
    "/openapi.json": ("GET", PRIVATE),
    "/api/gitlab": ("GET", PRIVATE),
    "/rq/": ("GET", PRIVATE),
    "/rq/favicon.ico": ("GET", PRIVATE),
    "/rq/static/<path:filename>": ("GET", PRIVATE),
    "/rq/<int:instance_number>/": ("GET", PRIVATE),
    "/rq/<int:instance_number>/view": ("GET", PRIVATE),
    "/rq/<int:instance_number>/view/queues": ("GET", PRIVATE),
    "/rq/<int:instance_number>/view/workers": ("GET", PRIVATE),
    "/rq/<int:instance_number>/view/jobs": ("GET", PRIVATE),
    "/rq/<int:instance_number>/view/jobs/<queue_name>/<registry_name>/<int:per_page>/<order>/<int:page>": (
        "GET",
        PRIVATE,
    ),
    "/rq/<int:instance_number>/view/job/<job_id>": ("GET", PRIVATE),
    "/rq/<int:instance_number>/data/queues.json": ("GET", PRIVATE),
    "/rq/<int:instance_number>/data/workers.json": ("GET", PRIVATE),
    "/rq/<int:instance_number>/data/job/<job_id>.json": ("GET", PRIVATE),
    "/rq/<int:instance_number>/data/jobs/<queue_name>/<registry_name>/<per_page>/<order>/<page>.json": (
        "GET",
        PRIVATE,
    ),
    "/rq/job/<job_id>/delete": ("POST", PRIVATE),
    "/rq/job/<job_id>/requeue": ("POST", PRIVATE),
    "/rq/requeue/<queue_name>": ("GET POST", PRIVATE),
    "/rq/queue/<queue_name>/<registry_name>/empty": ("POST", PRIVATE),
    "/rq/queue/<queue_name>/compact": ("POST", PRIVATE),
}
VALUES = {
    "source": "platform", "identifier": "r" + "0" * 19, "filename": "style.css", "instance_number": 0,
    "queue_name": "live", "registry_name": "queued", "per_page": 8, "order": "asc", "page": 1, "job_id": "some-job",
    "name": "go.corp.example/team/repo",
}  # fmt: skip
CASES = [(rule, method, who) for rule, (methods, who) in ROUTES.items() for method in methods.split()]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    settings = write_settings(tmp_path_factory.mktemp("routes"))
    migrate.upgrade(settings.store.url)
    return create_app(settings)


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
    assert found == {rule: set(methods.split()) for rule, (methods, _) in ROUTES.items()}


@pytest.mark.parametrize(("rule", "method", "who"), [case for case in CASES if case[2] in (PRIVATE, METRICS)])
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


@pytest.mark.parametrize(("rule", "method", "who"), [case for case in CASES if case[2] == PRIVATE])
def test_a_token_opens_every_private_route(client: FlaskClient, rule: str, method: str, who: str) -> None:
    assert client.open(path(rule), method=method, headers=BEARER).status_code not in (401, 403)


@pytest.mark.parametrize(("rule", "method", "who"), [c for c in CASES if c[2] == PRIVATE and c[1] == "POST"])
def test_a_session_needs_our_own_pages_for_every_change(client: FlaskClient, rule: str, method: str, who: str) -> None:
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    assert client.open(path(rule), method=method).status_code == 403
    forged = {"Sec-Fetch-Site": "cross-site"}
    assert client.open(path(rule), method=method, headers=forged).status_code == 403
    own = {"Sec-Fetch-Site": "same-origin"}
    assert client.open(path(rule), method=method, headers=own).status_code not in (401, 403)


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
