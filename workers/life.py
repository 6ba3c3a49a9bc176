"""A job's process shows its worker that it lives: one that stands still (SIGSTOP, a deadlock) holds up no worker for long."""

from __future__ import annotations

import mmap
import struct
import threading
import time

BEAT_SECONDS = 1.0
SILENT_SECONDS = 5.0
_FORM = struct.Struct("d")


class Life:
    """Eight bytes that a worker shares with the process it forks: when that one last gave a sign, by the machine's clock."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _FORM.size)

    def begin(self) -> None:
        """In the worker, before the fork."""
        _FORM.pack_into(self._shared, 0, time.monotonic())

    def beat(self) -> None:
        """In the job's process: give signs from now on, from a thread of their own."""
        threading.Thread(target=self._run, name="life", daemon=True).start()

    @property
    def silent(self) -> bool:
        """In the worker: whether the signs have stopped."""
        last: float = _FORM.unpack_from(self._shared, 0)[0]
        return time.monotonic() - last > SILENT_SECONDS

    def _run(self) -> None:
        while True:
            self.begin()
            time.sleep(BEAT_SECONDS)
