"""load_settings: what is read, where it comes from, and that every problem is named at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from app.config import ARRAYS, TABLES, ConfigError, Settings, find_config, load_settings
from app.config_read import file_keys, item_model
from app.domain.retry import RetryPolicy

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery"
ENV = {"ADMIN": SECRET + "-admin", "GITLAB": SECRET + "-gitlab", "HOOK": SECRET + "-hook"}
GOOD = """
[access]
admin_token_env = "ADMIN"
[gitlab]
url = "https://gitlab.corp.example/"
token_env = "GITLAB"
[[proxies]]
url = "https://goproxy.corp.example"
[[sources]]
name = "platform"
scheme = "article"
secrets = [{ id = "new", env = "HOOK" }]
allow = ["https://git.corp.example/**"]
[[rules]]
modules = "go.corp.example/{team}/{repo}"
clone = "https://git.corp.example/{team}/{repo}.git"
mirror = "go-mirrors/{team}/{repo}"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(here: Path, text: str, **more: str) -> Settings:
    (here / "modsync.toml").write_text(text, encoding="utf-8")
    return load_settings(None, {**ENV, **more})


def problems(here: Path, text: str, **more: str) -> dict[str, str]:
    """Key -> "what. fix" of every problem."""
    with pytest.raises(ConfigError) as caught:
        load(here, text, **more)
    return {problem.key: f"{problem.what}. {problem.fix}" for problem in caught.value.problems}


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_small_file_gives_all_the_defaults(here: Path) -> None:
    settings = load(here, GOOD)
    assert settings.gitlab.url == "https://gitlab.corp.example"
    assert settings.gitlab.token.get_secret_value() == ENV["GITLAB"]
    assert settings.sources[0].secrets[0].value.get_secret_value() == ENV["HOOK"]
    assert settings.data_dir == here / "var"
    assert settings.store.url == f"sqlite:///{here}/var/modsync.db"
    assert settings.queue.url == ""
    assert settings.retry.policy == RetryPolicy()
    assert settings.routing[0].mirror == "go-mirrors/{team}/{repo}"
    assert settings.proxy("default") is settings.proxies[0]
    assert settings.source("platform") is settings.sources[0]
    assert settings.source("nobody") is None
    assert settings.warnings == ()


def test_values_of_the_file_are_taken(here: Path) -> None:
    text = GOOD.replace("[gitlab]", '[gitlab]\nbranch = "sync/ci"\npipeline_ref = "tag"')
    text += '[web]\nlisten = "[::]:80"\n'
    settings = load(here, text.replace("[access]", '[access]\nmetrics_networks = ["10.0.0.0/8"]'))
    assert (settings.gitlab.branch, settings.gitlab.pipeline_ref, settings.web.listen) == ("sync/ci", "tag", "[::]:80")
    assert [str(network) for network in settings.access.metrics_networks] == ["10.0.0.0/8"]


def test_settings_never_change(here: Path) -> None:
    settings = load(here, GOOD)
    with pytest.raises(ValidationError):
        settings.gitlab.branch = "main"


def test_secrets_are_hidden_in_every_form(here: Path) -> None:
    settings = load(here, GOOD, DATABASE_URL=f"postgres://u:{SECRET}@db/m", REDIS_URL=f"redis://:{SECRET}@r/0")
    assert SECRET not in repr(settings) + str(settings) + repr(settings.store) + str(settings.gitlab)


def test_all_problems_come_at_once(here: Path) -> None:
    text = """
    [wbe]
    [web]
    listn = "x"
    threads = "many"
    [access]
    [gitlab]
    url = "gitlab"
    token_env = "NOT_THERE"
    [[sources]]
    name = "platform"
    scheme = "hub"
    secrets = []
    """
    found = problems(here, text)
    assert found["wbe"] == "is not a known section or key. Did you mean web?"
    assert found["web.listn"] == "is not a known key. Did you mean listen?"
    assert "integer" in found["web.threads"]
    assert found["access.admin_token"].startswith("is missing. Set admin_token_env or admin_token_file")
    assert "NOT_THERE is not set" in found["gitlab.token_env"]
    assert "not an http:// or https:// URL" in found["gitlab.url"]
    assert "'article', 'github'" in found["sources[platform].scheme"]
    assert "at least 1" in found["sources[platform].secrets"]
    assert len(found) == 8


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('[gitlab]\ntoken = "abc"', "gitlab.token"),
        ('[gitlab]\ntoken_env = "glpat-0123456789abcdefghij"', "gitlab.token_env"),
        ('[gitlab]\nusername = "ghp_0123456789abcdefghij"', "gitlab.username"),
        ('[store]\nurl = "postgresql://u:hunter2@db/m"', "store.url"),
        ('[[proxies]]\npassword = "hunter2"', "proxies[default].password"),
        ('[web]\napi_key = "hunter2"', "web.api_key"),
        ('[[sources]]\nname = "p"\nsecrets = [{ id = "1", secret = "hunter2" }]', "sources[p].secrets[1].secret"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(here: Path, line: str, key: str) -> None:
    found = problems(here, line)
    assert found[key].startswith("holds a secret. ")
    assert not re.search(r"hunter2|0123456789", str(found))


def test_a_refused_secret_says_where_it_goes(here: Path) -> None:
    found = problems(here, changed('token_env = "GITLAB"', 'token = "x"'))
    assert found == {"gitlab.token": "holds a secret. Use token_env or token_file, and change it."}
    found = problems(here, changed('env = "HOOK"', 'secret = "x"'))
    assert found == {"sources[platform].secrets[new].secret": "holds a secret. Use env or file, and change it."}


def test_secret_files(here: Path) -> None:
    secret = here / "gitlab-token"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    settings = load(here, changed('token_env = "GITLAB"', 'token_file = "gitlab-token"'))
    assert settings.gitlab.token.get_secret_value() == SECRET
    assert settings.origins["gitlab.token"] == "file gitlab-token"
    assert settings.warnings == ()
    secret.chmod(0o604)
    (warning,) = load(here, changed('token_env = "GITLAB"', 'token_file = "gitlab-token"')).warnings
    assert warning.key == "gitlab.token_file"


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('token_file = "nowhere"', "gitlab.token_file", "No such file"),
        ('token_file = "."', "gitlab.token_file", "directory"),
        ('token_file = ""', "gitlab.token_file", "is not a text"),
        ('token_file = "binary"', "gitlab.token_file", "not UTF-8"),
        ("token_env = 5", "gitlab.token_env", "is not a text"),
        ('token_env = "EMPTY"', "gitlab.token_env", "an empty secret"),
        ('token_env = "GITLAB"\ntoken_file = "binary"', "gitlab.token_env", "is set beside token_file"),
        ('token_env = "some other words"', "gitlab.token_env", "(the variable that it names) is not set"),
    ],
)
def test_secrets_that_cannot_be_had(here: Path, line: str, key: str, words: str) -> None:
    (here / "binary").write_bytes(b"\xff\xfe")
    assert words in problems(here, changed('token_env = "GITLAB"', line), EMPTY=" \n")[key]


def test_short_secrets_are_refused_where_guessing_them_matters(here: Path) -> None:
    found = problems(here, GOOD, ADMIN="x" * 15, HOOK="y" * 15)
    assert set(found) == {"access.admin_token_env", "sources[platform].secrets[new].env"}
    load(here, GOOD, ADMIN="x" * 16, HOOK="y" * 16, GITLAB="z")


def test_the_environment_wins_for_database_and_redis(here: Path) -> None:
    text = GOOD + '[store]\nurl = "sqlite:////tmp/x.db"\n[queue]\nurl = "redis://file/0"\n'
    settings = load(here, text, DATABASE_URL="postgres://u@db/m", REDIS_URL="redis://env/1")
    assert settings.store.url == "postgresql+psycopg://u@db/m"
    assert settings.queue.url == "redis://env/1"
    assert settings.origins["store.url"] == "$DATABASE_URL"
    assert load(here, text).store.url == "sqlite:////tmp/x.db"
    assert load(here, GOOD, DATABASE_URL="postgresql://u@db/m").store.url == "postgresql+psycopg://u@db/m"


def test_only_databases_and_queues_that_modsync_knows(here: Path) -> None:
    found = problems(here, GOOD, DATABASE_URL="mysql://u:hunter2@db/m", REDIS_URL="amqp://hunter2@r")
    assert set(found) == {"store.url", "queue.url"}
    assert "hunter2" not in str(found)


def test_paths_start_from_the_files_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ca.pem").write_text("x")
    (tmp_path / "etc" / "m.toml").write_text('data_dir = "../var"\n' + GOOD + '[outgoing]\nca_file = "ca.pem"\n')
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("etc/m.toml"), ENV)
    assert settings.outgoing.ca_file == tmp_path / "etc" / "ca.pem"
    assert settings.data_dir.resolve() == tmp_path / "var"
    found = problems(tmp_path, GOOD + '[outgoing]\nca_file = "ca.pem"\n')
    assert "No such file" in found["outgoing.ca_file"]


def test_where_the_file_is_looked_for(here: Path) -> None:
    for name in ("a.toml", "b.toml", "modsync.toml"):
        (here / name).touch()
    assert find_config(Path("a.toml"), {"MODSYNC_CONFIG": "b.toml"}) == Path("a.toml")
    assert find_config(None, {"MODSYNC_CONFIG": "b.toml"}) == Path("b.toml")
    assert find_config(None, {"MODSYNC_CONFIG": ""}) == Path("modsync.toml")


def test_no_file_says_how_to_make_one(here: Path) -> None:
    (here / "modsync.toml").touch()
    with pytest.raises(ConfigError, match=r"gone\.toml.*Copy modsync\.example\.toml"):
        load_settings(Path("gone.toml"), {})


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a = 1\na = 2\n\n", "not TOML: .*line 2"), (b"\xff", "UTF-8"), (b"data_dir = 5\n", "data_dir: is not a path")],
)
def test_files_that_cannot_be_parsed(here: Path, content: bytes, words: str) -> None:
    (here / "modsync.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_settings(None, {})


@pytest.mark.parametrize("line", ['web = "x"', "sources = 1", "sources = [1]", "proxies = {}"])
def test_wrong_shapes_are_problems_not_crashes(here: Path, line: str) -> None:
    found = problems(here, line + "\n[access]\n")
    assert any("table" in said for said in found.values())


def test_the_example_is_good(here: Path) -> None:
    example = (ROOT / "modsync.example.toml").read_text()
    names = re.findall(r'^[^#]*env = "(\w+)"', example, re.MULTILINE) + re.findall(r'^\w+_env = "(\w+)"', example, re.M)
    settings = load_settings(ROOT / "modsync.example.toml", dict.fromkeys(names, SECRET))
    assert settings.rules
    assert {warning.key for warning in settings.warnings} == set()


def test_the_examples_commented_keys_are_the_defaults(here: Path) -> None:
    """Uncommented, the lines that show defaults change nothing."""
    shown = (ROOT / "modsync.example.toml").read_text()
    for table, model in TABLES.items():
        raw = tomllib.loads(_uncommented(shown, table))
        for name, value in raw.items():
            if (table, name) == ("reconcile", "interval_hours"):
                continue  # on in the example, and not by itself: it brings all versions that a repository ever had
            default = model.model_fields[name].default if name in model.model_fields else None
            if isinstance(default, (int, float)) or (isinstance(default, str) and default):
                assert value == default, f"{table}.{name}"


def _uncommented(text: str, table: str) -> str:
    section = text.partition(f"\n[{table}]")[2].partition("\n[")[0].partition("\n")[2]
    return "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in section.splitlines())


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name in file_keys(model):
        yield name
        inner = item_model(model.model_fields[name].annotation) if name in model.model_fields else None
        if inner is not None:
            yield from keys(inner)


@pytest.mark.parametrize("table", [*TABLES, *ARRAYS])
def test_every_key_is_in_the_example_and_in_the_documentation(table: str) -> None:
    example = (ROOT / "modsync.example.toml").read_text()
    page = (ROOT / "docs" / "configuration.md").read_text()
    every: dict[str, Any] = {**TABLES, **ARRAYS}
    section = re.split(rf"^(?:# )?\[+{table}\]+", example, maxsplit=1, flags=re.M)[1].partition("\n[")[0]
    for key in keys(every[table]):
        assert re.search(rf"^(?:# )?{key} = |[{{,] {key} = ", section, re.M), f"example: {table}.{key}"
        assert re.search(rf"`(?:{table}\.)?{key}`|[{{,] {key} = ", page), f"documentation: {table}.{key}"
