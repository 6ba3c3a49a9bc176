"""Names of sources: which addresses they may stand for, and how git is held to them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.adapters.git_env import GitOptions, environment
from app.adapters.git_resolve import Pin, SystemResolver, is_inside, pin
from app.domain.errors import SyncError

URL = "https://git.corp.example/team/repo.git"


class Names:
    """A resolver with fixed answers."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def addresses(self, host: str, port: int) -> Sequence[str]:
        if not self._addresses:
            raise OSError(-2, "Name or service not known")
        return self._addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1",
        "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
        "168.63.129.16", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:7::7f00:1", "::ffff:0:127.0.0.1", "::ffff:0:a83f:8110",
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_of_metadata_services_are_refused(address: str) -> None:
    assert is_inside(address)
    with pytest.raises(SyncError, match="clone_url_refused"):
        pin(URL, Names("203.0.113.7", address))


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.7.7", "172.16.0.9", "203.0.113.7", "2001:db8::7", "fd12::1"])
def test_public_and_private_addresses_are_a_companys_own(address: str) -> None:
    found = pin(URL, Names(address))
    assert found is not None
    assert found.addresses == (address,)


def test_a_name_that_nobody_knows_is_tried_again_later() -> None:
    for names in (Names(), SystemResolver()):
        with pytest.raises(SyncError) as caught:
            pin("https://no-such-name.invalid/x", names)
        assert (caught.value.code, caught.value.retryable) == ("source_unreachable", True)


def test_the_machines_own_resolver_finds_this_machine() -> None:
    with pytest.raises(SyncError, match="clone_url_refused"):
        pin("https://localhost:8443/x", SystemResolver())


def test_files_have_no_name() -> None:
    assert pin("file:///srv/git/x", Names()) is None


def test_git_is_held_to_the_addresses(tmp_path: Path) -> None:
    found = pin("https://git.corp.example:8443/x", Names("203.0.113.7", "2001:db8::7"))
    made = environment(GitOptions(tmp_path), url=URL, pin=found)
    values = {made[f"GIT_CONFIG_KEY_{n}"]: made[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(made["GIT_CONFIG_COUNT"]))}
    assert values["http.curloptResolve"] == "git.corp.example:8443:203.0.113.7,[2001:db8::7]"
    assert "HostName" not in made["GIT_SSH_COMMAND"]


def test_an_address_of_ipv6_needs_no_pin_and_curl_could_not_read_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    url = f"https://[::1]:{port}/x.git"
    made = environment(GitOptions(tmp_path), url=url, pin=Pin("::1", port, ("::1",), "https"))
    told = subprocess.run(
        ["git", "ls-remote", url], env={**os.environ, **made}, capture_output=True, text=True, check=False
    )
    assert "connect to ::1" in told.stderr


@pytest.mark.parametrize(
    ("url", "pinned"), [("https://git.corp.example/x", False), ("ssh://git@git.corp.example/x", True)]
)
def test_behind_an_http_proxy_only_ssh_looks_names_up(url: str, pinned: bool) -> None:
    class Names:
        def addresses(self, host: str, port: int) -> list[str]:
            return ["203.0.113.7"]

    assert (
        GitOptions(Path("x"), resolver=Names(), http_proxy="http://proxy.example:3128").pinned(url) is not None
    ) == pinned
    assert GitOptions(Path("x"), resolver=Names()).pinned(url) is not None
    assert GitOptions(Path("x")).pinned(url) is None


@pytest.mark.parametrize(("port", "alias"), [(22, "git.corp.example"), (2222, "[git.corp.example]:2222")])
def test_ssh_is_held_to_the_address_and_knows_the_key_by_the_name(tmp_path: Path, port: int, alias: str) -> None:
    made = environment(GitOptions(tmp_path), pin=Pin("git.corp.example", port, ("203.0.113.7",), "ssh"))
    assert "-oHostName=203.0.113.7" in made["GIT_SSH_COMMAND"]
    assert f"-oHostKeyAlias={alias}" in made["GIT_SSH_COMMAND"].replace("'", "")
