"""Puts the application together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request

from app.bootstrap import Container
from app.domain.ids import ids_in
from app.services import log_ids
from app.web import (
    api,
    api_operate,
    athens,
    auth,
    delivery_api,
    discovery,
    errors,
    gitlab_api,
    health,
    hooks,
    metrics,
    openapi,
    pages,
    rq_board,
    security,
    setup,
    webhooks,
)
from app.web.context import EXTENSION

log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
# For everything but webhooks, which have their own setting.
_LARGEST_FORM = 64 * 1024
# Asked every few seconds by machines: not worth a line each. A webhook has its own (delivery_received, delivery_refused).
_OFTEN = frozenset({"health.alive", "health.ready", "metrics.scrape", "static", "webhooks.receive", "athens.validate"})


class _Site(Flask):
    """Flask, but it does not ask of every function at every call whether it is a coroutine: none is."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """See Flask."""
        return func


def build(container: Container) -> Flask:
    """The Flask application around `container`."""
    app = _Site("modsync", root_path=str(_HERE))
    app.extensions[EXTENSION] = container
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_FORM
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider's option
    app.wsgi_app = security.SameForAll(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way to wrap it
    app.before_request(_begin)
    app.after_request(security.add_headers)
    app.after_request(errors.own_path)
    app.after_request(_log_request)
    app.teardown_request(_end)
    errors.register(app)
    discovery.register(app)
    auth.register(app, container.settings)
    for module in (webhooks, hooks, health, metrics, api, api_operate, delivery_api, gitlab_api, openapi, pages, setup):
        app.register_blueprint(module.blueprint)
    athens.register(app, container)
    rq_board.register(app, container)
    return app


def _begin() -> None:
    g.started = time.monotonic()
    log_ids.begin()
    if request.view_args:
        log_ids.note(**ids_in(request.view_args.get("identifier") or request.view_args.get("job_id") or ""))


def _end(_error: BaseException | None) -> None:
    log_ids.end()


def _log_request(response: Response) -> Response:
    level = logging.DEBUG if response.status_code < 500 and request.endpoint in _OFTEN else logging.INFO
    if not log.isEnabledFor(level):
        return response
    milliseconds = round((time.monotonic() - g.get("started", time.monotonic())) * 1000, 1)
    values = {"route": errors.route(), "method": request.method, "status": response.status_code, "ms": milliseconds}
    log.log(level, "request", extra=values)
    return response
