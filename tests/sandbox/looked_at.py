"""Processes as they are seen from outside: one that ends while it is looked at is gone, and no error."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


def gone(process: psutil.Process) -> bool:
    """True when it has ended; a zombie that init has yet to reap has."""
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def named(*beginnings: str) -> list[psutil.Process]:
    """This process's living descendants whose names begin so; a zombie has a name, too."""
    return [child for child in psutil.Process().children(recursive=True) if name_of(child).startswith(beginnings)]


def name_of(process: psutil.Process) -> str:
    """Its name; empty when it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return process.name() if process.is_running() else ""
    return ""


def arguments(processes: Iterable[psutil.Process]) -> list[str]:
    """Their command lines, without those that have just ended."""
    lines = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            lines.append(" ".join(process.cmdline()))
    return lines
