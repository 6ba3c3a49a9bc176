"""Reading a pipe from another process, but not for ever."""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Patient(io.RawIOBase):
    """Reads `pipe`; TimeoutError when nothing comes within `seconds`."""

    def __init__(self, pipe: io.RawIOBase, seconds: float) -> None:
        self._pipe, self._seconds = pipe, seconds
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def readable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The pipe's."""
        return self._pipe.fileno()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """What there is; 0 at the end."""
        if not self._poll.poll(self._seconds * 1000):
            raise TimeoutError(f"no answer within {self._seconds:g} s")
        return os.readv(self._pipe.fileno(), [buffer])

    def close(self) -> None:
        """The pipe, too."""
        self._pipe.close()
        super().close()
