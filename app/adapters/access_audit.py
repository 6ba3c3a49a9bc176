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
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                written = os.write(descriptor, line.encode())  # one write: lines of several processes do not mix
            finally:
                os.close(descriptor)
            if written < len(line):  # it is all ASCII
                raise OSError(errno.ENOSPC, "only a part of the line was written")
        except OSError as error:
            log.error("access_audit_not_written", extra={"detail": str(error), "line": line.strip()})
