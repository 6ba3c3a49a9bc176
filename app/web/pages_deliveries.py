"""Deliveries, and taking one once more."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any

from flask import redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from app.services.deliveries import VERDICTS, DeliveryFilter
from app.services.delivery_views import MADE_HERE, DeliveryDetail
from app.web.context import container, principal
from app.web.orders import reason_of
from app.web.page import PAGE, blueprint, given

log = logging.getLogger(__name__)
_FIELDS = ("source", "verdict", "since", "until", "failed")
_SHOWN_BODY = 64 * 1024


@blueprint.get("/deliveries")
def deliveries() -> str:
    """Webhook requests, newest first. Error: bad_request (with the field)."""
    asked, cursor = given(_FIELDS), given(["cursor"]).get("cursor")
    page = container().deliveries.list(DeliveryFilter.parse(asked, container().clock.now()), cursor, PAGE)
    return render_template(
        "deliveries.html", asked=asked, page=page, sources=container().sources, verdicts=VERDICTS, cursor=cursor
    )  # fmt: skip


@blueprint.get("/deliveries/<identifier>")
def delivery(identifier: str) -> str:
    """One request: headers, body, verdict, the runs it asked for. Error: not_found."""
    found = container().deliveries.detail(identifier)
    return render_template("delivery.html", delivery=found, made_here=found.scheme == MADE_HERE, **_body(found))


@blueprint.post("/deliveries/<identifier>/redeliver")
def redeliver(identifier: str) -> AnyResponse:
    """Take it once more under the rules of today, and back to its page. Errors: those of Deliveries.redeliver."""
    answer = container().deliveries.redeliver(identifier, principal().actor, reason_of(request.form.get("reason")))
    log.info("redelivered", extra={"delivery": answer.delivery, "actor": principal().actor})
    return redirect(f"/deliveries/{answer.delivery}", 303)


def _body(found: DeliveryDetail) -> dict[str, Any]:
    """The body as text, JSON laid out; `cut`: it is longer than what is shown."""
    text = found.body
    with suppress(ValueError, RecursionError):  # no JSON is shown as it came
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    shown = text[:_SHOWN_BODY].encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is no UTF-8
    return {"body": shown, "cut": len(text) > _SHOWN_BODY}
