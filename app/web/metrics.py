"""`/metrics` in Prometheus' form: counters across all web processes, and gauges read when somebody asks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.adapters.notice_store import SqlNoticeStore
from app.adapters.standing_store import SqlStandingStore
from app.domain.errors import SyncError
from app.host_disks import with_own
from app.services.notify import ReceiverState
from app.web import metric_families as families
from app.web.context import container

blueprint = Blueprint("metrics", __name__)

UNKNOWN = "unknown"
"""The label `source` of names that are not configured."""

# A registry of our own: the library's default one is shared with whatever else is imported.
_OWN = CollectorRegistry()
DELIVERIES = Counter(
    "modsync_deliveries", "Webhook requests by source and what became of them.", ["source", "verdict"], registry=_OWN
)
REFUSALS = Counter("modsync_refusals", "Refused webhook requests by reason.", ["source", "reason"], registry=_OWN)
TURNED_AWAY = Counter(
    "modsync_turned_away", "Requests that no thread had time for: answered busy, and nothing recorded.", registry=_OWN
)
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
    _begin_at_zero([source.name for source in container().settings.sources])
    return Response(generate_latest(_registry()) + generate_latest(present), content_type=CONTENT_TYPE_LATEST)


def _begin_at_zero(sources: Iterable[str]) -> None:
    """So that Prometheus sees the first burst rise; see families.BEGINNINGS."""
    for source in (*sources, UNKNOWN):
        for reason in families.FORGED:
            REFUSALS.labels(source, reason)
        for verdict in families.TURNED_AWAY:
            DELIVERIES.labels(source, verdict)


def _registry() -> CollectorRegistry:
    """Under gunicorn the counters are summed over the files of all processes; alone they are this process's."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _OWN
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class _Present(Collector):
    """How things stand now and what workers counted: the same answer from every process and every web host."""

    def collect(self) -> Iterable[Metric]:
        """Families of the database, of Redis, and of hosts. What is away is asked once."""
        yield from self._database()
        yield from self._redis()

    def _database(self) -> Iterator[Metric]:
        parts = container()
        try:
            wanted = [each.name for each in parts.settings.notify]
            standing = SqlStandingStore(parts.engine, parts.clock, wanted).standing()
            login = parts.gitlab_login.state(parts.clock.now())
            receivers = _configured(SqlNoticeStore(parts.engine).states(), wanted)
        except SyncError:
            yield from families.one("modsync_database_up", 0)
            return
        yield from families.one("modsync_database_up", 1)
        interval = parts.settings.reconcile.interval_hours * 3600
        yield from families.one("modsync_reconcile_interval_seconds", interval)
        yield from families.of_standing(standing)
        yield from families.of_receivers(receivers)
        yield from families.of_logins(login, standing.api_token_ends, _day(login.expires_at))

    def _redis(self) -> Iterator[Metric]:
        try:
            shared = container().sums.read()
        except SyncError:
            yield from families.one("modsync_redis_up", 0)
            yield from families.of_hosts(with_own(container(), {}))
            return
        yield from families.one("modsync_redis_up", 1)
        yield from families.of_redis(shared)
        yield from families.of_hosts(with_own(container(), shared.hosts))


def _configured(states: Iterable[ReceiverState], names: Sequence[str]) -> list[ReceiverState]:
    """Those of the configuration alone, also before their first notice: who was removed would fail for ever."""
    known = {state.name: state for state in states}
    return [known.get(name, ReceiverState(name)) for name in names]


def _day(text: str | None) -> float | None:
    """The beginning of a day, in seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() if text else None
