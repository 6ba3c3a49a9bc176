"""A disk that is really full, for the caches and for the database: a small file system in a mount namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.small_disk import SIZES
from tests.integration.web_world import ROOT

_ALONE = ["unshare", "--user", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o "size=$1m" tmpfs "$2/disk" && shift 2 && exec "$@"'


def told(story: str, directory: Path) -> dict[str, Any]:
    """What a story of small_disk.py prints, with `directory`/disk small; skipped where nobody may mount."""
    (directory / "disk").mkdir()
    mounted = [*_ALONE, "sh", "-c", _MOUNT, "sh", str(SIZES[story]), str(directory)]
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel gives ordinary users no mount namespaces (unshare --user --mount)")
    command = [sys.executable, "-m", "tests.integration.small_disk", story, str(directory)]
    done = subprocess.run([*mounted, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_cache_that_does_not_fit_is_said_and_works_again_with_room(tmp_path: Path) -> None:
    found = told("cache", tmp_path)
    assert found["tried"] == ["fetched", "disk_full", "disk_full", "fetched", "fetched"]
    assert found["litter"] == []


def test_a_full_disk_refuses_webhooks_loses_none_and_takes_them_again_with_room(tmp_path: Path) -> None:
    found = told("database", tmp_path)
    assert found["taken"] == [202, 202, 202]
    assert (found["refused"], found["error"]) == (503, "store_unavailable")
    assert int(found["retry_after"]) >= 1
    assert found["again"]
    accepted = len(found["taken"]) + found["accepted"] + 1
    assert found["rows"] == [accepted, accepted, accepted]
