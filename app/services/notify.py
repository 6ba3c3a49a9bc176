"""Notifications: outcomes become messages, messages are sent until they are delivered or given up.

What was recorded is in the database before anything is sent, so a process that dies loses nothing: at least once, with
the same id each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.domain.errors import SyncError
from app.domain.notice_forms import Notice
from app.domain.notify import Book, Event, Outcome, Wishes, take
from app.domain.retry import RetryPolicy, TryAgain, decide
from app.services.ports import Clock
from app.services.views import View

log = logging.getLogger(__name__)

BATCH = 200
# Longer than a receiver may take: a message of a process that died is sent again after that.
LEASE = timedelta(seconds=30)
# For so long ended messages and open failures are kept.
KEEP = timedelta(days=90)
# No message is tried for longer than a week: what waits after that belongs to a receiver that nobody configures.
UNFETCHED = timedelta(days=8)
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 600.0
_LOGGED = 10  # runs of a message that its line in the log names
_LONGEST_ANSWER = 300

Decide = Callable[[Mapping[str, Book], Sequence[Outcome]], Mapping[str, Book]]
"""What each receiver knows after these outcomes, by its name."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notice that is ours to send until the lease ends. `tries` counts this one; `first_at`: when it was first sent."""

    notice: Notice
    tries: int
    first_at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a try. `again_at` None: the message has ended, delivered or given up."""

    delivered: bool
    answer: str
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReceiverState(View):
    """How a receiver does: counts since ever, what waits now, and since when it takes nothing (None: all is well)."""

    name: str
    delivered: int = 0
    given_up: int = 0
    waiting: int = 0
    oldest_at: datetime | None = None
    delivered_at: datetime | None = None
    failing_since: datetime | None = None
    answer: str = ""


class NoticeStore(Protocol):
    """Outcomes, books and notices. Errors: store_unavailable."""

    def settle(self, names: Sequence[str], choose: Decide, limit: int, now: datetime) -> int:
        """Take at most `limit` outcomes out, oldest first, and write what `choose` makes of these receivers' books.

        One transaction, and one at a time among all processes. Returns how many outcomes it were.
        """
        ...

    def claim(self, receiver: str, now: datetime, until: datetime) -> Claimed | None:
        """The receiver's oldest notice that is due, closed for others and ours until then; None when there is none.

        No recovery while an earlier failure with its code is being tried: whoever hears of both, hears of it last.
        """
        ...

    def record(self, receiver: str, claimed: Claimed, verdict: Verdict, now: datetime) -> bool:
        """What became of it; False when the claim was lost meanwhile, and nothing was written."""
        ...

    def states(self) -> Sequence[ReceiverState]:
        """Every receiver that anything was ever sent to or waits for, by name."""
        ...

    def prune(self, before: datetime, unfetched: datetime) -> int:
        """Forget what ended before then, and give up what was made before `unfetched` and still waits; how many went."""
        ...


class Receiver(Protocol):
    """The other side."""

    def send(self, notice: Notice, now: datetime) -> str:
        """Send it, in bounded time; what came back, in a few words.

        Errors: receiver_unreachable, receiver_refused (with its Retry-After), receiver_gone. Never holds a secret.
        """
        ...


@dataclass(frozen=True, slots=True)
class Addressee:
    """A configured receiver: what it wants, the way to it, and for how long a message is tried."""

    wishes: Wishes
    receiver: Receiver
    give_up: timedelta = timedelta(hours=24)

    @property
    def policy(self) -> RetryPolicy:
        """How a failed message is tried again."""
        return RetryPolicy(
            first=FIRST_SECONDS, longest=LONGEST_SECONDS, give_up_after=self.give_up.total_seconds()
        )  # fmt: skip


@dataclass(frozen=True)
class Notifying:
    """The service. `new_id` makes ids by their prefix."""

    store: NoticeStore
    addressees: Mapping[str, Addressee]
    clock: Clock
    new_id: Callable[[str], str]
    named: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", tuple(self.addressees))

    def settle(self) -> int:
        """Turn what happened into messages; how many outcomes were looked at. Error: store_unavailable."""
        now, total = self.clock.now(), 0
        while taken := self.store.settle(self.named, lambda books, new: self._chosen(books, new, now), BATCH, now):
            total += taken
            if taken < BATCH:
                break
        return total

    def send_next(self, name: str) -> bool:
        """Send one message to this receiver; False when none is due or it was not taken. Error: store_unavailable."""
        addressee, now = self.addressees[name], self.clock.now()
        claimed = self.store.claim(name, now, now + LEASE)
        if claimed is None:
            return False
        verdict = self._try(addressee, claimed)
        kept = self.store.record(name, claimed, verdict, self.clock.now())
        _log(name, claimed, verdict, kept=kept)
        return verdict.delivered

    def test(self, name: str) -> str:
        """Send a test message; what came back. Errors: not_found, and those of Receiver.send."""
        addressee = self.addressees.get(name)
        if addressee is None:
            names = ", ".join(self.named) or "none"
            raise SyncError("not_found", f"there is no receiver {name[:80]!r} in the configuration; there are: {names}")
        now = self.clock.now()
        return addressee.receiver.send(Notice(self.new_id("n"), Event.TEST, "", 0, (), now), now)

    def states(self) -> list[ReceiverState]:
        """How each receiver does: those of the configuration, then those that are not there any more."""
        known = {state.name: state for state in self.store.states()}
        here = [known.pop(name, ReceiverState(name)) for name in self.named]
        return [*here, *known.values()]

    def prune(self) -> int:
        """Forget what is old. Error: store_unavailable."""
        now = self.clock.now()
        return self.store.prune(now - KEEP, now - UNFETCHED)

    def _chosen(self, books: Mapping[str, Book], outcomes: Sequence[Outcome], now: datetime) -> Mapping[str, Book]:
        after = dict(books)
        for name, book in books.items():
            for outcome in outcomes:
                book = take(self.addressees[name].wishes, book, outcome, now, lambda: self.new_id("n"))
            after[name] = book
        return after

    def _try(self, addressee: Addressee, claimed: Claimed) -> Verdict:
        now = self.clock.now()
        try:
            return Verdict(True, addressee.receiver.send(claimed.notice, now)[:_LONGEST_ANSWER])
        except SyncError as error:
            now = self.clock.now()
            told = f"{error.code}: {error.message}"[:_LONGEST_ANSWER]
            next_try = decide(
                addressee.policy, error, tries=claimed.tries, since=claimed.first_at, now=now, chance=self.clock.chance()
            )  # fmt: skip
            return Verdict(False, told, next_try.at if isinstance(next_try, TryAgain) else None)


def _log(name: str, claimed: Claimed, verdict: Verdict, *, kept: bool) -> None:
    values: dict[str, Any] = {
        "receiver": name, "notice": claimed.notice.id, "event_type": claimed.notice.event.value, "tries": claimed.tries,
        "answer": verdict.answer, "runs": [item["run"] for item in claimed.notice.items[:_LOGGED]],
    }  # fmt: skip
    if not kept:
        log.warning("notice_taken_over", extra=values)
    elif verdict.delivered:
        log.info("notice_delivered", extra=values)
    elif verdict.again_at:
        log.warning("notice_not_delivered", extra={**values, "retry_at": str(verdict.again_at)})
    else:
        log.error("notice_given_up", extra=values)
