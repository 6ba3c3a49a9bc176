"""Who is told what, and when: a pure decision over how attempts ended. No message is sent here.

An attempt that ended is an :class:`Outcome`; what a receiver knows is a :class:`Book`. Outcomes with one cause join one
:class:`Draft`; the same failure of the same release is told once in a window, and again only after it was mended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """A failure that is not mended yet. `notice`: the message that first told of it, "" when it was not wanted.

    `told_at`: when that failed of which was told last.
    """

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

    @property
    def item(self) -> tuple[str, str, datetime]:
        """The same for failures that a message tells of as one: runs of one version that failed alike."""
        return self.module, self.version or self.run_id, self.told_at


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
    book = _without_recovery(book, outcome)
    known = _known(book, outcome, code)
    if known is not None and (outcome.at - known.told_at < wishes.window or _unsent(book, known.notice)):
        return _with_failure(book, _open(outcome, code, known.notice, known.told_at))
    event = Event(outcome.status.value)
    if event not in wishes.events:
        return _with_failure(book, _open(outcome, code, "", outcome.at))
    draft = _joined(wishes, book, (event, code), _item(outcome, code), now, new_id)
    notice = (known.notice if known else "") or draft.id
    return _with_failure(_with_draft(book, draft), _open(outcome, code, notice, outcome.at))


def _known(book: Book, outcome: Outcome, code: str) -> OpenFailure | None:
    same = [each for each in book.failures.values() if each.code == code and each.same_release(outcome)]
    return max(same, key=lambda each: each.told_at, default=None)


def _unsent(book: Book, notice: str) -> bool:
    return any(draft.id == notice for draft in book.drafts.values())


def _mended(wishes: Wishes, book: Book, outcome: Outcome, now: datetime, new_id: Callable[[], str]) -> Book:
    mended = [each for each in book.failures.values() if each.mended_by(outcome)]
    if not mended:
        return book
    left = {key: each for key, each in book.failures.items() if each not in mended}
    book, told = _taken_back(replace(book, failures=left), mended)
    if not told or Event.RECOVERED not in wishes.events:
        return book
    last = max(told, key=lambda each: each.told_at)
    before = {"notice": last.notice or None, "run": last.run_id, "status": last.status.value, "code": last.code,
              "at": _text_of(last.told_at)}  # fmt: skip
    item = {**_item(outcome, None), "failed": before}
    draft = _joined(wishes, book, (Event.RECOVERED, last.code), item, now, new_id)
    return _with_draft(book, _behind_failures(book, draft, told, now))


def _taken_back(book: Book, mended: Sequence[OpenFailure]) -> tuple[Book, list[OpenFailure]]:
    """The book without what its drafts say of these failures, and those of them that it cannot take back.

    What is mended before anybody heard of it is not told. Where another failure shares the item, it stays.
    """
    shared = {(each.notice, each.item) for each in book.failures.values()}
    back = [each for each in mended if _unsent(book, each.notice) and (each.notice, each.item) not in shared]
    for draft in book.drafts.values():
        mine = [each for each in back if each.notice == draft.id]
        items = {each.item for each in mine}
        runs, texts = {each.run_id for each in mine}, {(*item[:2], _text_of(item[2])) for item in items}
        kept = [each for each in draft.items if each["run"] not in runs and _identity(each) not in texts]
        book = _with_draft(book, _lessened(draft, kept, len(items)))
    return book, [each for each in mended if each not in back]


def _identity(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """As :attr:`OpenFailure.item`: another run of the version may have failed alike, and be the one that is named."""
    return item["module"], item["version"] or item["run"], item["at"]


def _lessened(draft: Draft, kept: Sequence[Mapping[str, Any]], least: int) -> Draft:
    """With these items only; and as many fewer of those that it does not name, that `least` releases go, if it has so many."""
    named = len(draft.items) - len(kept)
    unnamed = min(draft.count - len(draft.items), max(least - named, 0))
    return replace(draft, items=tuple(kept), count=draft.count - named - unnamed)


def _without_recovery(book: Book, failed: Outcome) -> Book:
    """The book as if this release had not recovered, where nobody heard of it: sent later, it would be the last word."""
    for draft in book.drafts.values():
        back = [each for each in draft.items if draft.event is Event.RECOVERED and _undone_by(each, failed)]
        book = _with_draft(book, _lessened(draft, [each for each in draft.items if each not in back], 0))
        for item in back:
            book = _with_failure(book, _reopened(item))
    return book


def _reopened(item: Mapping[str, Any]) -> OpenFailure:
    before, at = item["failed"], datetime.fromisoformat(item["failed"]["at"])
    status, notice = Status(before.get("status", Status.FAILED)), before["notice"] or ""  # older ones: without status
    return OpenFailure(before["run"], before["code"], status, item["module"], item["version"], notice, at)


def _undone_by(item: Mapping[str, Any], failed: Outcome) -> bool:
    """Whether what recovered is broken again; another run that is rejected for other content leaves it as good as it was."""
    if item["run"] == failed.run_id:
        return True
    same = failed.version is not None and (item["module"], item["version"]) == (failed.module, failed.version)
    return same and is_failure(failed.status, failed.error)


def _behind_failures(book: Book, recovered: Draft, told: Sequence[OpenFailure], now: datetime) -> Draft:
    """Not before messages that may yet tell of these failures; and made now, which is later than those on their way."""
    codes = {each.code for each in told}
    others = [each for (event, code), each in book.drafts.items() if event is not Event.RECOVERED and code in codes]
    due = max([recovered.due_at, *(each.due_at for each in others)])
    return replace(recovered, created_at=now, due_at=due)


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
    """The book with the draft; without it when nothing is left in it."""
    others = {cause: each for cause, each in book.drafts.items() if cause != (draft.event, draft.code)}
    return replace(book, drafts={**others, (draft.event, draft.code): draft} if draft.count > 0 else others)


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
