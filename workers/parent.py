"""A child asks to be told when its parent dies: kill -9 of a parent must not leave workers that nobody knows."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.5


def end_with_parent(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Let the system send us `number` when our parent ends; called by the child right after the fork."""
    if not _asked(number):
        threading.Thread(target=_watch, args=(parent, number), name="parent", daemon=True).start()
    elif os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), number)


def _asked(number: signal.Signals) -> bool:
    """True on Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return prctl is not None and prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0) == 0


def _watch(parent: int, number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), number)
