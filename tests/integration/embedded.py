"""The embedded Redis, for a test that needs nothing else of modsync."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.embedded_redis import server_command, socket_path, socket_url
from tests.integration.databases import wait_until


@contextmanager
def embedded_redis() -> Iterator[str]:
    """Its URL while it runs; a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="modsync-", dir="/tmp") as directory:
        process = subprocess.Popen(server_command(Path(directory)), stdout=subprocess.DEVNULL)
        wait_until(socket_path(Path(directory)).exists)
        try:
            yield socket_url(Path(directory))
        finally:
            process.terminate()
            process.wait(10)
