"""The ids that each line is written with, by whichever module and library: those of the job or request at hand.

`about()` opens a place for them, `note()` adds what becomes known there (a delivery's id, once it is recorded); both
are of the thread's context. A thread that is started there begins with `carried()`, so that its lines have them, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from types import MappingProxyType
from typing import Any

_NOWHERE: Mapping[str, Any] = MappingProxyType({})
_IDS: ContextVar[Mapping[str, Any]] = ContextVar("modsync_log_ids", default=_NOWHERE)
# Of one run; a line that names another run has that one's, if any.
_ONE_RUN = frozenset({"run", "delivery", "release"})


@contextmanager
def about(**ids: Any) -> Iterator[None]:
    """Lines inside have these ids, besides those of the place around it."""
    token = _IDS.set({**_IDS.get(), **ids})
    try:
        yield
    finally:
        _IDS.reset(token)


def begin() -> None:
    """A place without ids, for the request that begins on this thread; end() closes it."""
    _IDS.set({})


def end() -> None:
    """Nothing is at hand any more."""
    _IDS.set(_NOWHERE)


def note(**ids: Any) -> None:
    """From here on lines of this place have these ids; outside of any place nothing happens."""
    known = _IDS.get()
    if isinstance(known, dict):
        known.update(ids)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for a thread: it works at the place in which this was called."""
    return partial(copy_context().run, function)


def ids_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """What to add to this line; what it says itself goes first."""
    ids = _IDS.get()
    if not ids:
        return ids
    own = getattr(record, "run", None)
    if own is None or own == ids.get("run"):
        return ids
    return {name: value for name, value in ids.items() if name not in _ONE_RUN}
