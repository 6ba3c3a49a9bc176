"""`/metrics` in Prometheus' form: counters across all web processes, and gauges read when somebody asks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.adapters.job_queue import LIVE
from app.domain.errors import SyncError
from app.services.views import Counts
from app.web.context import container, queries

blueprint = Blueprint("metrics", __name__)

# A registry of our own: the library's default one is shared with whatever else is imported.
_OWN = CollectorRegistry()
DELIVERIES = Counter(
    "modsync_deliveries", "Webhook requests by source and what became of them.", ["source", "verdict"], registry=_OWN
)
REFUSALS = Counter("modsync_refusals", "Refused webhook requests by reason.", ["source", "reason"], registry=_OWN)
PIPELINE_EVENTS = Counter(
    "modsync_pipeline_events", "GitLab's pipeline webhooks by what became of them.", ["outcome"], registry=_OWN
)
DISCOVERIES = Counter(
    "modsync_discoveries", "Questions of go for a repository, by outcome.", ["outcome"], registry=_OWN
)
VALIDATIONS = Counter(
    "modsync_athens_validations", "Athens' questions by answer and reason.", ["answer", "reason"], registry=_OWN
)
SKEW = Gauge(
    "modsync_clock_skew_seconds", "The sender's clock minus ours, in the last request that signed a time.", ["source"],
    registry=_OWN, multiprocess_mode="mostrecent",
)  # fmt: skip
LOGINS = Counter("modsync_logins", "Logins and API tokens by outcome.", ["kind", "outcome"], registry=_OWN)


@blueprint.get("/metrics")
def scrape() -> Response:
    """Everything, as text. Without a database or Redis what they would tell is missing, and their `up` is 0."""
    present = CollectorRegistry()
    present.register(_Present())
    return Response(generate_latest(_registry()) + generate_latest(present), content_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    """Under gunicorn the counters are summed over the files of all processes; alone they are this process's."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _OWN
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class _Present(Collector):
    """How things stand now: the same answer from every process, so it is read and not counted."""

    def collect(self) -> Iterable[Metric]:
        """Gauges of the database and of Redis."""
        yield from self._database()
        yield from self._redis()

    def _database(self) -> Iterator[Metric]:
        try:
            counts = queries().counts()
        except SyncError:
            yield _gauge("modsync_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("modsync_database_up", "Whether the database answers.", 1)
        yield from _counted(counts)
        yield from _login()

    def _redis(self) -> Iterator[Metric]:
        try:
            depth = container().queue.depth()
        except SyncError:
            yield _gauge("modsync_redis_up", "Whether Redis answers.", 0)
            return
        yield _gauge("modsync_redis_up", "Whether Redis answers.", 1)
        family = GaugeMetricFamily("modsync_queue_depth", "Jobs waiting in the queue.", labels=["queue"])
        family.add_metric([LIVE], depth)
        yield family


def _counted(counts: Counts) -> Iterator[Metric]:
    runs = GaugeMetricFamily("modsync_runs", "Runs by status.", labels=["status"])
    for status, number in counts.runs.items():
        runs.add_metric([str(status)], number)
    yield runs
    yield _gauge("modsync_runs_due", "Runs that wait for a worker.", counts.due)
    yield _gauge("modsync_due_oldest_seconds", "How long the longest of them has waited.", counts.due_oldest_seconds)
    yield _gauge("modsync_leases_expired", "Runs whose worker died.", counts.leases_expired)


def _login() -> Iterator[Metric]:
    try:
        state = container().gitlab_login.state(container().clock.now())
    except SyncError:
        return
    text = "Whether GitLab refused modsync's token, and is left alone (1)."
    yield _gauge("modsync_gitlab_login_refused", text, int(state.refused))
    if state.days_left is not None:
        yield _gauge("modsync_gitlab_token_days_left", "Days until modsync's GitLab token ends.", state.days_left)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
