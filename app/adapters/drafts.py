"""Files that are written aside and appear whole: each draft is locked while it is written, so that no other is swept.

Drafts lie in one directory beside what they become, which is cheap to look at. The lock is the kernel's: it is gone with
whoever held it, however that ended, also on another host or in another container.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE
from typing import BinaryIO

DIRECTORY = ".modsync-drafts"
_FOR_ALL = 0o644  # another user's web server reads the files
_GO_IN = 0o755
# A draft is made a moment before it is locked.
_YOUNG_SECONDS = 60.0
# Where the file system knows no locks, age decides: nothing is written for as long.
_STALE_SECONDS = 6 * 3600.0


def put(root: Path, file: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a draft below `root`, sync, rename to `file`, sync: after a power cut it is the old or the new one.

    Raises OSError, and what `write` raises; then nothing is left.
    """
    _make_for_all(root, file.parent)
    drafts = root / DIRECTORY
    drafts.mkdir(mode=0o700, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=drafts)
    try:
        with os.fdopen(descriptor, "w+b") as opened:
            with suppress(OSError):  # no locks here: see _STALE_SECONDS
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write(opened)
            opened.flush()
            os.fchmod(opened.fileno(), _FOR_ALL)
            os.fsync(opened.fileno())
            Path(draft).replace(file)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    _sync_directory(file.parent)


def _make_for_all(root: Path, directory: Path) -> None:
    """Whatever the umask says: a unit's 027 would keep the web server out.

    What lies below `root` is ours, also when who made it was killed before it was opened.
    """
    ours = [each for each in (directory, *directory.parents) if root in each.parents or not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for each in ours:
        mode = each.stat().st_mode
        if mode & _GO_IN != _GO_IN:
            with suppress(PermissionError):  # somebody else made it
                each.chmod(S_IMODE(mode) | _GO_IN)


def sweep(root: Path) -> list[str]:
    """Remove the drafts below `root` whose writers have ended; their names. Raises OSError."""
    drafts = root / DIRECTORY
    if not drafts.is_dir():
        return []
    return [path.name for path in sorted(drafts.iterdir()) if _removed(path)]


def _removed(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            age = time.time() - os.fstat(opened.fileno()).st_mtime
            if age < _YOUNG_SECONDS or not (_is_free(opened) or age > _STALE_SECONDS):
                return False
            path.unlink()  # with the lock in hand
    except FileNotFoundError:
        return False  # it has just become what it was to become
    return True


def _is_free(opened: BinaryIO) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
