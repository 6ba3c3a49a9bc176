"""What must be true when all is healed, seen from outside. Each check returns sentences about what is not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil
import requests
from sqlalchemy import Engine, MetaData, select

from app.adapters.git_archive import GitArchive
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import module_sums, zip_sums
from tests.chaos.releases import Sent
from tests.sandbox.looked_at import gone, name_of
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World

_REPLAYS = 4
_END_SECONDS = 150.0
# What a run may end with while everything around it is broken: outages and refusals, never a verdict about content.
EXPLAINED = frozenset(
    {
        *("source_unreachable", "git_timeout", "git_failed", "cache_broken", "mirror_moved", "push_not_visible"),
        *("gitlab_unreachable", "gitlab_unavailable", "rate_limited"),
        *("pipeline_failed", "proxy_unreachable", "not_cached_yet"),
    }
)


class Runs:
    """The runs as modsync's API tells them. `replays` counts, `failures` says by which errors runs ended meanwhile."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.replays = 0
        self.failures: dict[str, int] = {}
        self.wrong: list[str] = []

    def bring_to_an_end(self, sent: Sequence[Sent]) -> None:
        """Wait until all have ended; replay what failed; what is not done then, is wrong."""
        for _ in range(_REPLAYS):
            self._wait(sent)
            failed = [each for each in sent if self._status(each)["status"] == "failed"]
            if not failed:
                break
            for each in failed:
                self._replay(each)
        self._wait(sent)
        for each in sent:
            run = self._status(each)
            if run["status"] != "done":
                self.wrong.append(f"run {each.run} ({each.release.query}) is {run['status']}: {run.get('error')}")

    def _wait(self, sent: Sequence[Sent]) -> None:
        end = time.monotonic() + _END_SECONDS
        left = list(sent)
        while left and time.monotonic() < end:
            left = [each for each in left if self._status(each)["status"] not in ("done", "failed", "rejected")]
            time.sleep(0.2 if left else 0)

    def _replay(self, sent: Sent) -> None:
        error = (self._status(sent).get("error") or {}).get("code", "")
        self.failures[error] = self.failures.get(error, 0) + 1
        if error not in EXPLAINED:
            self.wrong.append(f"run {sent.run} ({sent.release.query}) failed with {error}, which no fault explains")
        url = f"{self._service.url}/api/runs/{sent.run}/replay"
        answer = requests.post(url, json={"reason": "healed"}, headers=self._service.authorization, timeout=10)
        self.replays += answer.status_code == 202

    def _status(self, sent: Sent) -> Mapping[str, Any]:
        for _ in range(20):
            with suppress(requests.RequestException):
                return self._service.run(sent.run)
            time.sleep(0.2)
        return {"status": "unknown"}


def lost(world: World, sent: Sequence[Sent]) -> list[str]:
    """Accepted releases that are not in the mirror at their commit."""
    missing = []
    for each in sent:
        path, tag = f"{MIRRORS}/{each.release.repository}", f"refs/tags/{each.release.tag}"
        at = world.gitlab.refs(path).get(tag) if world.gitlab.has_project(path) else None
        if at != each.release.commit:
            missing.append(f"{each.release.query}: the mirror has {at}, released is {each.release.commit}")
    return missing


def other_bytes(world: World, sent: Sequence[Sent]) -> list[str]:
    """Releases that the proxy serves not at all, or not as they are at the source."""
    wrong = []
    for each in sent:
        url = f"{world.proxy.url}/{each.release.module_path}/@v/{each.release.version}.zip"
        answer = requests.get(url, headers={"Disable-Module-Fetch": "true"}, timeout=30)
        served = _h1_of_zip(answer.content, each) if answer.status_code == 200 else f"status {answer.status_code}"
        released = _h1_of_source(world, each)
        if served != released:
            wrong.append(f"{each.release.query}: the proxy serves {served}, released is {released}")
    return wrong


def leaked(world: World, engine: Engine) -> list[str]:
    """Secrets in files below the data and log directories, and in any value of the database."""
    places = [path for name in ("data", "logs", "tmp") for path in (world.root / name).rglob("*") if path.is_file()]
    texts: Iterator[tuple[str, bytes]] = ((str(path), path.read_bytes()) for path in places)
    found = [f"a secret is in {name}" for name, text in texts if any(s.encode() in text for s in world.secrets)]
    return found + [
        f"a secret is in table {name}" for name, text in _rows(engine) if any(s in text for s in world.secrets)
    ]


def leftovers(world: World, known: Sequence[psutil.Process]) -> list[str]:
    """Processes that outlived modsync's end, and temporary files."""
    alive = [process for process in known if not gone(process)]
    found = [f"process {process.pid} is left: {name_of(process)}" for process in {*alive, *_ours(world)}]
    for pattern in ("data/tmp/*", "tmp/*", "data/cache/**/tmp_*", "data/cache/*.new-*", "data/cache/*.git/**/*.lock"):
        found += [f"{path.relative_to(world.root)} is left" for path in world.root.glob(pattern)]
    return found


def _ours(world: World) -> list[psutil.Process]:
    """Every process with this world's configuration in its environment, but ourselves: modsync and its git."""
    wanted = [str(world.config), str(world.root / "data")]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            values = process.environ().values() if process.pid != psutil.Process().pid else ()
            if any(value.startswith(tuple(wanted)) for value in values):
                found.append(process)
    return found


def _rows(engine: Engine) -> Iterator[tuple[str, str]]:
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for name, table in tables.tables.items():
            for row in connection.execute(select(table)):
                yield name, " ".join(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in row)


def _h1_of_zip(content: bytes, sent: Sent) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        try:
            return zip_sums(
                file, ModulePath.parse(sent.release.module_path), Version.parse(sent.release.version)
            ).h1_zip
        except RuleBroken as error:
            return f"no module zip ({error.message})"


def _h1_of_source(world: World, sent: Sent) -> str:
    archive, release = GitArchive(world.platform.path(sent.release.repository)), sent.release
    module, version = ModulePath.parse(release.module_path), Version.parse(release.version)
    return module_sums(archive, release.commit, module, version, release.subdir).h1_zip
