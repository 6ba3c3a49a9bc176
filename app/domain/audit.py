"""The audit log: append-only, each entry carries the hash of the one before, so that any change shows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.domain.errors import SyncError

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


@dataclass(frozen=True, slots=True)
class Kept:
    """What somebody keeps elsewhere of the log: the number and hash of an entry, written `N:HASH`."""

    number: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Kept:
        """From what `modsync audit verify` printed. Error: bad_request."""
        number, _, digest = text.strip().partition(":")
        if not re.fullmatch(r"[0-9]{1,12}", number) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise SyncError("bad_request", f"{text[:100]!r} is not N:HASH, as `modsync audit verify` prints it")
        return cls(int(number), digest)

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    def fault(self, entry: Entry) -> Fault | None:
        """What is wrong when this is the entry that was kept."""
        if entry.number != self.number or entry.hash == self.hash:
            return None
        return Fault(self.number, f"entry {self.number} is not the one that was kept: the log was written anew")


def verify_kept(entries: Iterable[Entry], kept: Kept) -> tuple[int, str, Fault | None]:
    """As verify() of a whole log, which must have the kept entry: so entries that were cut off at the end show, too."""
    faults: list[Fault] = []
    count, last, fault = verify(_watched(entries, kept, faults))
    if fault or faults:
        return count, last, fault or faults[0]
    if count < kept.number:
        said = f"entry {kept.number}, which was kept, is gone: the log ends with entry {count}"
        return count, last, Fault(count + 1, said)
    return count, last, None


def _watched(entries: Iterable[Entry], kept: Kept, faults: list[Fault]) -> Iterator[Entry]:
    for entry in entries:
        if fault := kept.fault(entry):
            faults.append(fault)
            return
        yield entry


def verify(
    entries: Iterable[Entry], count: int = 0, previous: str = GENESIS
) -> tuple[int, str, Fault | None]:  # fmt: skip
    """Go through all entries in order of number; (how many were right, the last hash, the first fault).

    The last number and hash, kept elsewhere (Kept), also show that entries were cut off at the end. `count` and `previous`
    of an earlier call go on behind the entries that it found right.
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
