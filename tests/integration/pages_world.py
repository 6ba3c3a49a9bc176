"""An application in the test's own process, and what pages and tables say."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app import create_app
from app.adapters import migrate
from app.adapters.database import reading
from app.adapters.tables import deliveries, releases, runs
from app.bootstrap import Container
from app.domain.access import Role
from tests.integration.web_world import (
    BEARER,
    BROWSER,
    write_settings,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MIRROR = "go-mirrors/team/repo"
SCHEMES = ("github", "gitea", "forgejo", "gitlab-token", "standard-webhooks", "artifactory")
SOURCES = "".join(
    f'[[sources]]\nname = "{each}"\nscheme = "{each}"\nallow = ["https://git.corp.example/**"]\n'
    f'secrets = [{{ id = "new", env = "HOOK_SECRET" }}, {{ id = "old", env = "ADMIN_TOKEN" }}]\nprereleases = false\n'
    for each in SCHEMES
)


def application(directory: Path) -> Container:
    """modsync with a source of every scheme, on a new database."""
    settings = write_settings(directory, more=SOURCES)
    migrate.upgrade(settings.store.url)
    return Container(settings)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """The application's parts. Without Redis: no page needs a queue."""
    return application(tmp_path)


@pytest.fixture
def app(container: Container) -> Flask:
    """The application itself."""
    return create_app(container)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Who asks it, without a network."""
    return app.test_client()


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
