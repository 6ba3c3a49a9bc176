"""The API's delivery log: what arrived, what came of it, and taking it once more."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint

from app.services.deliveries import DeliveryFilter
from app.services.delivery_views import DeliverySummary
from app.web.api import arguments, body_of, page_limit
from app.web.context import api_url, container, principal
from app.web.orders import reason_of
from app.web.webhooks import answer_body, run_links

log = logging.getLogger(__name__)
blueprint = Blueprint("delivery_api", __name__, url_prefix="/api/deliveries")
_FILTERS = frozenset({"source", "verdict", "since", "until", "failed"})


@blueprint.get("")
def deliveries() -> dict[str, Any]:
    """Deliveries, newest first: `{"deliveries": [...], "next_cursor", "links": {"next"}}`."""
    given = arguments(_FILTERS | {"limit", "cursor"})
    wanted = DeliveryFilter.parse({name: given.get(name) for name in _FILTERS}, container().clock.now())
    page = container().deliveries.list(wanted, given.get("cursor") or None, page_limit(given.get("limit")))
    following = api_url(f"/api/deliveries?{urlencode({**given, 'cursor': page.next})}") if page.next else None
    return {
        "deliveries": [_shown(each) for each in page.items],
        "next_cursor": page.next,
        "links": {"next": following},
    }


@blueprint.get("/<identifier>")
def delivery(identifier: str) -> dict[str, Any]:
    """All of a delivery, its headers (no signatures among them) and body."""
    return _shown(container().deliveries.detail(identifier))


@blueprint.post("/<identifier>/redeliver")
def redeliver(identifier: str) -> tuple[dict[str, Any], int]:
    """Take it once more under the rules of today (202 with a new run or attempt, 200 when nothing was to do)."""
    answer = container().deliveries.redeliver(
        identifier, principal().actor, reason_of(body_of("reason").get("reason"))
    )  # fmt: skip
    log.info("redelivered", extra={"delivery": answer.delivery, "actor": principal().actor})
    begun = answer.new or any(receipt.job for receipt in answer.receipts)
    body = answer_body(answer)
    for run, receipt in zip(body["runs"], answer.receipts, strict=True):
        run["job"] = receipt.job
    return body, 202 if begun else 200


def _shown(found: DeliverySummary) -> dict[str, Any]:
    address = api_url(f"/api/deliveries/{found.id}")
    shown = found.as_json()
    for run in shown["runs"]:
        run["links"] = run_links(run["id"])
    return {**shown, "links": {"self": address, "redeliver": f"{address}/redeliver"}}
