"""git's insteadOf with ssh's aliases and behind a web proxy: what works for git is no finding."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.doctor.probe_rewrites import read_rewrites
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
