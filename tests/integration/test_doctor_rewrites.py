"""git's insteadOf with ssh's aliases and behind a web proxy: what works for git is no finding."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.doctor.checks_machine import check_machine
from app.doctor.observed import Observed, Rewrite
from app.doctor.probe_rewrites import read_rewrites
from app.doctor.settings import GoSettings
from tests.sandbox.bad_servers import Listener, hanging


@pytest.fixture
def port() -> Iterator[int]:
    with Listener(hanging) as server:
        yield server.port


@pytest.fixture
def closed() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return int(gone.getsockname()[1])


def trouble(to: str, **environment: str) -> str:
    git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{to}.insteadOf", "GIT_CONFIG_VALUE_0": "https://x/"}
    (rewrite,) = read_rewrites({"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **git, **environment})
    return rewrite.trouble


def rules(environment: dict[str, str]) -> tuple[Rewrite, ...]:
    return read_rewrites({"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", **environment})


def fix_of(rule: Rewrite) -> str:
    (finding,) = check_machine(Observed(GoSettings({"GOPROXY": "direct"}), datetime.now(UTC), rewrites=(rule,)))
    assert finding.code == "git-insteadof"
    return finding.fix


def ssh_that_says(root: Path, *lines: str) -> str:
    """A PATH with an `ssh` that tells this of every host, as `ssh -G` does; the real one reads its user's own file alone."""
    (root / "bin").mkdir()
    program = root / "bin/ssh"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o700)
    git = shutil.which("git")
    assert git is not None
    return f"{root / 'bin'}{os.pathsep}{Path(git).parent}{os.pathsep}/bin"


def test_an_alias_of_ssh_is_where_ssh_says(tmp_path: Path, port: int, closed: int) -> None:
    path = ssh_that_says(tmp_path, "user git", "hostname 127.0.0.1", f"port {port}", "proxyjump none")
    assert trouble("git@git-work:corp/", PATH=path) == ""
    assert trouble("ssh://git@git-work/corp/", PATH=path) == ""
    shutil.rmtree(tmp_path / "bin")
    path = ssh_that_says(tmp_path, "hostname 127.0.0.1", f"port {closed}")
    assert f"127.0.0.1 port {closed}" in trouble("git@git-work:corp/", PATH=path)


@pytest.mark.parametrize("detour", ["proxyjump bastion", "proxycommand nc -x proxy %h %p"])
def test_a_way_that_only_ssh_knows_is_not_judged(tmp_path: Path, detour: str) -> None:
    path = ssh_that_says(tmp_path, "hostname git.invalid", "port 22", detour)
    assert trouble("git@git-work:corp/", PATH=path) == ""
    assert trouble("git@git.invalid:corp/", GIT_SSH_COMMAND="ssh -F elsewhere") == ""


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh: apt install openssh-client")
def test_the_real_ssh_is_understood(port: int, closed: int) -> None:
    assert trouble(f"ssh://git@127.0.0.1:{port}/") == ""
    assert f"127.0.0.1 port {closed}" in trouble(f"ssh://git@127.0.0.1:{closed}/")


def test_behind_a_web_proxy_git_does_not_connect_itself(closed: int) -> None:
    door = {"HTTPS_PROXY": f"http://127.0.0.1:{closed}"}
    assert trouble("https://git.invalid/", **door) == ""
    assert "git.invalid port 443" in trouble("https://git.invalid/", **door, NO_PROXY="git.invalid")
    assert "git.invalid port 9418" in trouble("git://git.invalid/", **door)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("ssh://git@github.com:team/", "github.com:team is no address"),
        ("https://dev:secret@git.invalid:99999/", "git.invalid:99999 is no address"),
        ("https://[::1/", "its host is no address"),
        (f"git://{'a' * 70}/", f"{'a' * 70} port 9418"),
    ],
)
def test_no_address_is_told_as_such(to: str, words: str) -> None:
    assert trouble(to).startswith(words)
    assert "secret" not in trouble(to)


def test_the_rules_of_the_repository_around_are_none_of_gos(
    tmp_path: Path, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """go runs git in its module cache."""
    key = f"url.http://127.0.0.1:{closed}/.insteadOf"
    for command in (["init", "-q"], ["config", key, "https://github.com/"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    nobody = {"HOME": str(tmp_path / "home"), "GIT_CONFIG_GLOBAL": os.devnull}
    assert rules(nobody) == ()
    assert rules({**nobody, "GIT_DIR": str(tmp_path / ".git")}) == ()


@pytest.mark.parametrize("prefix", ["github:", "gst:", "gh/", "work@"])
def test_shorthands_of_people_are_not_judged(closed: int, prefix: str) -> None:
    to = f"git://127.0.0.1:{closed}/"
    git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{to}.insteadOf", "GIT_CONFIG_VALUE_0": prefix}
    (rule,) = rules({"GIT_CONFIG_GLOBAL": os.devnull, **git})
    assert (rule.trouble, rule.concerns_go) == ("", False)
    seen = Observed(GoSettings({"GOPROXY": "direct"}), datetime.now(UTC), rewrites=(rule,))
    assert list(check_machine(seen)) == []


@pytest.mark.parametrize(
    "prefix", ["https://", "https:", "http://a/", "ssh://git@a/", "git+ssh://a/", "git@a.example:team/"]
)
def test_what_go_may_ask_git_for_is_judged(prefix: str) -> None:
    assert Rewrite("git://b/", prefix).concerns_go


def test_the_fix_is_where_the_rule_stands(tmp_path: Path, closed: int) -> None:
    """What the fix says is run, and the rule is gone."""
    to, file = f"http://127.0.0.1:{closed}/", tmp_path / "config"
    file.write_text(f'[url "{to}"]\n\tinsteadOf = https://github.com/\n')
    for scope in ("global", "system"):
        home = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            f"GIT_CONFIG_{scope.upper()}": str(file),
        }
        (rule,) = read_rewrites({"PATH": os.environ["PATH"], **home})
        assert (rule.scope, f"git config --{scope} --unset-all" in fix_of(rule)) == (scope, True)
    words = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{to}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **words}
    (rule,) = read_rewrites(environment)
    said = subprocess.run(["sh", "-ec", f"{fix_of(rule)}\nenv -0"], env=environment, capture_output=True, check=True)
    left = dict(line.split("=", 1) for line in said.stdout.decode().split("\0") if line)
    assert (rule.scope, read_rewrites(left)) == ("command", ())
