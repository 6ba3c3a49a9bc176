"""`modsync gitlab check`, `GET /api/gitlab`, the metrics and the first page tell of the same login; git's 401 counts, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from app import create_app
from app.adapters import migrate
from app.adapters.git_errors import Side
from app.bootstrap import Container
from app.cli import cli
from app.config import load_settings
from app.domain.errors import SyncError
from tests.integration.web_world import BEARER, BROWSER, CONFIG, ENVIRONMENT, TOKEN
from tests.sandbox.gitlab import GitLab


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        yield server


class Place:
    """A configuration for the stand-in, in a directory of its own."""

    def __init__(self, directory: Path, gitlab: GitLab, token: str) -> None:
        text = CONFIG.format(port=8080, limit=4096).replace("https://gitlab.corp.example", gitlab.url)
        text += "\n[sandbox]\nenabled = true\n"
        self.path = directory / "modsync.toml"
        self.path.write_text(text)
        self.environment = {**ENVIRONMENT, "GITLAB_TOKEN": token, "MODSYNC_CONFIG": str(self.path)}
        self.settings = load_settings(self.path, self.environment)
        migrate.upgrade(self.settings.store.url)

    def check(self, *options: str) -> Result:
        """`modsync gitlab check`."""
        return self.run("gitlab", "check", *options)

    def run(self, *arguments: str) -> Result:
        """A command of modsync, in this process."""
        return CliRunner(env=self.environment).invoke(cli, list(arguments))

    def client(self) -> FlaskClient:
        return create_app(self.settings).test_client()


def test_a_good_token_is_told_with_its_end(tmp_path: Path, gitlab: GitLab) -> None:
    place = Place(tmp_path, gitlab, gitlab.create_token())
    shown = place.check()
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "scopes  api, write_repository" in shown.stdout
    assert "(in 30 days)" in shown.stdout
    answer = place.client().get("/api/gitlab", headers=BEARER).get_json()
    assert answer == answer | {"refused": False, "days_left": 30, "problems": [], "scopes": ["api", "write_repository"]}
    ends = datetime.combine(gitlab.world.clock().date() + timedelta(days=30), time(), UTC).timestamp()
    told = place.client().get("/metrics", headers=BEARER).text
    shown_ends = re.search(r'modsync_token_expires_timestamp_seconds\{token="gitlab"\} (\S+)', told)
    assert shown_ends
    assert float(shown_ends[1]) == ends


def test_an_end_that_is_near_and_a_missing_scope_are_told_everywhere(tmp_path: Path, gitlab: GitLab) -> None:
    ends = gitlab.world.clock().date() + timedelta(days=5)
    place = Place(tmp_path, gitlab, gitlab.create_token(scopes=["read_api", "write_repository"], expires_at=ends))
    shown = place.check()
    assert shown.exit_code == 1
    assert f"problem: the token ends on {ends}, in 5 days" in shown.stderr
    assert "problem: the token lacks the scope api" in shown.stderr
    assert json.loads(place.check("--json").stdout)["problems"] == place.client().get(
        "/api/gitlab", headers=BEARER
    ).get_json()["problems"]  # fmt: skip
    page = place.client()
    page.post("/login", data={"token": TOKEN})
    assert f"the token ends on {ends}" in page.get("/", headers=BROWSER).text


def test_a_refused_token_opens_the_breaker_and_a_good_look_closes_it(tmp_path: Path, gitlab: GitLab) -> None:
    token = gitlab.create_token()
    place = Place(tmp_path, gitlab, token)
    gitlab.world.tokens[token].revoked = True
    shown = place.check()
    assert (shown.exit_code, "GitLab refused the token" in shown.stderr) == (1, True)
    assert token not in shown.output
    assert place.client().get("/api/gitlab", headers=BEARER).get_json()["refused"] is True
    assert "modsync_gitlab_login_refused 1.0" in place.client().get("/metrics", headers=BEARER).text

    gitlab.world.tokens[token].revoked = False
    assert place.check().exit_code == 0
    assert "modsync_gitlab_login_refused 0.0" in place.client().get("/metrics", headers=BEARER).text


def test_git_is_held_off_by_the_apis_refusal_and_the_api_by_gits(tmp_path: Path, gitlab: GitLab) -> None:
    token = gitlab.create_token()
    place = Place(tmp_path, gitlab, token)
    gitlab.revoke(token)
    ours, url = Container(place.settings), f"{gitlab.url}/go-mirrors/team/repo.git"
    with pytest.raises(SyncError) as first:
        ours.git.remote_refs(url, [], lambda: None)
    assert (first.value.code, bool(first.value.retry_after)) == ("token_expired", True)
    before = len(gitlab.requests)
    for held in (lambda: ours.git.remote_refs(url, [], lambda: None), lambda: ours.gitlab.ensure_project("a/b")):
        with pytest.raises(SyncError) as later:
            held()
        assert (later.value.code, bool(later.value.retry_after)) == ("token_expired", True)
    assert len(gitlab.requests) == before


@pytest.mark.parametrize("side", ["source", "mirror"])
def test_nobody_is_banned_by_git_either(tmp_path: Path, gitlab: GitLab, side: Side) -> None:
    """As reconcile asks: many repositories, each with logins of its own; GitLab bans an address after thirty."""
    token = gitlab.create_token()
    place = Place(tmp_path, gitlab, token)
    gitlab.revoke(token)
    ours = Container(place.settings)
    for number in range(40):
        with pytest.raises(SyncError) as refused:
            ours.git.remote_refs(f"{gitlab.url}/team/repo{number}.git", ["refs/tags/*"], lambda: None, side=side)
        assert (refused.value.code, bool(refused.value.retry_after)) == ("token_expired", True)
    assert 0 < len([each for each in gitlab.requests if each.status == 401]) < 10
    assert not [each for each in gitlab.requests if each.status == 403]
