"""The files that gunicorn's workers count in: one set for each place, and not for each process id.

prometheus_client names them by process id, so that each worker that dies leaves files behind which every scrape reads from
then on. A place belongs to one living worker: the next one goes on counting in the dead one's files, where it stopped.
"""

from __future__ import annotations

import fcntl
import logging
import os
from itertools import count
from pathlib import Path

log = logging.getLogger(__name__)

KINDS = ("counter", "gauge_mostrecent")
# prometheus_client's first size; as a file with holes, a full disk would end the process that counts (SIGBUS).
_BYTES = 1 << 16
_held: list[int] = []


def use(directory: Path) -> None:
    """Let this process count in a place of its own, until it ends; called before anything that counts is imported."""
    place = take(directory)
    for kind in KINDS:
        _fill(directory / f"{kind}_{place}.db")
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def take(directory: Path) -> int:
    """The first place that no living process has; the system gives it back when this one ends, however it ends."""
    for place in count():
        descriptor = os.open(directory / f"{place}.place", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            _held.append(descriptor)
            return place
    raise AssertionError("count() never ends")


def _fill(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _BYTES)
    except OSError as error:
        log.warning("counters_not_reserved", extra={"error": error.strerror})
    finally:
        os.close(descriptor)
