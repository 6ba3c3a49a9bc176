"""The delivery log: every authentic request, what came of it, and taking it once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.errors import SyncError
from app.services.delivery_views import MADE_HERE, DeliveryDetail, DeliverySummary, SecretUse
from app.services.intake import Answer, Intake
from app.services.ports import Clock
from app.services.run_filter import check_limit, make_cursor, parse_cursor, parse_time
from app.services.stores import StoredDelivery
from app.services.views import Page

VERDICTS = ("accepted", "ignored", "refused")


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What a delivery must be to be listed; empty fields ask for nothing. `failed`: refused, or a run of it failed.

    `since` and `until` are of when it last came.
    """

    source: str | None = None
    verdict: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    failed: bool = False

    @classmethod
    def parse(cls, values: Mapping[str, str | None], now: datetime) -> DeliveryFilter:
        """From texts by field name; times as RunFilter takes them, `failed` is true or false. Error: bad_request."""
        given = {name: text.strip() for name, text in values.items() if text and text.strip()}
        for name, text in given.items():
            if not text.isprintable():
                raise SyncError("bad_request", f"{name} holds characters that cannot be there", field=name)
        verdict, failed = given.get("verdict"), given.get("failed", "false")
        if verdict not in (None, *VERDICTS):
            raise SyncError("bad_request", f"verdict is none of {', '.join(VERDICTS)}", field="verdict")
        if failed not in ("true", "false"):
            raise SyncError("bad_request", "failed must be true or false", field="failed")
        times = {name: parse_time(name, given.get(name), now) for name in ("since", "until")}
        return cls(given.get("source"), verdict, times["since"], times["until"], failed == "true")


class DeliveryStore(Protocol):
    """Deliveries, read and pruned. Error everywhere: `store_unavailable`."""

    def list(self, wanted: DeliveryFilter, after: tuple[datetime, str] | None, limit: int) -> Sequence[DeliverySummary]:
        """By when each last came, newest first, at most `limit`; only those behind `after` (that time, id)."""
        ...

    def detail(self, delivery: str) -> DeliveryDetail | None:
        """All of a delivery; None when there is none."""
        ...

    def stored(self, delivery: str) -> StoredDelivery | None:
        """What a redelivery needs; None when there is none."""
        ...

    def secret_uses(self) -> Sequence[SecretUse]:
        """Every secret that a delivery ever matched."""
        ...

    def prune(self, before: datetime, limit: int) -> int:
        """Empty or remove at most `limit` deliveries that last came before then; how many it were. Runs stay."""
        ...


class Deliveries:
    """The delivery log, for the API and the command line. `note` puts an order (actor, delivery, reason) into the audit log."""

    def __init__(self, store: DeliveryStore, intake: Intake, note: Callable[[str, StoredDelivery, str], None]) -> None:
        self._store, self._intake, self._note = store, intake, note

    def list(self, wanted: DeliveryFilter, cursor: str | None = None, limit: int = 50) -> Page[DeliverySummary]:
        """A page of deliveries, newest first. Errors: bad_request with field cursor or limit."""
        after = parse_cursor(cursor) if cursor else None
        found = self._store.list(wanted, after, check_limit(limit) + 1)
        shown = tuple(found[:limit])
        return Page(shown, make_cursor(shown[-1].last_seen_at, shown[-1].id) if len(found) > limit else None)

    def detail(self, delivery: str) -> DeliveryDetail:
        """All of a delivery. Error: not_found."""
        found = self._store.detail(delivery.strip()) if delivery.isprintable() else None
        if found is None:
            raise _missing(delivery)
        return found

    def redeliver(self, delivery: str, actor: str, reason: str = "") -> Answer:
        """Take a delivery once more under the rules of today.

        Errors: not_found, not_replayable (reconcile or backfill made it), and those of Intake.redeliver.
        """
        stored = self._store.stored(delivery.strip()) if delivery.isprintable() else None
        if stored is None:
            raise _missing(delivery)
        if stored.scheme == MADE_HERE:
            why = f"delivery {stored.id} is no webhook: reconcile or backfill made it. Replay those of its runs that failed"
            raise SyncError("not_replayable", why)
        self._note(actor, stored, reason)  # before it is done: the order is what the log must not miss
        return self._intake.redeliver(stored, actor)


class Pruning:
    """Forgets old deliveries a little at a time, so that nobody waits for the database meanwhile."""

    def __init__(self, store: DeliveryStore, clock: Clock, days: int, batch: int = 200) -> None:
        self._store, self._clock, self._keep, self._batch = store, clock, timedelta(days=days), batch

    def once(self) -> bool:
        """Prune one batch; True when there may be more. Error: store_unavailable."""
        return self._store.prune(self._clock.now() - self._keep, self._batch) >= self._batch


def _missing(delivery: str) -> SyncError:
    return SyncError("not_found", f"there is no delivery {delivery[:80]!r}")
