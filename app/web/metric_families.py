"""What modsync knows of itself as Prometheus' families: names and texts of the gauges are here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from app.domain.measures import DOWNLOADABLE, ENDED, Measure, Sums, sums
from app.domain.run import ENDED as ENDS
from app.domain.run import Lane
from app.services.gitlab_login import LoginState
from app.services.notify import ReceiverState
from app.services.standing import HostReport, LaneStanding, Shared, Standing

# name: (text, labels). docs/metrics.md has the same names; a test compares.
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "modsync_database_up": ("Whether the database answers.", ()),
    "modsync_redis_up": ("Whether Redis answers.", ()),
    "modsync_runs": ("Runs by status: those in flight, and those that ended within a day.", ("status",)),
    "modsync_runs_due": ("Runs that wait for a worker.", ("queue",)),
    "modsync_queue_oldest_seconds": ("How long the run that waits longest for a worker has been due.", ("queue",)),
    "modsync_runs_held": ("Runs that a worker has in hand.", ("queue",)),
    "modsync_leases_expired": ("Runs whose worker died and that nobody took over yet.", ("queue",)),
    "modsync_flight_oldest_seconds": (
        "Since when the oldest run in flight is known, replays and paused runs aside.",
        ("queue",),
    ),
    "modsync_sweep_lag_seconds": ("How long a run has been due and the sweeper gave it no job.", ("queue",)),
    "modsync_sweeper_up": ("Whether somebody sweeps.", ()),
    "modsync_sweeper_silent_seconds": ("Since the sweeper's last sign of life.", ()),
    "modsync_reconcile_last_seconds": ("Since a repository was last compared.", ()),
    "modsync_reconcile_oldest_seconds": ("Since the repository compared longest ago was compared.", ()),
    "modsync_reconcile_interval_seconds": ("How often each is to be compared by schedule; 0: never.", ()),
    "modsync_reconcile_never": ("Repositories that were never compared.", ()),
    "modsync_notices_waiting": ("Notifications that are not delivered yet.", ()),
    "modsync_notices_oldest_seconds": ("How long the first of them has been due.", ()),
    "modsync_receiver_failing": ("Whether a receiver of notifications did not take the last one (1).", ("receiver",)),
    "modsync_outcomes_untold": ("Ended runs that notifications were not made of yet.", ()),
    "modsync_pauses": ("Pauses in force.", ()),
    "modsync_gitlab_login_refused": ("The breaker: GitLab refused modsync's token and is left alone (1).", ()),
    "modsync_token_expires_timestamp_seconds": (
        "When the token ends: modsync's own at GitLab, and the first of the API's.",
        ("token",),
    ),
    "modsync_queue_depth": ("Jobs waiting in Redis.", ("queue",)),
    "modsync_workers": ("Workers that Redis knows, by what they do.", ("queue", "state")),
    "modsync_cache_bytes": ("What a host's git caches take.", ("host",)),
    "modsync_cache_limit_bytes": ("What they may take; 0: no limit.", ("host",)),
    "modsync_caches": ("A host's git caches.", ("host",)),
    "modsync_disk_free_bytes": ("Free on the disk of a host's data directory.", ("host",)),
    "modsync_disk_size_bytes": ("The size of that disk.", ("host",)),
    "modsync_disk_floor_bytes": ("With less free nothing is fetched; 0: no limit.", ("host",)),
}

# The same of counters that the database keeps.
COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "modsync_notices": ("Notifications that came to an end, by receiver.", ("receiver", "outcome")),
}

# Series that alerts take the rate of are there from the beginning: for Prometheus a series that begins above 0 did not rise.
BEGINNINGS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    DOWNLOADABLE.name: tuple((lane.value,) for lane in Lane),
    ENDED.name: tuple((status.value, lane.value) for status in sorted(ENDS) for lane in Lane),
}
# The same of refusals and deliveries, for each source: what modsync.rules.yml asks for.
FORGED = ("missing", "malformed", "mismatch")
TURNED_AWAY = ("busy", "store_unavailable", "source_rate_limited")  # of deliveries

Samples = Mapping[tuple[str, ...], float]


def gauge(name: str, samples: Samples) -> Metric:
    """A family of GAUGES by its labels' values; () for one without labels."""
    text, labels = GAUGES[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, number)
    return family


def one(name: str, number: float | None) -> Iterator[Metric]:
    """A gauge without labels; without a number the family stands there empty."""
    yield gauge(name, {} if number is None else {(): number})


def of_standing(standing: Standing) -> Iterator[Metric]:
    """What the database knows."""
    yield gauge("modsync_runs", {(str(s),): n for s, n in (*standing.in_flight.items(), *standing.ended.items())})
    yield from _of_lanes(standing.lanes)
    yield from one("modsync_sweeper_up", _sweeps(standing.sweeper_seconds))
    yield from one("modsync_sweeper_silent_seconds", standing.sweeper_seconds)
    yield from one("modsync_reconcile_last_seconds", standing.reconciled.last_seconds)
    yield from one("modsync_reconcile_oldest_seconds", standing.reconciled.oldest_seconds)
    yield from one("modsync_reconcile_never", standing.reconciled.never)
    yield from one("modsync_notices_waiting", standing.outbox.waiting)
    yield from one("modsync_notices_oldest_seconds", standing.outbox.due_seconds)
    yield from one("modsync_outcomes_untold", standing.outbox.untold)
    yield from one("modsync_pauses", standing.pauses)


def _of_lanes(lanes: Mapping[Lane, LaneStanding]) -> Iterator[Metric]:
    fields = {
        "modsync_runs_due": "due",
        "modsync_queue_oldest_seconds": "due_seconds",
        "modsync_runs_held": "held",
        "modsync_leases_expired": "lost",
        "modsync_flight_oldest_seconds": "flight_seconds",
        "modsync_sweep_lag_seconds": "jobless_seconds",
    }
    for name, field in fields.items():
        yield gauge(name, {(lane.value,): getattr(each, field) for lane, each in lanes.items()})


def _sweeps(silent: float | None) -> int:
    """The duty is lost after HOLD_SECONDS; a process that takes it over, or a busy one, gets as long again."""
    return int(silent is not None and silent < 10)


def of_logins(login: LoginState, api_token_ends: float | None, gitlab_token_ends: float | None) -> Iterator[Metric]:
    """The breaker, and when tokens end."""
    yield from one("modsync_gitlab_login_refused", int(login.refused))
    ends = {("gitlab",): gitlab_token_ends, ("api",): api_token_ends}
    yield gauge("modsync_token_expires_timestamp_seconds", {key: at for key, at in ends.items() if at is not None})


def of_receivers(states: Sequence[ReceiverState]) -> Iterator[Metric]:
    """How the receivers of notifications do."""
    name = "modsync_notices"
    counter = CounterMetricFamily(name, COUNTERS[name][0], labels=COUNTERS[name][1])
    for state in states:
        counter.add_metric([state.name, "delivered"], state.delivered)
        counter.add_metric([state.name, "given_up"], state.given_up)
    yield counter
    yield gauge("modsync_receiver_failing", {(each.name,): int(each.failing_since is not None) for each in states})


def of_redis(shared: Shared) -> Iterator[Metric]:
    """What Redis knows but for hosts."""
    yield gauge("modsync_queue_depth", {(queue,): depth for queue, depth in shared.depths.items()})
    yield gauge("modsync_workers", shared.workers)
    for measure, numbers in sums(shared.sums):
        yield _measured(measure, {values: Sums() for values in BEGINNINGS.get(measure.name, ())} | numbers)


def of_hosts(hosts: Mapping[str, HostReport]) -> Iterator[Metric]:
    """What hosts say of their disks, and those with workers of their caches."""
    for name in ("cache_bytes", "cache_limit_bytes", "caches"):
        told: Samples = {(host,): getattr(each, name) for host, each in hosts.items() if each.caches is not None}
        yield gauge(f"modsync_{name}", told)
    for name, field in (("free", "free_bytes"), ("size", "disk_bytes"), ("floor", "floor_bytes")):
        yield gauge(f"modsync_disk_{name}_bytes", {(host,): getattr(each, field) for host, each in hosts.items()})


def _measured(measure: Measure, numbers: Mapping[tuple[str, ...], Sums]) -> Metric:
    if not measure.buckets:
        counter = CounterMetricFamily(measure.name, measure.text, labels=measure.labels)
        for values, each in sorted(numbers.items()):
            counter.add_metric(values, each.count)
        return counter
    histogram = HistogramMetricFamily(measure.name, measure.text, labels=measure.labels)
    for values, each in sorted(numbers.items()):
        histogram.add_metric(values, _cumulative(measure, each), each.seconds)
    return histogram


def _cumulative(measure: Measure, each: Sums) -> list[tuple[str, float]]:
    found, total = [], 0.0
    for bound in measure.buckets:
        total += (each.upto or {}).get(bound, 0)
        found.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
    return [*found, ("+Inf", float(each.count))]
