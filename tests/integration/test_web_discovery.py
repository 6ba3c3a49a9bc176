"""`?go-get=1` over the web application: who may ask, what is answered, and what a real `go` makes of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert
from werkzeug.test import TestResponse

from app import create_app
from app.adapters import migrate
from app.adapters.database import connect, writing
from app.adapters.tables import mirrors
from tests.integration.web_world import BEARER, running, write_settings
from tests.sandbox.gotool import go_binary, go_environment
from tests.sandbox.modules import make_plain
from tests.sandbox.platform import Platform
from tests.sandbox.processes import run

TOKEN = "a-token-for-discovery-in-the-tests"
QUESTION = "/team/repo?go-get=1"
HOST = {"Host": "go.corp.example"}
FAR = {"REMOTE_ADDR": "203.0.113.7"}


def client(directory: Path, mode: str, more: str = "") -> FlaskClient:
    """The application with this mode, one mirror known: go-mirrors/team/repo."""
    text = f'[discovery]\nmode = "{mode}"\n{more}'
    settings = write_settings(directory, more=text, DISCOVERY_TOKEN=TOKEN)
    migrate.upgrade(settings.store.url)
    remember(settings.store.url, "go-mirrors/team/repo", "https://gitlab.corp.example/go-mirrors/team/repo.git")
    return create_app(settings).test_client()


def remember(url: str, path: str, clone_url: str) -> None:
    """A mirror that exists."""
    row = {"path": path, "project_id": 1, "clone_url": clone_url, "web_url": clone_url, "fence": 0}
    with writing(connect(url)) as connection:
        connection.execute(insert(mirrors).values(**row, updated_at=datetime.now(UTC)))


def ask(asked: FlaskClient, path: str = QUESTION, **headers: str) -> TestResponse:
    return asked.get(path, headers={**HOST, **headers}, environ_overrides=FAR)


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    asked = client(tmp_path, "off")
    assert ask(asked).status_code == 404
    assert "go-import" not in ask(asked).text
    assert ask(asked, "/?go-get=1").status_code == 401


def test_open_answers_anybody_and_only_this_question(tmp_path: Path) -> None:
    asked = client(tmp_path, "open")
    found = ask(asked)
    content = "go.corp.example/team/repo git https://gitlab.corp.example/go-mirrors/team/repo.git"
    assert (found.status_code, found.content_type) == (200, "text/html; charset=utf-8")
    assert f'<meta name="go-import" content="{content}">' in found.text
    assert content in ask(asked, "/team/repo/sub/v2?go-get=1").text
    assert ask(asked, "/team/other?go-get=1").status_code == 404
    assert ask(asked, "/team/repo").status_code == 404
    assert ask(asked, "/api/runs").status_code == 401
    assert asked.post(QUESTION, headers=HOST).status_code == 404


def test_another_host_is_another_module(tmp_path: Path) -> None:
    assert ask(client(tmp_path, "open"), Host="elsewhere.example").status_code == 404


def test_a_port_is_no_part_of_a_module_path(tmp_path: Path) -> None:
    assert ask(client(tmp_path, "open"), Host="go.corp.example:8080").status_code == 200


def test_a_token_is_taken_as_bearer_and_as_any_users_password(tmp_path: Path) -> None:
    asked = client(tmp_path, "token", 'token_env = "DISCOVERY_TOKEN"')
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    assert ask(asked, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert ask(asked, Authorization=f"Basic {basic}").status_code == 200


@pytest.mark.parametrize("sent", ["", "Bearer wrong", "Basic %%%", "Basic " + base64.b64encode(b"x:y").decode()])
def test_without_the_token_nobody_learns_what_is_there(tmp_path: Path, sent: str) -> None:
    asked = client(tmp_path, "token", 'token_env = "DISCOVERY_TOKEN"')
    answers = [ask(asked, path, Authorization=sent) for path in (QUESTION, "/no/such?go-get=1")]
    assert {(each.status_code, each.text) for each in answers} == {(401, answers[0].text)}
    assert answers[0].headers["WWW-Authenticate"].startswith("Basic ")


def test_the_admins_token_does_not_open_it(tmp_path: Path) -> None:
    asked = client(tmp_path, "token", 'token_env = "DISCOVERY_TOKEN"')
    assert ask(asked, **BEARER).status_code == 401


def test_networks_decide_by_the_address_and_never_by_a_header(tmp_path: Path) -> None:
    asked = client(tmp_path, "networks", 'networks = ["203.0.113.0/24"]')
    assert ask(asked).status_code == 200
    assert ask(asked, **{"X-Forwarded-For": "203.0.113.9"}).status_code == 403
    near = asked.get(QUESTION, headers=HOST, environ_overrides={"REMOTE_ADDR": "127.0.0.1"})
    assert near.status_code == 403


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    server = Platform(tmp_path / "platform")
    server.start()
    yield server
    server.close()


def test_a_real_go_finds_the_mirror_by_it(tmp_path: Path, platform: Platform) -> None:
    """`go` asks gunicorn (as its web proxy, for the host has no name here), and clones what it is told."""
    module = make_plain(platform, "team/repo", "v1.2.0")
    for web in running(tmp_path, '[discovery]\nmode = "open"\n'):
        remember(web.settings.store.url, "go-mirrors/team/repo", platform.clone_url("team/repo"))
        environment = go_environment(
            tmp_path / "go", web_proxy=web.settings.web.base_url, GOPROXY="direct", GOPRIVATE="*", GOINSECURE="*",
            GOVCS="*:git",
        )  # fmt: skip
        query = module.releases["v1.2.0"].query
        done = run([go_binary(), "mod", "download", "-json", query], env=environment, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        assert module.releases["v1.2.0"].commit in done.stdout.decode()
