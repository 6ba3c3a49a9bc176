"""Intake: a signed request becomes a recorded delivery and its runs, and only then a job in the queue."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from app.domain import events, webhook
from app.domain.errors import SyncError
from app.domain.events import Ignored, Policy, ReleaseEvent
from app.domain.ids import make_id
from app.domain.routing import Rule, choose
from app.domain.run import Target, semantic_key
from app.domain.webhook import SCHEMES, Secret, VerifiedBody
from app.services.ports import Clock, JobQueue
from app.services.stores import IntakeStore, NewDelivery, PlannedRun, Receipt

log = logging.getLogger(__name__)

# What is kept of a request's headers: what a person needs to find it again at the platform, and never a signature.
SAFE_HEADERS = frozenset({
    "content-type", "user-agent", "x-request-id", "idempotency-key", "webhook-id", "webhook-timestamp",
    "x-github-delivery", "x-github-event", "x-gitea-delivery", "x-gitea-event", "x-forgejo-delivery",
    "x-forgejo-event", "x-gitlab-event", "x-gitlab-event-uuid", "x-gitlab-instance",
})  # fmt: skip
_LONGEST_HEADER = 300


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """A source as intake knows it: how it signs, with which live secrets, and what it may name as clone URLs."""

    name: str
    scheme: str
    secrets: tuple[Secret, ...]
    allow: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told. `ignored` is a stable reason where the event is no release."""

    delivery: str
    receipts: tuple[Receipt, ...] = ()
    ignored: str | None = None
    message: str = ""

    @property
    def new(self) -> bool:
        """True when at least one run is new (202); otherwise everything was known already (200)."""
        return any(not receipt.duplicate for receipt in self.receipts)


def id_maker(clock: Clock, chance: Callable[[int], int]) -> Callable[[str], str]:
    """Ids from the time and `chance(bits)`."""

    def make(prefix: str) -> str:
        return make_id(prefix, int(clock.now().timestamp() * 1000), chance(50))

    return make


class Intake:
    """Verify, parse, choose the rule, record, enqueue."""

    def __init__(
        self, sources: Mapping[str, SourceOptions], rules: Sequence[Rule], store: IntakeStore, queue: JobQueue,
        clock: Clock, new_id: Callable[[str], str], *, sandbox: bool = False,
    ) -> None:  # fmt: skip
        self._sources, self._rules, self._store, self._queue = sources, rules, store, queue
        self._clock, self._new_id, self._sandbox = clock, new_id, sandbox

    def receive(self, source: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        """Take one webhook request.

        Errors: bad_signature (also for an unknown source), invalid_payload and clone_url_refused (with `field`; nothing
        is recorded), store_unavailable (nothing is recorded: send again). Redis being away is no error.
        """
        now = self._clock.now()
        options = self._sources.get(source)
        if options is None:
            webhook.verify_unknown(headers, raw, now)
        verified = webhook.verify(SCHEMES[options.scheme], options.secrets, headers, raw, now)
        body = webhook.decode(verified, _header(headers, "content-type"))
        parsed = events.parse(options.scheme, headers, body, options.policy)
        delivery = self._delivery(options, verified, headers, parsed, now)
        if isinstance(parsed, Ignored):
            kept, _, _ = self._store.record(delivery, [])
            return Answer(kept, ignored=parsed.reason, message=parsed.message)
        planned = [self._planned(options, event) for event in parsed]
        kept, _, receipts = self._store.record(delivery, planned)
        self._enqueue(receipts)
        return Answer(kept, tuple(receipts))

    def _delivery(
        self, options: SourceOptions, verified: VerifiedBody, headers: Mapping[str, str],
        parsed: events.Parsed, now: datetime,
    ) -> NewDelivery:  # fmt: skip
        digest = hashlib.sha256(verified.raw).hexdigest()
        if isinstance(parsed, Ignored):
            key, verdict, note = verified.delivery_key or "", "ignored", parsed.message
        else:
            key, verdict, note = verified.delivery_key or parsed[0].delivery_key or "", "accepted", ""
        return NewDelivery(
            id=self._new_id("d"), source=options.name, dedupe=f"{key}:{digest}", scheme=verified.scheme,
            secret_id=verified.secret_id, received_at=now, headers=_safe(headers), body=verified.raw,
            verdict=verdict, note=note,
        )  # fmt: skip

    def _planned(self, options: SourceOptions, event: ReleaseEvent) -> PlannedRun:
        module, commit = _complete(event)
        target, refusal = self._target(options, module, event)
        return PlannedRun(
            id=self._new_id("r"), source=options.name, module=module, version=event.version, ref=event.ref,
            commit=commit, semantic=semantic_key(module, event.version, event.ref, commit), event=asdict(event),
            target=target, refusal=refusal,
        )  # fmt: skip

    def _target(
        self, options: SourceOptions, module: str, event: ReleaseEvent
    ) -> tuple[Target, tuple[str, str] | None]:
        try:
            return self.target(options.name, module, event.repo_url, event.subdir), None
        except SyncError as error:
            if error.code != "no_rule":
                raise
            # Recorded, so that whoever is on call sees the release, adds a rule, and replays it.
            return Target(clone_url="", mirror=""), (error.code, error.message)

    def target(self, source: str, module: str, repo_url: str | None, subdir: str | None) -> Target:
        """Where the rules of today send a module. Errors: no_rule, clone_url_refused, invalid_payload."""
        options = self._sources.get(source)
        allow = options.allow if options else ()
        return choose(self._rules, source, module, repo_url, subdir, allow, sandbox=self._sandbox)

    def _enqueue(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            if receipt.job is None:
                continue
            try:
                self._queue.enqueue(receipt.job, receipt.run_id)
            except SyncError as error:
                # Recorded is accepted: the sweeper enqueues all of them when Redis is back; do not wait for each.
                log.warning("enqueue_failed", extra={"run": receipt.run_id, "code": error.code})
                return


def _complete(event: ReleaseEvent) -> tuple[str, str]:
    """The module and the commit, which every release must name so far."""
    if event.module is None:
        raise SyncError("invalid_payload", "the event names no module", field="module_path")
    if event.commit is None:
        raise SyncError("invalid_payload", "the event names no commit", field="commit_id")
    return event.module, event.commit


def _header(headers: Mapping[str, str], wanted: str) -> str:
    return next((value for name, value in headers.items() if name.lower() == wanted), "")


def _safe(headers: Mapping[str, str]) -> dict[str, str]:
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name: value[:_LONGEST_HEADER] for name, value in lowered.items() if name in SAFE_HEADERS}
