"""What git is told through its environment, and the URLs it may be given."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.adapters.git_cache import directory
from app.adapters.git_env import Credential, GitOptions, check_url, environment, inherited
from app.domain.errors import SyncError

OPTIONS = GitOptions(Path("/cache"))
CREDENTIAL = Credential("oauth2", SecretStr("hunter2"))


def settings(env: dict[str, str]) -> dict[str, str]:
    """The configuration that travels in the environment."""
    count = int(env["GIT_CONFIG_COUNT"])
    return {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(count)}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("transfer.fsckObjects", "true"),
        ("fetch.fsck.badTimezone", "ignore"),
        ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
        ("fetch.fsck.zeroPaddedFilemode", "ignore"),
        ("protocol.version", "2"),
        ("http.followRedirects", "false"),
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", "150"),
        ("core.hooksPath", "/dev/null"),
        ("credential.helper", ""),
        ("gc.auto", "0"),
    ],
)
def test_every_command_has_the_safe_settings(key: str, value: str) -> None:
    assert settings(environment(OPTIONS))[key] == value


def test_every_command_has_the_safe_variables() -> None:
    env = environment(OPTIONS, git_dir=Path("/cache/x.git"))
    assert env["GIT_ALLOW_PROTOCOL"] == "https:ssh"
    assert env["GIT_TERMINAL_PROMPT"] == "0"
    assert env["GIT_CONFIG_NOSYSTEM"] == "1"
    assert env["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert env["LC_ALL"] == "C"
    assert env["GIT_DIR"] == env["MODSYNC_CACHE"] == "/cache/x.git"
    assert environment(OPTIONS)["GIT_DIR"] == "/dev/null"  # without a repository none is looked for


@pytest.mark.parametrize(
    ("url", "scope"),
    [
        ("https://git.example/a/b.git", "https://git.example/"),
        ("https://git.example:8443/a", "https://git.example:8443/"),
        ("http://127.0.0.1:80/a", "http://127.0.0.1:80/"),
        ("https://[::1]:8443/a", "https://[::1]:8443/"),
    ],
)
def test_a_credential_is_for_its_scheme_host_and_port(url: str, scope: str) -> None:
    found = settings(environment(OPTIONS, url=url, credential=CREDENTIAL))
    header = "Authorization: Basic " + base64.b64encode(b"oauth2:hunter2").decode()
    assert {key: value for key, value in found.items() if "extraHeader" in key} == {f"http.{scope}.extraHeader": header}


def test_without_http_there_is_no_header() -> None:
    assert settings(environment(OPTIONS, url="ssh://git@host/x", credential=CREDENTIAL)) == settings(
        environment(OPTIONS)
    )
    assert settings(environment(OPTIONS, url="https://host/x")) == settings(environment(OPTIONS))


def test_a_credential_does_not_show_itself() -> None:
    assert "hunter2" not in repr(CREDENTIAL) + str(CREDENTIAL)


def test_outgoing_connections_as_configured() -> None:
    options = GitOptions(
        Path("/cache"),
        ca_file=Path("/etc/ca one.pem"),
        http_proxy="http://proxy:3128",
        ssh_key_file=Path("/keys/id one"),
        known_hosts_file=Path("/keys/known hosts"),
    )
    env = environment(options, url="https://git.corp.example/x")
    assert settings(env)["http.sslCAInfo"] == "/etc/ca one.pem"
    assert settings(env)["http.proxy"] == "http://proxy:3128"
    words = shlex.split(env["GIT_SSH_COMMAND"])
    assert words[:3] == ["ssh", "-F", "/dev/null"]
    assert {"-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"} < set(words)
    assert words[words.index("-i") + 1] == "/keys/id one"
    # ssh splits this option's value at spaces, unless it is quoted for ssh itself.
    assert '-oUserKnownHostsFile="/keys/known hosts"' in words
    plain = settings(environment(OPTIONS))
    assert ("http.sslCAInfo" in plain, plain["http.proxy"]) == (False, "")  # empty: none, whatever the environment says


def test_hosts_that_are_reached_without_the_proxy() -> None:
    options = GitOptions(Path("/cache"), http_proxy="http://proxy:3128", no_proxy="corp.example")
    for url, proxy in (("https://git.corp.example/x", ""), ("https://github.example/x", "http://proxy:3128")):
        assert settings(environment(options, url=url))["http.proxy"] == proxy


def test_what_is_inherited_and_not_set_by_us_is_dropped() -> None:
    present = {"GIT_DIR": "x", "GIT_SSL_NO_VERIFY": "1", "GIT_TRACE": "1", "PATH": "/bin", "MY_GIT_DIR": "x"}
    present |= {"https_proxy": "http://a", "NO_PROXY": "b", "MY_PROXY": "c"}
    assert inherited(["GIT_DIR"], present) == ["GIT_SSL_NO_VERIFY", "GIT_TRACE", "NO_PROXY", "https_proxy"]


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://git.example/a.git", "https"),
        ("HTTPS://git.example/a.git", "https"),
        ("ssh://git@git.example:2222/a.git", "ssh"),
        ("git@git.example:a/b.git", "ssh"),
        ("file:///srv/a.git", "file"),
        ("/srv/a.git", "file"),
    ],
)
def test_urls_by_protocol(url: str, protocol: str) -> None:
    assert check_url(url, [protocol], "clone_url_refused") == url
    with pytest.raises(SyncError, match="clone_url_refused"):
        check_url(url, ["git"], "clone_url_refused")


@pytest.mark.parametrize(
    "url", ["ext::sh -c x", "ext::sh", "a::b@c:d", "u@h:x::y", "x", "", "-oProxyCommand=x@h:y", "https:x"]
)
def test_addresses_that_are_no_urls(url: str) -> None:
    with pytest.raises(SyncError):
        check_url(url, ["https", "ssh", "file", "ext"], "clone_url_refused")


def test_each_url_has_a_cache_of_its_own_with_a_readable_name() -> None:
    one = directory(Path("/c"), "https://git.example/team/lib.git")
    assert one.name.startswith("git.example-team-lib-")
    assert one.suffix == ".git"
    others = ["https://git.example/team-lib.git", "http://git.example/team/lib.git", "https://git.example/team/lib"]
    assert len({one, *(directory(Path("/c"), url) for url in others)}) == 4
    long = directory(Path("/c"), f"ssh://git@host/{'x/../' * 100}..")
    assert len(long.name) < 100
    assert long.parent == Path("/c")
    assert "git@" not in long.name
