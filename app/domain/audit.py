"""The audit log: append-only, each entry carries the hash of the one before, so that any change shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what to which object, why, and what changed. `number` counts from 1 without gaps; hashes are hex."""

    number: int
    at: datetime
    actor: str
    action: str
    object: str
    reason: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    previous: str = GENESIS
    hash: str = ""

    def sealed(self) -> Entry:
        """The entry with its hash."""
        return replace(self, hash=self.digest())

    def digest(self) -> str:
        """The hash over everything but itself, the previous hash included."""
        return hashlib.sha256(json.dumps(self.as_json(hashed=True), sort_keys=True).encode()).hexdigest()

    def as_json(self, *, hashed: bool = False) -> dict[str, Any]:
        """The entry as JSON; `hashed` leaves the hash itself out."""
        values = asdict(self) | {"at": self.at.astimezone(UTC).isoformat(timespec="microseconds")}
        if hashed:
            values.pop("hash")
        return values


@dataclass(frozen=True, slots=True)
class Fault:
    """The first entry that is wrong, and how: changed, missing (a gap) or out of order."""

    number: int
    what: str


def verify(
    entries: Iterable[Entry], count: int = 0, previous: str = GENESIS
) -> tuple[int, str, Fault | None]:  # fmt: skip
    """Go through all entries in order of number; (how many were right, the last hash, the first fault).

    The last hash, kept elsewhere, also shows that entries were cut off at the end. `count` and `previous` of an earlier
    call go on behind the entries that it found right.
    """
    for entry in entries:
        if entry.number != count + 1:
            return count, previous, Fault(count + 1, f"entry {count + 1} is missing; the next one is {entry.number}")
        if entry.previous != previous:
            return count, previous, Fault(entry.number, f"entry {entry.number} does not follow the one before it")
        if entry.digest() != entry.hash:
            return count, previous, Fault(entry.number, f"entry {entry.number} was changed")
        count, previous = entry.number, entry.hash
    return count, previous, None
