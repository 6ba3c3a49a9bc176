"""The access audit: who was handed what, one JSON line for each question, in a file that any log shipper reads."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class AccessAudit:
    """Appends to `path`; processes and threads may share it. Opened for each line, so that logrotate may move it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **fields: object) -> None:
        """One line. A full disk must not stop builds: the line then goes to the log."""
        line = json.dumps(fields, ensure_ascii=True) + "\n"
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                whole = _ending(descriptor) + line
                written = os.write(descriptor, whole.encode())  # one write: lines of several processes do not mix
            finally:
                os.close(descriptor)
            if written < len(whole):  # it is all ASCII
                raise OSError(errno.ENOSPC, "only a part of the line was written")
        except OSError as error:
            log.error("access_audit_not_written", extra={"detail": str(error), "line": line.strip()})


def _ending(descriptor: int) -> str:
    """The end of the line that a full disk or a crash cut off, so that it does not spoil ours."""
    size = os.fstat(descriptor).st_size
    return "" if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n" else "\n"
