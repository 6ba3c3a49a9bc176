"""Releases that no webhook told of, and people who bring them: `modsync backfill` and `modsync reconcile` amid the chaos."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import requests

from tests.chaos.releases import Releases, Sent
from tests.sandbox.modules import HOST
from tests.sandbox.service import Service
from tests.sandbox.world import PROJECT

_LONGEST_SECONDS = 120.0
_ROUNDS = 6
_COMMANDS = ("backfill", "reconcile")


class Bringer:
    """Runs one command after the other from a thread; `asked` counts them."""

    def __init__(self, service: Service, releases: Releases, chance: random.Random, pause: tuple[float, float]) -> None:
        self._service, self._releases, self._chance, self._pause = service, releases, chance, pause
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bringer", daemon=True)
        self.asked = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more; the command that runs may end."""
        self._stop.set()
        self._thread.join()

    def process(self) -> list[psutil.Process]:
        """The command that runs now, if one does."""
        with suppress(psutil.NoSuchProcess):
            if self._process and self._process.poll() is None:
                return [psutil.Process(self._process.pid)]
        return []

    def bring_the_rest(self, rounds: int = _ROUNDS) -> list[str]:
        """When all is healed: ask until every release has a run. Returns a sentence for each that has none."""
        for _ in range(rounds):
            for repository in sorted({each.release.repository for each in self._without_run()}):
                self._bring("reconcile", repository)
        left = self._without_run()
        return [f"{each.release.query}: no webhook told of it, and reconcile did not find it" for each in left]

    def _run(self) -> None:
        while not self._stop.wait(self._chance.uniform(*self._pause)):
            repositories = sorted({each.release.repository for each in self._releases.untold if not each.run})
            if repositories:
                self._bring(self._chance.choice(_COMMANDS), self._chance.choice(repositories))
                self._without_run()

    def _bring(self, command: str, repository: str) -> None:
        """What it says is not looked at: it may be killed, and what counts is what it leaves behind."""
        self.asked += 1
        words = [str(Path(sys.executable).with_name("modsync")), command, f"{HOST}/{repository}", "--json"]
        with (Path(self._service.logs) / "bringer.log").open("ab") as file:
            self._process = subprocess.Popen(
                words, cwd=PROJECT, env=self._service.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        try:
            self._process.wait(_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _without_run(self) -> Sequence[Sent]:
        """Look for the runs that somebody began meanwhile; the releases that have none."""
        for each in self._releases.untold:
            each.run = each.run or self._run_of(each)
        return [each for each in self._releases.untold if not each.run]

    def _run_of(self, sent: Sent) -> str:
        asked = {"module": sent.release.module_path, "version": sent.release.version}
        for _ in range(3):
            with suppress(requests.RequestException):
                url = f"{self._service.url}/api/runs"
                answer = requests.get(url, params=asked, headers=self._service.authorization, timeout=10)
                if answer.status_code == 200:
                    return next((str(run["id"]) for run in answer.json()["runs"]), "")
            time.sleep(0.2)
        return ""
