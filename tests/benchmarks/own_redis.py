"""The embedded Redis in modsync's data directory, as `modsync redis` runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from app.adapters.embedded_redis import server_command, socket_path, socket_url
from tests.benchmarks.harness import wait_until
from tests.benchmarks.mirror_stage import SECRETS
from tests.integration.web_world import ROOT
from tests.sandbox.processes import end_group


@contextmanager
def serving_redis(data: Path) -> Iterator[str]:
    """Its address, once it answers."""
    with running([server_command(data)]):
        wait_until(lambda: _answers(data))
        yield socket_url(data)


@contextmanager
def running(commands: Sequence[Sequence[str]]) -> Iterator[None]:
    """Silent processes with the benches' secrets; ended with the body."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(_start(command))
        yield
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            _ended(process)


def _answers(data: Path) -> bool:
    """The socket is there a moment before anybody listens."""
    try:
        return socket_path(data).exists() and bool(redis.Redis.from_url(socket_url(data)).ping())
    except redis.ConnectionError:
        return False


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **SECRETS}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        end_group(process)
