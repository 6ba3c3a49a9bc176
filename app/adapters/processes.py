"""Processes that outlive whoever started them: how they are tied to it, marked, found and ended.

A mark is `<pid namespace>-<pid>` of the owner, so that a neighbour container's live process is never taken for a dead one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

OWNER_MARK = "MODSYNC_OWNER"  # in the environment of every git: whose it is
_PROC = Path("/proc")


def owner_mark() -> str:
    """This process's mark."""
    return f"{_namespace()}-{os.getpid()}"


def owner_is_gone(mark: str) -> bool:
    """True when the marked process has ended; False also for what cannot be known from here (another namespace)."""
    pid = pid_here(mark)
    return pid is not None and not _alive(pid)


def pid_here(mark: str) -> int | None:
    """The marked process's id, when it is one of our namespace."""
    namespace, _, pid = mark.rpartition("-")
    return int(pid) if namespace == _namespace() and pid.isdigit() else None


@cache
def boot() -> str:
    """This run of the machine; "" where that is not known (no Linux)."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def end_orphans() -> list[int]:
    """Kill every marked process whose owner has ended (Linux; elsewhere git's own time limits end them); their ids."""
    ended = [pid for pid, mark in _marked() if owner_is_gone(mark)]
    for pid in ended:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return ended


@cache
def tied() -> tuple[str, ...]:
    """Words before a command that end it with the thread that starts it; none where the system has no such means.

    Only that one process ends: its own children notice by their pipes, or are found by their mark.
    """
    words = (shutil.which("setpriv") or "", "--pdeathsig", "KILL", "--")
    if not words[0]:
        return ()
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)  # busybox has a setpriv without it
    return words if tried.returncode == 0 else ()


def _marked() -> Iterator[tuple[int, str]]:
    wanted = f"{OWNER_MARK}=".encode()
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            for word in (process / "environ").read_bytes().split(b"\0"):
                if word.startswith(wanted):
                    yield int(process.name), word.removeprefix(wanted).decode(errors="replace")


def _alive(pid: int) -> bool:
    """True while it runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return b"\nState:\tZ" not in (_PROC / str(pid) / "status").read_bytes()
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    except OSError:
        return not _PROC.is_dir()


@cache
def _namespace() -> str:
    """The pid namespace's number; "0" where there is none."""
    try:
        return str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return "0"
