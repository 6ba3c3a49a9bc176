"""A real Athens asks modsync's hook. Run by `make athens`, where Athens can be had (docs/unproven.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import NOT_TO_BE_HAD
from tests.integration.web_world import WebWorld, free_port, running
from tests.sandbox.athens import Athens
from tests.sandbox.tools import NotToBeHadError, athens_binary

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


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    try:
        binary = athens_binary()
    except NotToBeHadError as error:
        pytest.skip(f"{NOT_TO_BE_HAD}{error}")
    root = tmp_path_factory.mktemp("athens")
    for world in running(tmp_path_factory.mktemp("modsync"), TABLE, ATHENS_SECRET=SECRET):
        athens = Athens(binary, root, free_port(), "http://127.0.0.1:9", {})
        athens.validator = f"http://127.0.0.1:{world.port}/athens/validate/{SECRET}"
        for version in ("v1.0.0", "v1.0.1"):
            store(root / "storage" / "example.com" / "blocked" / version, version)
        athens.start()
        yield Pair(world, athens)
        athens.close()


def store(place: Path, version: str) -> None:
    """A version as Athens' disk storage keeps it."""
    place.mkdir(parents=True)
    (place / "go.mod").write_text("module example.com/blocked\n")
    (place / f"{version}.info").write_text(f'{{"Version":"{version}","Time":"2026-01-01T00:00:00Z"}}')
    (place / "source.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)


def test_the_hook_decides_also_about_what_is_stored(pair: Pair) -> None:
    assert pair.ask("v1.0.1") == 200
    assert pair.ask("v1.0.0") == 403
    lines = (pair.modsync.settings.data_dir / "access-audit.jsonl").read_text()
    assert '"reason": "blocked"' in lines
    assert '"reason": "public"' in lines


def test_without_modsync_builds_stop(pair: Pair) -> None:
    assert pair.ask("v1.0.1") == 200
    pair.modsync.stop()
    assert pair.ask("v1.0.1") == 500
