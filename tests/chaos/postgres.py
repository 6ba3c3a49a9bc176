"""A PostgreSQL server that can be killed and started again, with one migrated database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.adapters import migrate
from tests.integration import databases
from tests.integration.databases import PostgresServer

_START_SECONDS = 60.0


class Postgres:
    """A context manager: entering makes and starts the server, leaving ends and removes it."""

    def __init__(self) -> None:
        # Not pytest's directories: nobody may not look into them, and a socket's path has at most 107 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="modsync-pg-", dir="/tmp"))
        self._user = databases._NOBODY if os.geteuid() == 0 else None
        if self._user:
            os.chown(self._directory, self._user, self._user)
        self._binaries = databases._binaries(self._directory, self._user)
        self._server = PostgresServer(self._directory)
        self.process: subprocess.Popen[bytes] | None = None
        self.url = self._server.url("postgres")

    def start(self) -> None:
        """Start (again), and wait until it takes connections. Raises TimeoutError."""
        (self._directory / "data" / "postmaster.pid").unlink(missing_ok=True)
        command: list[str | Path] = [
            self._binaries / "postgres",
            "-D",
            self._directory / "data",
            "-c",
            "listen_addresses=",
        ]
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-k", self._directory, *databases._FAST], stdout=log, stderr=log, start_new_session=True,
                **self._options,
            )  # fmt: skip
        end = time.monotonic() + _START_SECONDS
        while not self._server.answers():
            if time.monotonic() > end:
                raise TimeoutError((self._directory / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, without a goodbye to its clients; what was committed is kept."""
        if self.process:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(_START_SECONDS)

    @property
    def _options(self) -> dict[str, Any]:
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        options: dict[str, Any] = {"user": self._user, "group": self._user, "cwd": self._directory, "env": environment}
        return options | ({"extra_groups": []} if self._user else {})

    def __enter__(self) -> Self:
        command: list[str | Path] = [
            self._binaries / "initdb",
            "--pgdata",
            self._directory / "data",
            "--username=postgres",
        ]
        more = ["--auth=trust", "--no-locale", "--no-sync", "--encoding=UTF8"]
        subprocess.run([*command, *more], check=True, capture_output=True, **self._options)
        self.start()
        migrate.upgrade(self.url)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._directory)
