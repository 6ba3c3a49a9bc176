"""Watches, all the time and past modsync, what must never happen: tags that move, a foreign `ci-sync`, secrets in argv."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.releases import Releases
from tests.sandbox.world import MIRRORS, World

_LOOK_SECONDS = 0.1
_ARGV_EVERY = 5  # looks


class Watch:
    """Reads the mirrors' refs as files. `wrong` collects sentences."""

    def __init__(self, world: World, releases: Releases) -> None:
        self._world, self._releases = world, releases
        self._tags: dict[tuple[str, str], str] = {}
        self._branches: set[tuple[str, str]] = set()
        self._wrong: dict[str, None] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[str]:
        """End, and say what was wrong."""
        self._stop.set()
        self._thread.join()
        self._look()
        for repository, commit in sorted(self._branches):
            if commit not in self._releases.allowed(repository):
                self._wrong[f"{repository}: ci-sync was at {commit}, which was never released"] = None
        return list(self._wrong)

    def _run(self) -> None:
        looks = 0
        while not self._stop.wait(_LOOK_SECONDS):
            looks += 1
            self._look()
            if looks % _ARGV_EVERY == 0:
                self._look_at_arguments()

    def _look(self) -> None:
        for repository in self._releases.repositories:
            path = f"{MIRRORS}/{repository}"
            if self._world.gitlab.has_project(path):
                place = self._world.gitlab.world.repository(self._world.gitlab.project(path)).path
                self._compare(repository, read_refs(place))

    def _compare(self, repository: str, refs: dict[str, str]) -> None:
        for name, at in refs.items():
            if name.startswith("refs/tags/"):
                before = self._tags.setdefault((repository, name), at)
                if before != at:
                    self._wrong[f"{repository}: {name} moved from {before} to {at}"] = None
            elif name == "refs/heads/ci-sync":
                self._branches.add((repository, at))
        gone = [name for place, name in self._tags if place == repository and name not in refs]
        for name in gone:
            if name not in read_refs_again(self._world, repository):  # it may have been packed between two reads
                self._wrong[f"{repository}: {name} is gone"] = None

    def _look_at_arguments(self) -> None:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            for secret in self._world.secrets:
                if secret in line:
                    self._wrong[f"a secret is in the arguments of process {process.pid}"] = None


def read_refs(repository: Path) -> dict[str, str]:
    """Every ref of a bare repository by full name, and the object that it names; half written files are left out."""
    refs = {}
    with suppress(OSError):
        for line in (repository / "packed-refs").read_text().splitlines():
            if not line.startswith(("#", "^")):
                at, _, name = line.partition(" ")
                refs[name] = at
    for path in (repository / "refs").rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.name.endswith(".lock") and len(at := path.read_text().strip()) == 40:
                refs[path.relative_to(repository).as_posix()] = at
    return refs


def read_refs_again(world: World, repository: str) -> dict[str, str]:
    """As git itself reads them."""
    return world.gitlab.refs(f"{MIRRORS}/{repository}")
