"""Who holds a host's lock, with a sign of life: a holder that stands still (SIGSTOP) must not hold up all others.

And how the last one ended: whoever finds that it ended well need not look for what a dead one leaves.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.adapters.processes import boot, owner_mark, pid_here

BEAT_SECONDS = 1.0
# Shorter than a lease: whoever waits for the lock has the lease already, so the silent holder has lost it.
SILENT_SECONDS = 5.0


@contextmanager
def holding(lock: Path) -> Iterator[bool]:
    """While the lock is held: its holder is written beside it, and beats. Gives whether the last holder ended well.

    Well is without an exception, and in this boot of the machine: what it wrote before may not have reached the disk.
    """
    note, done = _note(lock), threading.Event()
    ended_well = _taken_over(note)
    beat = threading.Thread(target=_beat, args=(note, done), name="lock", daemon=True)
    beat.start()
    try:
        yield ended_well
        with suppress(OSError):
            note.write_text(_ended_well())
    finally:
        done.set()
        beat.join()


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


def _taken_over(note: Path) -> bool:
    """Ours from now on; whether the last holder's note says that it ended well."""
    try:
        ended_well = bool(boot()) and note.read_text() == _ended_well()
    except OSError:
        ended_well = False
    try:
        note.write_text(owner_mark())
    except OSError:  # on a full disk nobody is known to hold it, and nobody is ended
        with suppress(OSError):
            note.unlink()
    return ended_well


def _ended_well() -> str:
    return f"ended well in {boot()}"


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
