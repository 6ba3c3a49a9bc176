"""A source's bare cache on this host: its name, its lock, and what a dead worker may have left in it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from app.adapters.git_env import CACHE_MARK, GitOptions, environment
from app.adapters.git_errors import classify, from_os
from app.adapters.git_process import Watch, run
from app.adapters.holder import end_silent_holder, holding
from app.domain.errors import SyncError

_log = logging.getLogger(__name__)
_NAME_LENGTH = 60
_ROUNDS = 20
_HALF_OBJECTS = re.compile(r"^\.?tmp[_-]|^incoming-|\.lock$")
_LOCK = re.compile(r"\.lock$")
_PACKS_BEFORE_REPACK = 50
_TAGS_BEFORE_PACKING = 1000


def directory(cache_dir: Path, clone_url: str) -> Path:
    """Where the cache of `clone_url` lives: a readable name, made unique by the URL's hash."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", re.sub(r"^.*?://(?:[^/@]*@)?", "", clone_url)).strip("-.")
    digest = hashlib.sha256(clone_url.encode()).hexdigest()[:16]
    return cache_dir / f"{readable.removesuffix('.git')[-_NAME_LENGTH:]}-{digest}.git"


@contextmanager
def locked(path: Path, watch: Watch, patience: float) -> Iterator[bool]:
    """Hold the host-wide lock of the cache at `path`; the checkpoint is asked while waiting.

    Gives whether the last holder ended well. Raises SyncError `cache_busy` when others hold it for longer than `patience`
    seconds.
    """
    # No soft lock as a substitute: it would outlive a worker that is killed.
    lock = FileLock(path.with_suffix(".lock"), fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, path, watch, patience)
    except OSError as error:
        raise from_os(error, f"cache {path.name}") from error
    try:
        with holding(Path(lock.lock_file)) as ended_well:
            yield ended_well
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, watch: Watch, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            lock.acquire(timeout=min(watch.beat, patience))
        except Timeout:
            watch.checkpoint()
            ended = end_silent_holder(Path(lock.lock_file))
            if ended:
                _log.warning("silent_holder_ended", extra={"cache": path.name, "pid": ended})
        else:
            return
        if time.monotonic() > deadline:
            raise SyncError("cache_busy", f"another run on this host works in the cache {path.name}")


def prepare(path: Path, options: GitOptions, watch: Watch, *, ended_well: bool = False) -> bool:
    """Under the lock: a usable bare repository at `path`, without what a dead worker left there; True: a new one.

    `ended_well`: the last holder of the lock did, so that it left no process, and nothing beside the repository.
    """
    try:
        if ended_well:
            _remove_stale(path)
        else:
            end_orphans(path)
            remove_leftovers(path)
        if _is_repository(path):
            return False
        rebuild(path, options, watch)
        return True
    except OSError as error:
        raise from_os(error, f"cache {path.name}") from error


def rebuild(path: Path, options: GitOptions, watch: Watch) -> None:
    """An empty bare repository at `path`, in place of whatever is there; made aside, so never seen half made."""
    fresh = Path(tempfile.mkdtemp(prefix=f"{path.stem}.new-", dir=path.parent))
    args = ["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--initial-branch=modsync"]
    result = run([*args, "--end-of-options", str(fresh)], environment(options, git_dir=fresh), path.parent, watch)
    if result.code:
        raise classify("source", result.code, result.err, where=f"cache {path.name}")
    in_place(fresh, path)


def in_place(fresh: Path, path: Path) -> None:
    """The repository `fresh` at `path`, in place of whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    fresh.rename(path)


def end_orphans(path: Path) -> None:
    """Kill every process that still works in the cache: the lock is ours, so its worker is dead.

    Processes are known by the mark in their environment (Linux; elsewhere they end by git's own time limits).
    """
    for _ in range(_ROUNDS):  # again, for what a dying process had just started
        marked = list(_marked(path))
        for pid in marked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not marked:
            return


def _marked(path: Path) -> Iterator[int]:
    mark = f"{CACHE_MARK}={path}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)


def maintenance(path: Path) -> list[list[str]]:
    """The git commands that this cache needs now to stay fast; usually none."""
    commands = []
    if len(list((path / "objects" / "pack").glob("*.pack"))) > _PACKS_BEFORE_REPACK:
        commands.append(["repack", "--geometric=2", "-d", "--quiet"])
    if sum(len(files) for _, _, files in os.walk(path / "refs")) > _TAGS_BEFORE_PACKING:
        commands.append(["pack-refs", "--all"])
    return commands


def _is_repository(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def remove_leftovers(path: Path) -> None:
    """Locks and half packs: nobody works here now, so whatever is there is stale."""
    for half_made in path.parent.glob(f"{path.stem}.new-*"):
        shutil.rmtree(half_made, ignore_errors=True)
    _remove_stale(path)


def _remove_stale(path: Path) -> None:
    objects = str(path / "objects")
    for folder, folders, files in os.walk(path):
        inside = folder == objects or folder.startswith(f"{objects}{os.sep}")
        stale = _HALF_OBJECTS if inside else _LOCK
        for name in filter(stale.search, files):
            Path(folder, name).unlink(missing_ok=True)
        for name in filter(stale.search, folders):
            shutil.rmtree(Path(folder, name), ignore_errors=True)
