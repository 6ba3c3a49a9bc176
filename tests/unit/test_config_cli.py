"""`modsync config check` and `show`, as a person sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from app.cli_config import commands, without_password
from tests.unit.test_config import ENV, GOOD, SECRET, here

__all__ = ["here"]


def run(here: Path, text: str, *args: str, **more: str) -> Result:
    (here / "m.toml").write_text(text)
    (group,) = commands
    env = {"MODSYNC_CONFIG": "", "DATABASE_URL": "", "REDIS_URL": "", **ENV, **more}
    return CliRunner().invoke(group, [*args, "--config", str(here / "m.toml")], env=env)


def test_check_says_what_was_understood(here: Path) -> None:
    result = run(here, GOOD, "check")
    assert result.exit_code == 0
    assert "good" in result.output
    assert "http://127.0.0.1:8080/webhooks/platform" in result.output
    assert "go.corp.example/{team}/{repo} <- https://git.corp.example" in result.output
    assert SECRET not in result.output


def test_check_prints_every_problem_and_fails(here: Path) -> None:
    result = run(here, "[web]\nthreads = 0\n[gitlab]\n", "check")
    assert result.exit_code == 1
    for key in ("web.threads", "access.admin_token", "gitlab.url", "gitlab.token"):
        assert f"problem: {key}: " in result.output
    assert "4 problems" in result.output


@pytest.mark.parametrize("place", ["file", "file/below/it", "/proc/x", "nowhere/below", "x" * 300, "a\\u0000b"])
def test_check_tries_the_data_directory(here: Path, place: str) -> None:
    (here / "file").write_text("precious")
    (here / "nowhere").symlink_to("gone")
    result = run(here, f'data_dir = "{place}"\n{GOOD}', "check")
    assert (result.exit_code, result.output.count("\n")) == (1, 2)
    assert "problem: data_dir: can be neither written nor made: " in result.output
    assert (here / "file").read_text() == "precious"


def test_check_tries_the_embedded_redis_own_directory_too(here: Path) -> None:
    """It is another user's where modsync ran as that user before."""
    (here / "var").mkdir()
    (here / "var/redis").write_text("no directory")
    result = run(here, f'data_dir = "var"\n{GOOD}', "check")
    assert (result.exit_code, "problem: data_dir: can be neither" in result.output) == (1, True)


@pytest.mark.parametrize("place", ["var", "not/yet/there", "linked/below"])
def test_check_leaves_nothing_in_the_data_directory(here: Path, place: str) -> None:
    (here / "var").mkdir()
    (here / "linked").symlink_to("var")
    result = run(here, f'data_dir = "{place}"\n{GOOD}', "check")
    assert result.exit_code == 0, result.output
    assert {each.name for each in here.rglob("*")} - {"var", "linked", "m.toml"} == set()


def test_check_prints_warnings(here: Path) -> None:
    result = run(here, GOOD.partition("[[rules]]")[0], "check")
    assert result.exit_code == 0
    assert "warning: sources[platform]: has no rule" in result.output


def test_show_says_where_secrets_come_from_and_never_what_they_are(here: Path) -> None:
    result = run(here, GOOD, "show", DATABASE_URL=f"postgresql://u:{SECRET}@db/m")
    assert result.exit_code == 0
    assert "gitlab.token = (set from $GITLAB)" in result.output
    assert "sources[platform].secrets[new].value = (set from $HOOK)" in result.output
    assert 'store.url = "postgresql+psycopg://u:***@db/m"  (from $DATABASE_URL)' in result.output
    assert "proxies[default].token = (not set)" in result.output
    assert SECRET not in result.output


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1), st.sampled_from(["", "/0?a=b"])
)
def test_no_password_is_shown_whatever_it_holds(password: str, rest: str) -> None:
    assert without_password(f"redis://u:{password}@h{rest}") == f"redis://u:***@h{rest}"


@pytest.mark.parametrize("url", ["sqlite:////var/m.db", "redis://h:6379/0", ""])
def test_urls_without_a_password_are_shown_as_they_are(url: str) -> None:
    assert without_password(url) == url
