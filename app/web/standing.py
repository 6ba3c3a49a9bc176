"""How things stand, for the first page; it is there also when the database does not answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from app.domain.errors import SyncError
from app.services.board import Now
from app.services.level import Level
from app.standing import SHOWN
from app.web import held
from app.web.context import standing


def values() -> dict[str, Any]:
    """What the template shows; `now` None: the database does not answer, `problem` says why."""
    now, problem = _now()
    marks = standing().marks(now, problem)
    shown = {"now": now, "problem": problem, "marks": marks, "levels": _levels() if now else (), "again": _again(now)}
    with suppress(SyncError):  # it went away this moment; the page looks again
        return shown | (held.values() if now else {})
    return shown


def _again(now: Now | None) -> int:
    """After how many seconds a page looks again."""
    busy = now is None or now.running or now.waiting or now.blocked
    return 2 if busy else 10


def _now() -> tuple[Now | None, SyncError | None]:
    try:
        return standing().lists(SHOWN), None
    except SyncError as error:
        return None, error


def _levels() -> tuple[tuple[str, Level], ...]:
    with suppress(SyncError):
        return standing().levels()
    return ()
