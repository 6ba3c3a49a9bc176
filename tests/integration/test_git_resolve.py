"""Pinned names with a real git and a real server on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.adapters.git_env import GitOptions, environment
from app.adapters.git_resolve import Pin, SystemResolver
from app.domain.errors import SyncError
from tests.integration.git_world import SOURCE, World, nothing

NAME = "git.corp.example"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made


def _listed(url: str, pin: Pin | None, cache: Path) -> subprocess.CompletedProcess[bytes]:
    env = environment(GitOptions(cache, protocols=("http",)), url=url, pin=pin)
    return subprocess.run(["git", "ls-remote", url], env={**env, "PATH": "/usr/bin:/bin"}, capture_output=True)


def test_git_asks_the_pinned_address_and_nobody_else(world: World, tmp_path: Path) -> None:
    world.release("v1.0.0")
    port = urlsplit(world.url(SOURCE)).port or 0
    url = world.url(SOURCE).replace("127.0.0.1", NAME)
    pinned = _listed(url, Pin(NAME, port, ("127.0.0.1",), "http"), tmp_path)
    assert b"refs/tags/v1.0.0" in pinned.stdout
    assert _listed(url, None, tmp_path).returncode != 0


def test_the_door_refuses_a_source_on_this_machine_before_git_starts(world: World) -> None:
    world.release("v1.0.0")
    door = world.door(resolver=SystemResolver())
    with pytest.raises(SyncError, match="clone_url_refused"):
        door.remote_refs(world.url(SOURCE), [], nothing, side="source")
    with door.source(world.url(SOURCE), nothing) as copy, pytest.raises(SyncError, match="clone_url_refused"):
        copy.fetch(["v1.0.0"], [])
    assert world.front.seen == []


def test_the_mirror_is_the_operators_own_choice(world: World) -> None:
    door = world.door(resolver=SystemResolver())
    assert door.remote_refs(world.url(SOURCE), [], nothing, side="mirror") == {}
    assert world.front.seen
