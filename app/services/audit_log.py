"""Reading the audit log a page at a time, and watching its chain a piece at a time. What verifies is domain.audit.verify."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

from app.domain.audit import GENESIS, Entry, verify
from app.domain.errors import SyncError
from app.services.ports import Clock
from app.services.run_filter import parse_time

PIECE = 5000
"""Entries that one look at the chain goes through: a fraction of a second."""
AGAIN = timedelta(minutes=5)
"""After so long a look begins at the first entry again, for an old entry can be changed at any time."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What an entry must be to be listed; "" and None ask for nothing. Texts are parts of a field, in any case."""

    actor: str = ""
    action: str = ""
    object: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def parse(cls, values: Mapping[str, str], now: datetime) -> AuditFilter:
        """From texts by field name; times as RunFilter takes them. Error: bad_request with the field."""
        for name, text in values.items():
            if not text.isprintable():
                raise SyncError("bad_request", f"{name} holds characters that cannot be there", field=name)
        since, until = (parse_time(name, values.get(name) or None, now) for name in ("since", "until"))
        return cls(values.get("actor", ""), values.get("action", ""), values.get("object", ""), since, until)

    def matches(self, entry: Entry) -> bool:
        """True for an entry that is asked for."""
        texts = all(
            getattr(self, each).lower() in getattr(entry, each).lower() for each in ("actor", "action", "object")
        )
        early = self.since is not None and entry.at < self.since
        return texts and not early and not (self.until is not None and entry.at >= self.until)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first. `next`: ask for what comes before this number, None: there is nothing more.

    `looked_to`: no entry above this number was left out; of many entries without a match one page reads a part only.
    """

    items: tuple[Entry, ...]
    next: int | None
    looked_to: int


class AuditReads(Protocol):
    """The audit log, read. Error everywhere: store_unavailable."""

    def page(self, wanted: AuditFilter, before: int | None, limit: int) -> AuditPage:
        """At most `limit` entries with numbers below `before`."""
        ...

    def last(self) -> int:
        """The newest entry's number; 0 for none."""
        ...

    def hash_of(self, number: int) -> str | None:
        """An entry's hash as it is stored; None for an entry that is not there."""
        ...

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All entries with a number above `after`, in order."""
        ...


@dataclass(frozen=True, slots=True)
class ChainState:
    """`verified` of `total` entries were found right, the last of them with `last_hash`; `fault` is what was found wrong.

    `whole_at`: when all that there were at that time had been gone through; None: not since this process began.
    """

    verified: int
    total: int
    last_hash: str
    fault: str | None
    whole_at: datetime | None

    @property
    def whole(self) -> bool:
        """True when every entry was gone through and is right."""
        return self.fault is None and self.verified >= self.total


class ChainWatch:
    """Goes through the chain PIECE entries a look, and begins anew AGAIN after it came to the end; threads may share it."""

    def __init__(self, reads: AuditReads, clock: Clock, piece: int = PIECE) -> None:
        self._reads, self._clock, self._piece = reads, clock, piece
        self._lock = threading.Lock()
        self._at = (0, GENESIS)
        self._began: datetime | None = None
        # The end of the last whole turn: it shows that entries were cut off, or written anew from some place on.
        self._kept = (0, GENESIS)
        self._whole_at: datetime | None = None

    def look(self) -> ChainState:
        """The next piece, and how it stands. Error: store_unavailable."""
        with self._lock:
            total, now = self._reads.last(), self._clock.now()
            fault = self._cut() or self._go_on(now)
            if fault is None and self._at[0] >= total:
                self._kept, self._whole_at = self._at, now
            return ChainState(self._at[0], total, self._at[1], fault, self._whole_at)

    def _cut(self) -> str | None:
        number, known = self._kept
        if not number or self._reads.hash_of(number) == known:
            return None
        return f"entry {number}, which was right at {self._whole_at:%Y-%m-%d %H:%M:%S} UTC, is gone or another one"

    def _go_on(self, now: datetime) -> str | None:
        if self._began is None or (self._at == self._kept and now - self._began > AGAIN):
            self._at, self._began = (0, GENESIS), now
        piece = islice(self._reads.entries(self._at[0]), self._piece)
        count, last, fault = verify(piece, *self._at)
        self._at = count, last
        return fault.what if fault else None
