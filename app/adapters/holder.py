"""Who holds a host's lock, with a sign of life: a holder that stands still (SIGSTOP) must not hold up all others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.adapters.processes import owner_mark, pid_here

BEAT_SECONDS = 1.0
# Shorter than a lease: whoever waits for the lock has the lease already, so the silent holder has lost it.
SILENT_SECONDS = 5.0


@contextmanager
def holding(lock: Path) -> Iterator[None]:
    """While the lock is held: its holder is written beside it, and beats."""
    note, done = _note(lock), threading.Event()
    with suppress(OSError):  # on a full disk nobody is known to hold it, and nobody is ended
        note.write_text(owner_mark())
    beat = threading.Thread(target=_beat, args=(note, done), name="lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        with suppress(OSError):
            note.unlink(missing_ok=True)


def end_silent_holder(lock: Path) -> int | None:
    """Kill the holder when it has not beaten for SILENT_SECONDS and is a process of this host; its id."""
    note = _note(lock)
    with suppress(OSError):
        silent = time.time() - note.stat().st_mtime > SILENT_SECONDS
        pid = pid_here(note.read_text())
        if silent and pid and pid != os.getpid() and _has_open(pid, lock):
            os.kill(pid, signal.SIGKILL)
            return pid
    return None


def _note(lock: Path) -> Path:
    return lock.with_suffix(".holder")


def _beat(note: Path, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(note)


def _has_open(pid: int, lock: Path) -> bool:
    """True when the process has the lock's file open: the note may be a dead holder's, and its number another's."""
    name = str(lock.resolve())
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if str(link.readlink()) == name:
                return True
    return False
