"""Who is told what, and when: a pure decision over how attempts ended. No message is sent here.

An attempt that ended is an :class:`Outcome`; what a receiver knows is a :class:`Book`. Outcomes with one cause join one
:class:`Draft`; the same failure of the same release is told once in a window, and again only after it was mended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from app.domain.admission import covers
from app.domain.run import Status, is_failure

NAMED = 10
"""So many releases a message names; of the others it says how many they are."""
_LONGEST_TEXT = 300

# Their advice is "nothing to do": another run brings the release, and is told of by itself.
QUIET = frozenset({"superseded", "duplicate_release"})


class Event(StrEnum):
    """What people are told of; `test` is sent by `modsync notify test` only."""

    FAILED = "failed"
    REJECTED = "rejected"
    RECOVERED = "recovered"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: failed, rejected, or done after an earlier failure. `at` is aware."""

    run_id: str
    attempt: int
    status: Status
    stage: str
    error: str | None
    message: str | None
    source: str
    module: str
    version: str | None
    ref: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a receiver wants to hear; empty `sources` and `modules` (patterns as in GOPRIVATE) ask for all.

    `gather`: how long a first message waits for others like it; `interval`: the least time between two messages of one
    cause; `window`: how long the same failure of the same release is not told again.
    """

    name: str
    events: frozenset[Event] = frozenset({Event.FAILED, Event.REJECTED, Event.RECOVERED})
    sources: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    gather: timedelta = timedelta(seconds=10)
    interval: timedelta = timedelta(minutes=5)
    window: timedelta = timedelta(hours=6)

    def concern(self, outcome: Outcome) -> bool:
        """True for an outcome of these sources and modules."""
        if self.sources and outcome.source not in self.sources:
            return False
        return not self.modules or any(covers(pattern, outcome.module) for pattern in self.modules)


@dataclass(frozen=True, slots=True)
class OpenFailure:
    """A failure that is not mended yet. `notice`: the message that told of it, "" when it was not wanted."""

    run_id: str
    code: str
    status: Status
    module: str
    version: str | None
    notice: str
    told_at: datetime

    def same_release(self, outcome: Outcome) -> bool:
        """True for the same run, and for another run of the same version."""
        if self.run_id == outcome.run_id:
            return True
        return self.version is not None and (self.module, self.version) == (outcome.module, outcome.version)

    def mended_by(self, done: Outcome) -> bool:
        """A failed release is mended by whichever run brings it; a rejected one by itself only: it asked for other content.

        But for one that was rejected for what the proxy serves.
        """
        return self.run_id == done.run_id or (is_failure(self.status, self.code) and self.same_release(done))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that others may still join until `due_at`. `items` are the first NAMED of `count`, as plain values."""

    id: str
    event: Event
    code: str
    count: int
    items: tuple[Mapping[str, Any], ...]
    created_at: datetime
    due_at: datetime


Cause = tuple[Event, str]
"""What messages are grouped by: the event and the error's code (of a recovery: the code of what failed before)."""


@dataclass(frozen=True, slots=True)
class Book:
    """What one receiver knows. `last`: when the newest closed message of a cause was sent."""

    failures: Mapping[tuple[str, str], OpenFailure] = field(default_factory=lambda: MappingProxyType({}))
    drafts: Mapping[Cause, Draft] = field(default_factory=lambda: MappingProxyType({}))
    last: Mapping[Cause, datetime] = field(default_factory=lambda: MappingProxyType({}))


def take(wishes: Wishes, book: Book, outcome: Outcome, now: datetime, new_id: Callable[[], str]) -> Book:
    """The book after an outcome; the same book when there is nothing to know or to say."""
    if not wishes.concern(outcome):
        return book
    if outcome.status is Status.DONE:
        return _mended(wishes, book, outcome, now, new_id)
    if outcome.status not in (Status.FAILED, Status.REJECTED) or outcome.error in QUIET:
        return book
    return _failed(wishes, book, outcome, now, new_id)


def _failed(wishes: Wishes, book: Book, outcome: Outcome, now: datetime, new_id: Callable[[], str]) -> Book:
    code = outcome.error or "internal"
    known = _told_lately(wishes, book, outcome, code)
    if known is not None:
        return _with_failure(book, _open(outcome, code, known.notice, known.told_at))
    event = Event(outcome.status.value)
    if event not in wishes.events:
        return _with_failure(book, _open(outcome, code, "", outcome.at))
    draft = _joined(wishes, book, (event, code), _item(outcome, code), now, new_id)
    return _with_failure(_with_draft(book, draft), _open(outcome, code, draft.id, outcome.at))


def _told_lately(wishes: Wishes, book: Book, outcome: Outcome, code: str) -> OpenFailure | None:
    same = [each for each in book.failures.values() if each.code == code and each.same_release(outcome)]
    newest = max(same, key=lambda each: each.told_at, default=None)
    return newest if newest and outcome.at - newest.told_at < wishes.window else None


def _mended(wishes: Wishes, book: Book, outcome: Outcome, now: datetime, new_id: Callable[[], str]) -> Book:
    mended = [each for each in book.failures.values() if each.mended_by(outcome)]
    if not mended:
        return book
    left = {key: each for key, each in book.failures.items() if each not in mended}
    book = replace(book, failures=left)
    if Event.RECOVERED not in wishes.events:
        return book
    last = max(mended, key=lambda each: each.told_at)
    before = {"notice": last.notice or None, "run": last.run_id, "code": last.code, "at": _text_of(last.told_at)}
    item = {**_item(outcome, None), "failed": before}
    return _with_draft(book, _joined(wishes, book, (Event.RECOVERED, last.code), item, now, new_id))


def _joined(
    wishes: Wishes, book: Book, cause: Cause, item: Mapping[str, Any], now: datetime, new_id: Callable[[], str]
) -> Draft:
    """The cause's draft with the item in it; a new one when there is none."""
    draft = book.drafts.get(cause)
    if draft is not None:
        items = (*draft.items, item) if len(draft.items) < NAMED else draft.items
        return replace(draft, count=draft.count + 1, items=items)
    due, last = now + wishes.gather, book.last.get(cause)
    if last is not None:
        due = max(due, min(last, now) + wishes.interval)
    return Draft(new_id(), *cause, count=1, items=(item,), created_at=now, due_at=due)


def _open(outcome: Outcome, code: str, notice: str, told_at: datetime) -> OpenFailure:
    return OpenFailure(
        outcome.run_id, code, outcome.status, outcome.module, outcome.version, notice, told_at
    )  # fmt: skip


def _with_failure(book: Book, failure: OpenFailure) -> Book:
    return replace(book, failures={**book.failures, (failure.run_id, failure.code): failure})


def _with_draft(book: Book, draft: Draft) -> Book:
    return replace(book, drafts={**book.drafts, (draft.event, draft.code): draft})


def _item(outcome: Outcome, code: str | None) -> Mapping[str, Any]:
    """What a message says of one release; texts of unbounded length are cut."""
    return {
        "run": outcome.run_id, "attempt": outcome.attempt, "module": outcome.module, "version": outcome.version,
        "ref": outcome.ref[:_LONGEST_TEXT], "source": outcome.source, "status": outcome.status.value,
        "stage": outcome.stage, "code": code,
        "message": (outcome.message or "")[:_LONGEST_TEXT] if code else None, "at": _text_of(outcome.at),
    }  # fmt: skip


def _text_of(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
