"""What people see of deliveries: rows of the log, one in full, and the secrets that they matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.run import Status
from app.services.views import View

__all__ = ["MADE_HERE", "DeliveryDetail", "DeliveryRunView", "DeliverySummary", "SecretUse"]

MADE_HERE = "reconcile"
"""The scheme of what reconcile and backfill record in place of a webhook: nothing was sent that could be taken once more."""


@dataclass(frozen=True, slots=True)
class DeliverySummary(View):
    """An authentic webhook request as lists show it. `verdict`: accepted, ignored or refused, and `reason` the word why.

    `seen`: how often it came, first at `received_at`, last at `last_seen_at`. `skew_seconds`: the sender's clock minus ours,
    where the scheme signs a time.
    """

    id: str
    source: str
    scheme: str
    secret: str
    verdict: str
    reason: str
    message: str
    received_at: datetime
    last_seen_at: datetime
    seen: int
    skew_seconds: float | None
    runs: tuple[DeliveryRunView, ...]


@dataclass(frozen=True, slots=True)
class DeliveryRunView(View):
    """A run that a delivery asked for; `duplicate`: it was there already."""

    id: str
    module: str
    version: str | None
    status: Status
    error: str | None
    duplicate: bool


@dataclass(frozen=True, slots=True)
class DeliveryDetail(DeliverySummary):
    """All of a delivery. `body` is text where it is UTF-8, else base64; both are empty when `kept` is False."""

    kept: bool
    headers: Mapping[str, str]
    body: str
    body_encoding: str


MOST_USES = 10_000


@dataclass(frozen=True, slots=True)
class SecretUse(View):
    """How often deliveries matched a secret, and when the last one did (None: never); `skew_seconds` as it was then.

    Of the deliveries that are kept MOST_USES are counted; those that are not kept any more are all in it.
    """

    source: str
    secret: str
    count: int
    last_used_at: datetime | None
    skew_seconds: float | None = None
