"""`/healthz`: this process answers. `/readyz`: the database, its schema and Redis, without a word about where they are."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from flask import Blueprint, Response, jsonify, make_response

from app.adapters import migrate
from app.adapters.database import takes_writes
from app.domain.errors import SyncError
from app.web.context import container

log = logging.getLogger(__name__)
blueprint = Blueprint("health", __name__)
_REDIS_NOTE = "webhooks are recorded all the same; the sweeper enqueues their runs when Redis is back"


@blueprint.get("/healthz")
def alive() -> dict[str, str]:
    """200 while the process serves requests."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def ready() -> Response:
    """200 when deliveries can be recorded (`degraded`: without Redis), 503 when not; `checks` says why."""
    checks = {**_database(), "redis": _redis()}
    recording = all(checks[name]["state"] == "ok" for name in ("database", "migrations"))
    well = recording and checks["redis"]["state"] == "ok"
    status = "ready" if well else "degraded" if recording else "not_ready"
    response = make_response(jsonify(status=status, checks=checks), 200 if recording else 503)
    if not recording:
        response.headers["Retry-After"] = "5"
    return response


def _database() -> dict[str, dict[str, Any]]:
    try:
        found = migrate.current(container().settings.store.url)
        writes = takes_writes(container().engine)
    except SyncError as error:
        log.warning("database_not_ready", extra={"detail": error.message})
        return {"database": {"state": "down"}, "migrations": {"state": "unknown"}}
    if not writes:
        log.warning("database_not_ready", extra={"detail": "it takes no write"})
    state = "ok" if found == _head() or migrate.is_newer(found) else "behind"
    return {
        "database": {"state": "ok" if writes else "read_only"},
        "migrations": {"state": state, "found": found, "needed": _head()},
    }


@cache
def _head() -> str:
    return migrate.head()


def _redis() -> dict[str, Any]:
    try:
        container().queue.ping()
    except SyncError as error:
        log.warning("redis_not_ready", extra={"detail": error.message})
        return {"state": "down", "note": _REDIS_NOTE}
    return {"state": "ok"}
