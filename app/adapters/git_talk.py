"""A conversation with a running git, in lines: what we say, and blocks of answers that end with an empty line."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Sequence

from app.adapters.git_process import GitProcess, Result, Watch
from app.domain.errors import SyncError

_CHUNK = 1 << 16
_LAST_WORDS_SECONDS = 5.0


class GitEndedError(Exception):
    """git ended before its answer was complete; `result` is how."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"git ended with {result.code}")
        self.result = result


class Talk:
    """Lines to and from `process`; what it complains of is kept."""

    def __init__(self, process: GitProcess) -> None:
        self._process = process
        self._out, self._err = bytearray(), bytearray()
        self._closed: set[int] = set()
        self._lock, self._gone = threading.Lock(), False

    def say(self, lines: Sequence[str]) -> None:
        """Send lines. GitEndedError when nobody reads them."""
        try:
            self._process.ask("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise self._ended() from error

    def block(self, watch: Watch) -> list[str]:
        """The lines up to the next empty one. GitEndedError; SyncError `git_timeout`, or what the checkpoint raises."""
        deadline = time.monotonic() + watch.timeout
        while (end := _empty_line(self._out)) < 0:
            if time.monotonic() > deadline:
                raise SyncError("git_timeout", f"git did not answer within {watch.timeout:g} s")
            ready = self._taken(watch.beat)
            if not ready:
                watch.checkpoint()
            if ready.get(1) == b"":
                raise self._ended()
        lines = self._out[:end].decode("utf-8", "replace").splitlines()
        del self._out[: end + 1]
        return lines

    def complaints(self) -> str:
        """What git said on its stderr up to its last answer."""
        self._taken(0)
        return self._err.decode("utf-8", "replace")

    def stop(self) -> None:
        """Kill git and all that it started, from any thread; end() is still to be called."""
        with self._lock:
            if not self._gone:
                self._process.end()

    def end(self) -> None:
        """Kill git and all that it started, and let go of it."""
        with self._lock:
            if not self._gone:
                self._gone = True
                self._process.kill()

    def _taken(self, seconds: float) -> dict[int, bytes]:
        """What git says on 1 (stdout) and 2 (stderr) within so many seconds, kept; nothing (b"") is an end."""
        streams = ((self._process.popen.stdout, 1, self._out), (self._process.popen.stderr, 2, self._err))
        taken = {}
        with selectors.DefaultSelector() as selector:
            for stream, number, kept in streams:
                if stream and not stream.closed and number not in self._closed:
                    selector.register(stream, selectors.EVENT_READ, (number, kept))
            for key, _ in selector.select(seconds):
                number, kept = key.data
                taken[number] = os.read(key.fd, _CHUNK)
                kept += taken[number]
        self._closed |= {number for number, chunk in taken.items() if not chunk}
        return taken

    def _ended(self) -> GitEndedError:
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while 2 not in self._closed and time.monotonic() < deadline:
            self._taken(_LAST_WORDS_SECONDS)
        self.end()
        return GitEndedError(Result(self._process.popen.returncode or 1, b"", self.complaints()))


def _empty_line(read: bytearray) -> int:
    """Where the first empty line is; -1: there is none yet."""
    if read.startswith(b"\n"):
        return 0
    found = read.find(b"\n\n")
    return found + 1 if found >= 0 else -1
