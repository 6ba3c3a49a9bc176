"""The caches' share of the disk: the least recently used go, each under its lock, while somebody else's stay."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from app.domain.errors import SyncError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Budget:
    """`most` bytes of caches (0: no limit), at least `free` bytes left on their disk (0: any)."""

    most: int = 0
    free: int = 0


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache as found: its size in bytes and when it was last opened (seconds since 1970)."""

    path: Path
    size: int
    used_at: float


def check_room(directory: Path, free: int) -> None:
    """Nothing, while the disk of `directory` has more than `free` bytes left. Error: disk_full."""
    if not free:
        return
    left = shutil.disk_usage(_existing(directory)).free
    if left < free:
        raise SyncError("disk_full", f"{left >> 20} MiB are left on the data's disk, kept free are {free >> 20} MiB")


def used(path: Path) -> None:
    """Note that the cache at `path` is used now; its lock is ours."""
    with suppress(OSError):  # on a full disk the order of use is not what matters
        os.utime(path.with_suffix(".lock"))


def evict(directory: Path, budget: Budget) -> int:
    """Remove least recently used caches until the budget is kept; bytes that were freed. One in use is left."""
    return evict_of(sorted(found(directory), key=lambda cache: cache.used_at), directory, budget)


def evict_of(caches: Sequence[Cache], directory: Path, budget: Budget) -> int:
    """As evict(), of these caches, the least recently used one first."""
    _half_removed(directory)
    over = _over(directory, budget, sum(cache.size for cache in caches))
    freed = 0
    for cache in caches:
        if freed >= over:
            break
        if _removed(cache.path):
            freed += cache.size
            log.info("cache_evicted", extra={"cache": cache.path.name, "bytes": cache.size})
    return freed


def _half_removed(directory: Path) -> None:
    """What a killed process left of a cache that it removed or made; whoever makes one now has its lock."""
    for path in directory.glob("*.new-*"):
        lock = FileLock(path.with_name(f"{path.name.rpartition('.new-')[0]}.lock"), fallback_to_soft=False)
        with suppress(Timeout, OSError), lock.acquire(timeout=0):
            shutil.rmtree(path)


def _over(directory: Path, budget: Budget, total: int) -> int:
    """How many bytes have to go."""
    above = total - budget.most if budget.most else 0
    lacking = budget.free - shutil.disk_usage(_existing(directory)).free if budget.free else 0
    return max(0, above, lacking)


def found(directory: Path) -> Iterator[Cache]:
    """The caches there, with their sizes; reads every cache's directories."""
    for path in directory.glob("*.git"):
        with suppress(OSError):  # gone meanwhile
            lock = path.with_suffix(".lock")
            yield Cache(path, _size(path), (lock if lock.exists() else path).stat().st_mtime)


def _size(path: Path) -> int:
    """What the files take on the disk."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                total += Path(folder, name).lstat().st_blocks * 512
    return total


def _removed(path: Path) -> bool:
    """Remove the cache under its lock; False while somebody works in it."""
    lock = FileLock(path.with_suffix(".lock"), fallback_to_soft=False)
    try:
        with lock.acquire(timeout=0):
            # Aside first: half a cache must not be taken for a whole one. What a kill leaves, _half_removed() finds.
            aside = Path(tempfile.mkdtemp(prefix=f"{path.stem}.new-", dir=path.parent))
            path.rename(aside / path.name)
            shutil.rmtree(aside)
    except (Timeout, FileNotFoundError):
        return False
    except OSError as error:
        log.warning("cache_not_evicted", extra={"cache": path.name, "error": error.strerror})
        return False
    return True


def disk(directory: Path) -> tuple[int, int]:
    """(free, all) bytes of the disk that `directory` is or will be on."""
    usage = shutil.disk_usage(_existing(directory))
    return usage.free, usage.total


def _existing(directory: Path) -> Path:
    return next(each for each in (directory, *directory.parents) if each.exists())
