"""A real Athens asks modsync's hook, and starts with the settings that we ship. Run by `make athens` (docs/unproven.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import NOT_TO_BE_HAD
from tests.integration.web_world import WebWorld, free_port, running
from tests.sandbox.athens import Athens
from tests.sandbox.gotool import NOWHERE
from tests.sandbox.tools import NotToBeHadError, athens_binary
from tests.sandbox.world import PROJECT

pytestmark = pytest.mark.athens
SECRET = "a-secret-in-the-address-of-athens"
TABLE = '[athens]\nsecret_env = "ATHENS_SECRET"\nblock = ["example.com/blocked@v1.0.0"]\n'


@dataclass
class Pair:
    """modsync and Athens; Athens' store has both versions, whose sources are nowhere."""

    modsync: WebWorld
    athens: Athens

    def ask(self, version: str, module: str = "example.com/blocked") -> int:
        """The status of Athens' answer for a version's `.info`."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{self.athens.url}/{module}/@v/{version}.info", timeout=30).status_code


def binary_or_skip() -> Path:
    try:
        return athens_binary()
    except NotToBeHadError as error:
        pytest.skip(f"{NOT_TO_BE_HAD}{error}")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    binary = binary_or_skip()
    root = tmp_path_factory.mktemp("athens")
    for world in running(tmp_path_factory.mktemp("modsync"), TABLE, ATHENS_SECRET=SECRET):
        athens = Athens(binary, root, free_port(), NOWHERE, {})
        athens.validator = f"http://127.0.0.1:{world.port}/athens/validate/{SECRET}"
        for version in ("v1.0.0", "v1.0.1"):
            store(root / "storage" / "example.com" / "blocked" / version, version)
        athens.start()
        yield Pair(world, athens)
        athens.close()


def store(place: Path, version: str, module: str = "example.com/blocked") -> None:
    """A version as Athens' disk storage keeps it."""
    place.mkdir(parents=True)
    (place / "go.mod").write_text(f"module {module}\n")
    (place / f"{version}.info").write_text(f'{{"Version":"{version}","Time":"2026-01-01T00:00:00Z"}}')
    (place / "source.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)


def test_the_hook_decides_also_about_what_is_stored(pair: Pair) -> None:
    assert pair.ask("v1.0.1") == 200
    assert pair.ask("v1.0.0") == 403
    lines = (pair.modsync.settings.data_dir / "access-audit.jsonl").read_text()
    assert '"reason": "blocked"' in lines
    assert '"reason": "public"' in lines


class AsShipped(Athens):
    """Athens with the settings of deploy/athens, but for its places, its port and what would leave this machine."""

    def _environment(self) -> dict[str, str]:
        lines = (PROJECT / "deploy/athens/athens.env").read_text(encoding="utf-8").splitlines()
        shipped = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        own = super()._environment()
        kept = ("HOME", "ATHENS_PORT", "ATHENS_DISK_STORAGE_ROOT", "ATHENS_GOGET_DIR", "ATHENS_GO_BINARY_ENV_VARS")
        mode = f"file:{PROJECT / 'deploy/athens/download.hcl'}"
        return {**own, **shipped, **{name: own[name] for name in kept}, "ATHENS_DOWNLOAD_MODE": mode}


def test_the_settings_that_we_ship(tmp_path: Path) -> None:
    athens = AsShipped(binary_or_skip(), tmp_path, free_port(), NOWHERE, {})
    store(tmp_path / "storage" / "go.corp.example" / "shipped" / "v1.0.0", "v1.0.0", "go.corp.example/shipped")
    athens.start()
    try:
        with requests.Session() as session:
            session.trust_env = False
            base = f"{athens.url}/go.corp.example/shipped/@v"
            assert session.get(f"{base}/v1.0.0.mod", timeout=60).text == "module go.corp.example/shipped\n"
            # the source is away: mode "fallback" lists what is stored
            assert session.get(f"{base}/list", timeout=60).text.split() == ["v1.0.0"]
            for name in ("go.corp.example/shipped", "go.corp.example/team/repo/sub"):  # no name leaves the house
                asked = session.get(f"{athens.url}/sumdb/127.0.0.1:9/lookup/{name}@v1.0.0", timeout=60)
                assert asked.status_code == 403, name
            assert "# TYPE " in session.get(f"{athens.url}/metrics", timeout=60).text  # for Prometheus
    finally:
        athens.close()
    assert '"level":"' in (tmp_path / "athens.log").read_text()


def test_without_modsync_builds_stop(pair: Pair) -> None:
    assert pair.ask("v1.0.1") == 200
    pair.modsync.stop()
    assert pair.ask("v1.0.1") == 500
