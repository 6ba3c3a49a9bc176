"""GitLab says that a pipeline has ended: its run looks at once. Polling stays; either alone is enough.

The event is a hint and nothing more: it makes the run due, and the run asks GitLab's API itself. So an event that comes
twice, late, or in the wrong order changes nothing, and a forged one could only make modsync look.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from app.domain import webhook
from app.domain.errors import SyncError
from app.domain.pipeline_event import PipelineEnded, parse_event
from app.domain.webhook import SCHEMES, Secret
from app.services import log_ids
from app.services.ports import Clock, JobQueue

log = logging.getLogger(__name__)


class WakeStore(Protocol):
    """Waiting runs, for whoever knows that their wait is over."""

    def wake(self, event: PipelineEnded, now: datetime) -> tuple[str, str, str] | None:
        """Make the run due now, if it waits for just this pipeline; (job id, lane, delivery) to enqueue, None when it does not.

        None, too, for a run that is being worked on: it is marked, and its worker hands it over instead of waiting.
        Error: store_unavailable.
        """
        ...


class PipelineHook:
    """Takes GitLab's pipeline webhooks, signed with one of `secrets` (Standard Webhooks) or carrying one as a token."""

    def __init__(self, secrets: Sequence[Secret], store: WakeStore, queue: JobQueue, clock: Clock) -> None:
        self._secrets, self._store, self._queue, self._clock = tuple(secrets), store, queue, clock

    def receive(self, headers: Mapping[str, str], raw: bytes) -> str | None:
        """The run that looks now, None where no run waits for it. Errors: bad_signature, store_unavailable."""
        now = self._clock.now()
        verified = webhook.verify(_scheme(headers), self._secrets, headers, raw, now)
        event = _event(verified)
        if event is None:
            return None
        woken = self._store.wake(event, now)
        if woken is None:
            return None
        log_ids.note(run=event.run, delivery=woken[2], job=woken[0])
        try:
            self._queue.enqueue(woken[0], event.run, woken[1])
        except SyncError as error:
            log.warning("enqueue_failed", extra={"run": event.run, "code": error.code})  # the sweeper does it later
        return event.run


def _scheme(headers: Mapping[str, str]) -> webhook.Scheme:
    """GitLab 19 signs where a signing token is set; older ones send the secret itself."""
    signed = any(name.lower() == "webhook-signature" for name in headers)
    return SCHEMES["standard-webhooks" if signed else "gitlab-token"]


def _event(verified: webhook.VerifiedBody) -> PipelineEnded | None:
    """None also for a body that is not JSON: GitLab would disable a hook that answers it with 4xx."""
    try:
        return parse_event(webhook.decode(verified, "application/json"))
    except SyncError:
        return None
