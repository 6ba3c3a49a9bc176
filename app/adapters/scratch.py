"""Temporary directories that somebody removes even when their owner was killed: each is named after its owner."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.adapters.processes import owner_is_gone, owner_mark

_NAMED = re.compile(r"^modsync-(\d+-\d+)-")
# What another host or container left in a shared directory is told by its age: no step takes as long.
_STALE_SECONDS = 6 * 3600.0


@contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """A private directory below `parent`, gone afterwards. Raises OSError."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Path(tempfile.mkdtemp(prefix=f"modsync-{owner_mark()}-", dir=parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_stale(parent: Path) -> list[str]:
    """Remove what dead owners left below `parent`; the names."""
    stale = [path for path in parent.glob("modsync-*") if _is_stale(path)]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return [path.name for path in stale]


def _is_stale(path: Path) -> bool:
    named = _NAMED.match(path.name)
    if named and owner_is_gone(named[1]):
        return True
    try:
        return time.time() - path.lstat().st_mtime > _STALE_SECONDS
    except OSError:
        return False
