"""modsync itself as a user runs it: the Procfile's processes, as real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil
import requests

from tests.sandbox.world import PROJECT

ROLES = ("redis", "web", "worker", "backfill", "sweeper")
# A role is the command of its name, but for these.
COMMANDS = {"backfill": ("worker", "--queue", "backfill"), "second sweeper": ("sweeper",)}
START_SECONDS = 60.0
STOP_SECONDS = 12.0


class Service:
    """Starts each role as `modsync ROLE` in a process group of its own; what they print goes to `<logs>/<role>.log`."""

    def __init__(
        self, url: str, environment: Mapping[str, str], logs: Path, token: str, *, roles: tuple[str, ...] = ROLES
    ) -> None:
        self.url, self._token, self.logs, self._roles = url, token, logs, roles
        self.environment = {**os.environ, **environment}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._files: list[IO[bytes]] = []

    def start(self) -> None:
        """Start all roles and wait until the web server is ready."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for role in self._roles:
            self.start_role(role)
        if "web" in self._roles:
            self.wait_ready()

    def start_role(self, role: str) -> None:
        """Start one role (again)."""
        file = (self.logs / f"{role}.log").open("ab")
        self._files.append(file)
        self.processes[role] = subprocess.Popen(
            [str(Path(sys.executable).with_name("modsync")), *COMMANDS.get(role, (role,))],
            cwd=PROJECT, env=self.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip

    def wait_ready(self) -> None:
        """Until /readyz answers 200. Raises TimeoutError with the logs' ends."""
        self.until(lambda: self._get("/readyz") == 200, "the web server's readiness", START_SECONDS)

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a role's whole group."""
        os.killpg(self.processes[role].pid, number)

    def stop(self) -> list[int]:
        """SIGTERM to all, as honcho does; returns the ids of processes that were left and had to be killed."""
        known = [child for process in self.processes.values() for child in _family(process.pid)]
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        _, alive = psutil.wait_procs(known, timeout=STOP_SECONDS)
        for child in alive:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        for process in self.processes.values():
            process.wait(STOP_SECONDS)
        for file in self._files:
            file.close()
        return [child.pid for child in alive]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Wait for a condition. Raises TimeoutError naming it, with the ends of the logs."""
        end, pause = time.monotonic() + seconds, 0.05
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:.0f} s for {what}\n{self.log_tails()}")
            time.sleep(pause)
            pause = min(pause * 1.2, 0.4)  # to ask costs the service some of the machine that it works with

    def run(self, identifier: str) -> dict[str, Any]:
        """GET /api/runs/<id>."""
        answer = requests.get(f"{self.url}/api/runs/{identifier}", headers=self.authorization, timeout=10)
        answer.raise_for_status()
        detail: dict[str, Any] = answer.json()
        return detail

    def wait_for(self, identifier: str, *statuses: str, seconds: float = 60.0) -> dict[str, Any]:
        """The run when it has one of these statuses."""
        seen: dict[str, Any] = {}

        def reached() -> bool:
            seen.update(self.run(identifier))
            return seen["status"] in statuses

        self.until(reached, f"run {identifier} to be {' or '.join(statuses)} (is {seen.get('status')})", seconds)
        return seen

    @property
    def authorization(self) -> dict[str, str]:
        """The header for the API."""
        return {"Authorization": f"Bearer {self._token}"}

    def log_tails(self, lines: int = 15) -> str:
        """The last lines of each role's log."""
        texts = [
            (path.stem, path.read_text(errors="replace").splitlines()[-lines:]) for path in self.logs.glob("*.log")
        ]
        return "\n".join(f"--- {role}\n" + "\n".join(tail) for role, tail in texts)

    def _get(self, path: str) -> int:
        with suppress(requests.RequestException):
            return requests.get(self.url + path, timeout=5).status_code
        return 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def _family(pid: int) -> list[psutil.Process]:
    """The process and all that came from it, as far as they live."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []
