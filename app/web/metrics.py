"""`/metrics` in Prometheus' form: counters across all web processes, and gauges read when somebody asks."""

from __future__ import annotations

import os

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

blueprint = Blueprint("metrics", __name__)

# A registry of our own: the library's default one is shared with whatever else is imported.
_OWN = CollectorRegistry()
DELIVERIES = Counter(
    "modsync_deliveries", "Webhook requests by source and what became of them.", ["source", "verdict"], registry=_OWN
)
REFUSALS = Counter("modsync_refusals", "Refused webhook requests by reason.", ["source", "reason"], registry=_OWN)
LOGINS = Counter("modsync_logins", "Logins and API tokens by outcome.", ["kind", "outcome"], registry=_OWN)


@blueprint.get("/metrics")
def scrape() -> Response:
    """Everything, as text."""
    return Response(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    """Under gunicorn the counters are summed over the files of all processes; alone they are this process's."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _OWN
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
