"""`/setup` and `/setup.sh`: for everybody, kept by caches for minutes, and made from the configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.adapters import migrate
from app.config_models import ConfigError
from tests.integration.web_world import BEARER, CONFIG, write_settings
from tests.sandbox.gotool import go_binary

PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUX\n-----END CERTIFICATE-----"


def client(directory: Path, more: str = "") -> FlaskClient:
    settings = write_settings(directory, more=more)
    migrate.upgrade(settings.store.url)
    return create_app(settings).test_client()


def test_everybody_gets_the_same_and_may_keep_it_for_minutes(tmp_path: Path) -> None:
    asked = client(tmp_path)
    for path in ("/setup", "/setup.sh"):
        stranger, known = asked.get(path), asked.get(path, headers=BEARER)
        assert (stranger.status_code, stranger.headers["Cache-Control"]) == (200, "public, max-age=300")
        assert stranger.data == known.data
        assert "Set-Cookie" not in known.headers


def test_what_is_left_out_follows_from_the_proxies_and_rules(tmp_path: Path) -> None:
    asked = client(tmp_path)
    assert asked.get("/setup.sh").content_type == "text/plain; charset=utf-8"
    assert (
        "proxy=https://goproxy.corp.example\nprivate=go.corp.example,open.corp.example\n" in asked.get("/setup.sh").text
    )
    page = asked.get("/setup").text
    assert "go env -w GOPROXY=https://goproxy.corp.example" in page
    assert "go env -w GONOSUMDB=go.corp.example,open.corp.example" in page
    assert "curl -fsS http://127.0.0.1:8080/setup.sh" in page


@pytest.mark.parametrize("modules", ["github.com/{org}/{repo}", "{host}/{org}/{repo}"])
def test_a_rule_for_a_whole_host_switches_no_checksums_off(tmp_path: Path, modules: str) -> None:
    names = modules.removeprefix("github.com/")
    rule = f'[[rules]]\nmodules = "{modules}"\nclone = "https://git.corp.example/{names}"\nmirror = "m/{names}"\n'
    (tmp_path / "named").mkdir()
    asked = client(tmp_path, rule)
    assert "private=go.corp.example,open.corp.example\n" in asked.get("/setup.sh").text
    page = asked.get("/setup").text
    assert "<strong>Not in it:</strong> " + modules.split("/")[0].replace("{host}", "*") in page
    assert "Not in it" not in client(tmp_path / "named", '[setup]\nprivate = ["github.com/corp"]\n').get("/setup").text


def test_the_section_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(f"# Corp Root CA\n{PEM}\n# another\n{PEM}\n")
    more = 'proxy_url = "https://go.example/x"\nprivate = ["corp.example/*"]\nca_file = "ca.pem"\npassword = true\n'
    asked = client(tmp_path, f"[setup]\n{more}")
    script, page = asked.get("/setup.sh").text, asked.get("/setup").text
    assert "proxy=https://go.example/x\nprivate='corp.example/*'\n" in script
    assert f"<<'END_OF_CA'\n{PEM}\n{PEM}\nEND_OF_CA\n" in script
    assert "machine=go.example\n" in script
    assert "installs the company" in page
    assert "GOPROXY_TOKEN" in page


def test_a_ca_without_certificates_is_a_problem_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"setup\.ca_file: has no certificate"):
        write_settings(tmp_path, more='[setup]\nca_file = "ca.pem"\n')


def test_without_a_proxys_address_there_is_nothing_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    static = 'kind = "static"\ndirectory = "proxy"'
    monkeypatch.setattr(
        "tests.integration.web_world.CONFIG", CONFIG.replace('url = "https://goproxy.corp.example"', static)
    )
    assert client(tmp_path).get("/setup.sh").status_code == 404


def test_a_real_go_is_set_by_what_is_served(tmp_path: Path) -> None:
    script = client(tmp_path).get("/setup.sh").data
    path = f"{Path(go_binary()).parent}:/usr/bin:/bin"
    environment = {"HOME": str(tmp_path), "PATH": path, "GOENV": str(tmp_path / "goenv"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh"], input=script, env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "goenv").read_text().split()) == {
        "GOPROXY=https://goproxy.corp.example", "GONOSUMDB=go.corp.example,open.corp.example",
    }  # fmt: skip
    printed = subprocess.run(
        ["sh", "-s", "--", "--ci"], input=script, env=environment, capture_output=True, check=True, timeout=60
    )
    assert b"GOPROXY=https://goproxy.corp.example\n" in printed.stdout
