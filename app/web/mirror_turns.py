"""Asking GitLab about a mirror while somebody waits: known mirrors only, in little time, few at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.adapters.board_store import SqlBoardStore
from app.domain.errors import SyncError
from app.mirror_care import hurried_mirror_care
from app.services.drift import MirrorCare, MirrorCheck
from app.web.context import container

log = logging.getLogger(__name__)
# GitLab may be slow: it must not take all of a process's threads.
_TURNS = threading.BoundedSemaphore(2)


def looked_at(path: str, act: Callable[[MirrorCare, str], MirrorCheck]) -> MirrorCheck:
    """What `act` finds of this mirror. Errors: not_found, busy."""
    if SqlBoardStore(container().engine, container().clock).mirror(path) is None:
        raise SyncError("not_found", f"there is no mirror {path[:80]!r}")
    with turn():
        check = act(hurried_mirror_care(container()), path)
    code = check.error.code if check.error else ""
    log.info(
        "mirror_checked", extra={"mirror": path, "drift": len(check.drift), "mended": len(check.mended), "code": code}
    )
    return check


@contextmanager
def turn() -> Iterator[None]:
    """One of this process's turns. Error: busy."""
    if not _TURNS.acquire(blocking=False):
        raise SyncError("busy", "others ask GitLab about mirrors just now", retry_after=3)
    try:
        yield
    finally:
        _TURNS.release()
