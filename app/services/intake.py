"""Intake: a signed request becomes a recorded delivery and its runs, and only then a job in the queue."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain import events, webhook
from app.domain.errors import SyncError
from app.domain.events import Ignored, Parsed, ReleaseEvent
from app.domain.ids import make_id
from app.domain.webhook import SCHEMES, Headers, VerifiedBody, lower_case
from app.services import log_ids
from app.services.planning import Planner, SourceOptions
from app.services.ports import Clock, JobQueue
from app.services.stores import IntakeStore, NewDelivery, PlannedRun, Receipt, StoredDelivery

__all__ = ["Answer", "Intake", "RateLimit", "SourceOptions", "id_maker"]

log = logging.getLogger(__name__)

RateLimit = Callable[[str, int], None]
"""Counts a request of a source (0), or so many further releases of one. Error: source_rate_limited, with `retry_after`."""

# What is kept of a request's headers: what a person needs to find it again at the platform, and never a signature.
SAFE_HEADERS = frozenset({
    "content-type", "user-agent", "x-request-id", "idempotency-key", "webhook-id", "webhook-timestamp", "svix-id",
    "svix-timestamp", "x-github-delivery", "x-github-event", "x-gitea-delivery", "x-gitea-event", "x-forgejo-delivery",
    "x-forgejo-event", "x-gitlab-event", "x-gitlab-event-uuid", "x-gitlab-instance",
})  # fmt: skip
_LONGEST_HEADER = 300
_LONGEST_NOTE = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told. `ignored` is a stable reason where the event is no release.

    `skew`: the sender's clock minus ours, where the scheme signs a time.
    """

    delivery: str
    receipts: tuple[Receipt, ...] = ()
    ignored: str | None = None
    message: str = ""
    skew: timedelta | None = None

    @property
    def new(self) -> bool:
        """True when at least one run is new (202); otherwise everything was known already (200)."""
        return any(not receipt.duplicate for receipt in self.receipts)


@dataclass(frozen=True, slots=True)
class Considered:
    """What a request would ask for: the secret that signed it, and runs or the reason why it asks for none."""

    secret_id: str
    planned: tuple[PlannedRun, ...] = ()
    ignored: Ignored | None = None


def id_maker(clock: Clock, chance: Callable[[int], int]) -> Callable[[str], str]:
    """Ids from the time and `chance(bits)`."""

    def make(prefix: str) -> str:
        return make_id(prefix, int(clock.now().timestamp() * 1000), chance(50))

    return make


def _unlimited(_source: str, _further: int) -> None:
    """No rate limit."""


class Intake:
    """Verify, parse, choose the rule, record, enqueue."""

    def __init__(
        self, sources: Mapping[str, SourceOptions], planner: Planner, store: IntakeStore, queue: JobQueue,
        clock: Clock, new_id: Callable[[str], str], limit: RateLimit = _unlimited,
    ) -> None:  # fmt: skip
        self._sources, self._planner, self._store, self._queue = sources, planner, store, queue
        self._clock, self._new_id, self._limit = clock, new_id, limit
        self._work = webhook.work_of((SCHEMES[each.scheme], each.secrets) for each in sources.values())

    def receive(self, source: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        """Take one webhook request.

        Errors: bad_signature (also for an unknown source) and source_rate_limited (nothing is recorded); invalid_payload
        and clone_url_refused (with `field`; the delivery is recorded as refused); store_unavailable (nothing is recorded:
        send again). Redis being away is no error.
        """
        now, headers = self._clock.now(), lower_case(headers)
        options, verified = self._verified(source, headers, raw, now)
        # Only signed requests count: nobody else can use a source's share up.
        self._limit(source, 0)
        delivery = self._delivery(source, verified, headers, now)
        return self._take(options, delivery, verified, headers)

    def redeliver(self, stored: StoredDelivery, actor: str) -> Answer:
        """Take a recorded delivery once more, under the rules of today; what failed of it is begun anew.

        Errors: not_found (its source is not configured any more), not_replayable (its body is not kept any more),
        invalid_payload and clone_url_refused (as when it came first).
        """
        options = self._sources.get(stored.source)
        if options is None:
            raise SyncError("not_found", f"there is no source {stored.source!r} any more")
        if stored.pruned:
            raise SyncError("not_replayable", f"the body of delivery {stored.id} is not kept any more")
        verified = VerifiedBody(stored.body, stored.scheme, stored.secret_id, stored.dedupe.rpartition(":")[0] or None)
        now = self._clock.now()
        headers = lower_case(stored.headers)
        delivery = self._delivery(stored.source, verified, headers, now)
        delivery = replace(delivery, id=stored.id, dedupe=stored.dedupe, by_hand=True)
        return self._take(options, delivery, verified, headers, actor)

    def consider(self, source: str, headers: Mapping[str, str], raw: bytes) -> Considered:
        """What receive() would make of a request; nothing is recorded, enqueued or counted.

        Errors: bad_signature, invalid_payload, clone_url_refused.
        """
        headers = lower_case(headers)
        options, verified = self._verified(source, headers, raw, self._clock.now())
        told = _parsed(options, verified, headers)
        parsed = told if isinstance(told, Ignored) else events.by_policy(told, options.policy)
        if isinstance(parsed, Ignored):
            return Considered(verified.secret_id, ignored=parsed)
        return Considered(verified.secret_id, tuple(self._planner.plan(source, event) for event in parsed))

    def _verified(self, source: str, headers: Headers, raw: bytes, now: datetime) -> tuple[SourceOptions, VerifiedBody]:
        options = self._sources.get(source)
        if options is None:
            webhook.verify_unknown(headers, raw, now, self._work)
        scheme = SCHEMES[options.scheme]
        return options, webhook.verify(scheme, options.secrets, headers, raw, now, self._work)

    def _delivery(self, source: str, verified: VerifiedBody, headers: Headers, now: datetime) -> NewDelivery:
        skew = round(verified.skew / timedelta(milliseconds=1)) if verified.skew is not None else None
        return NewDelivery(
            id=self._new_id("d"), source=source, dedupe=_dedupe(verified.delivery_key, verified.raw),
            scheme=verified.scheme, secret_id=verified.secret_id, received_at=now, headers=_safe(headers),
            body=verified.raw, verdict="accepted", skew_ms=skew,
        )  # fmt: skip

    def _take(
        self, options: SourceOptions, delivery: NewDelivery, verified: VerifiedBody, headers: Headers,
        actor: str = "",
    ) -> Answer:  # fmt: skip
        """Parse and plan, then record all of it; a refusal is recorded, too, and raised."""
        try:
            told = _parsed(options, verified, headers)
            parsed = told if isinstance(told, Ignored) else events.by_policy(told, options.policy)
            if isinstance(parsed, Ignored):
                return self._ignored(delivery, parsed, verified.skew)
            planned = [self._planner.plan(options.name, event, actor) for event in parsed]
        except SyncError as error:
            self._refused(delivery, error)
            raise
        if len(planned) > 1 and not actor:
            self._limit(options.name, len(planned) - 1)  # each of them costs what a request costs
        if verified.delivery_key is None and parsed[0].delivery_key and not actor:
            delivery = replace(delivery, dedupe=_dedupe(parsed[0].delivery_key, verified.raw))
        if less := _left_out(told, parsed):
            delivery = replace(delivery, note=_note(less))
        kept, _, receipts = self._store.record(delivery, planned)
        log_ids.note(delivery=kept, runs=[receipt.run_id for receipt in receipts])
        self._enqueue(receipts)
        return Answer(kept, tuple(receipts), message=less, skew=verified.skew)

    def _ignored(self, delivery: NewDelivery, why: Ignored, skew: timedelta | None) -> Answer:
        told = replace(delivery, verdict="ignored", reason=why.reason, note=_note(why.message))
        kept, _, _ = self._store.record(told, [])
        log_ids.note(delivery=kept)
        return Answer(kept, ignored=why.reason, message=why.message, skew=skew)

    def _refused(self, delivery: NewDelivery, error: SyncError) -> None:
        if error.code == "store_unavailable":
            return
        told = replace(delivery, verdict="refused", reason=error.code, note=_note(error.message))
        log_ids.note(delivery=self._store.record(told, [])[0])

    def _enqueue(self, receipts: Sequence[Receipt]) -> None:
        jobs = [(receipt.job, receipt.run_id) for receipt in receipts if receipt.job]
        if not jobs:
            return
        try:
            self._queue.enqueue_all(jobs)
        except SyncError as error:
            # Recorded is accepted: the sweeper enqueues all of them when Redis is back.
            log.warning("enqueue_failed", extra={"run": jobs[0][1], "jobs": len(jobs), "code": error.code})


def _parsed(options: SourceOptions, verified: VerifiedBody, headers: Headers) -> Parsed:
    """All that is told; what the policy leaves out is taken out later, and said."""
    body = webhook.decode(verified, headers.get("content-type", ""))
    return events.parse_all(verified.scheme, headers, body, options.policy)


def _left_out(told: Parsed, wanted: Sequence[ReleaseEvent]) -> str:
    """What the source's policy leaves out of several releases; "" where nothing."""
    if isinstance(told, Ignored):
        return ""
    names = ", ".join(f"{each.module or each.ref}@{each.version}" for each in told if each not in wanted)
    return f"prereleases, which this source's policy leaves out: {names}" if names else ""


def _dedupe(key: str | None, raw: bytes) -> str:
    """What makes two requests the same: the platform's id of the delivery, which is rarely signed, and the body."""
    return f"{key or ''}:{hashlib.sha256(raw).hexdigest()}"


def _note(text: str) -> str:
    """A sentence that every database can keep."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")[:_LONGEST_NOTE]


def _safe(headers: Headers) -> dict[str, str]:
    return {name: value[:_LONGEST_HEADER] for name, value in headers.items() if name in SAFE_HEADERS}
