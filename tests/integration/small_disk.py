"""Stories on a disk that is really full: `python -m tests.integration.small_disk STORY DIRECTORY`, one JSON line each.

Run by test_full_disk.py in a mount namespace of its own, in which DIRECTORY/disk is a file system of a few megabytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.domain.errors import SyncError
from tests.integration.git_world import SOURCE, World, nothing
from tests.integration.web_world import Answer, WebWorld, make_world, release, until

SIZES = {"cache": 6, "database": 24}
"""Megabytes of each story's disk."""


def cache(directory: Path) -> dict[str, Any]:
    """A release that does not fit on the caches' disk, then does."""
    world = World(directory / "world")
    first = world.repositories.commit(SOURCE, {"go.mod": b"module corp.example/lib\n"}, "Release v1.0.0")
    world.repositories.tag(SOURCE, "v1.0.0", first)
    big = {"go.mod": b"module corp.example/lib\n", "big.bin": os.urandom(2 * SIZES["cache"] << 20)}
    world.repositories.tag(SOURCE, "v1.1.0", world.repositories.commit(SOURCE, big, "Release v1.1.0"))
    with world.server:
        door = world.door(cache_dir=directory / "disk" / "cache")
        tried = [_fetched(world, door, tag) for tag in ("v1.0.0", "v1.1.0", "v1.1.0")]
        litter = [path.name for path in (directory / "disk").rglob("tmp_*")]
        resize(directory / "disk", 10 * SIZES["cache"])
        tried += [_fetched(world, door, tag) for tag in ("v1.1.0", "v1.0.0")]
    return {"tried": tried, "litter": litter}


def _fetched(world: World, door: Any, tag: str) -> str:
    try:
        with door.source(world.url(SOURCE), nothing) as copy:
            found = copy.fetch([tag], [])
            return "fetched" if found else "nothing"
    except SyncError as error:
        return error.code


def database(directory: Path) -> dict[str, Any]:
    """Webhooks while the database's disk is full, and when there is room again."""
    world = make_world(directory / "disk")
    try:
        world.start_redis()
        world.start_web()
        return _filled(world, directory / "disk")
    finally:
        world.stop()


def _filled(world: WebWorld, disk: Path) -> dict[str, Any]:
    taken = [_status(world, f"v1.0.{number}") for number in range(3)]
    fill(disk)
    refused = _until_refused(world)
    rows = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM deliveries), (SELECT count(*) FROM attempts)"
    (disk / "filler").unlink()
    again = until(lambda: world.deliver(release(version="v2.9.9")).status == 202)
    counted = world.rows(rows)[0]
    return {
        "taken": taken, "accepted": refused[0], "refused": refused[1].status, "error": refused[1].json["error"]["code"],
        "retry_after": refused[1].headers.get("retry-after"), "again": again, "rows": counted,
    }  # fmt: skip


def _status(world: WebWorld, version: str) -> int:
    return world.deliver(release(version=version)).status


def _until_refused(world: WebWorld) -> tuple[int, Answer]:
    """How many were accepted before the first refusal, and that one: what has room in a page is taken, rightly."""
    for number in range(500):
        answer = world.deliver(release(version=f"v1.1.{number}", note="x" * 2000))
        if answer.status != 202:
            return number, answer
    raise AssertionError("500 deliveries fit on a full disk")


def fill(disk: Path) -> None:
    """Take all the room that is left."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def resize(disk: Path, megabytes: int) -> None:
    """A larger disk."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", "tmpfs", str(disk)], check=True)


STORIES: dict[str, Callable[[Path], dict[str, Any]]] = {"cache": cache, "database": database}

if __name__ == "__main__":
    print(json.dumps(STORIES[sys.argv[1]](Path(sys.argv[2]))))
