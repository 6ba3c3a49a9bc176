"""How things stand, for the metrics: a few numbers that the database gives cheaply, however many runs there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from app.domain.run import Lane, Status

# Rows that one question looks at, at most: more waiting runs than that are as bad as that many.
MOST = 1000


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """One lane's runs in flight, of the MOST that are due first; times in seconds, 0 when there is none.

    `due` wait for a worker, the first of them since `due_seconds`; of these some have no job, since `jobless_seconds`.
    `held`: a worker has them; `lost`: their worker died. `flight_seconds`: since the oldest one's webhook, replays
    and paused runs not counted.
    """

    due: int
    due_seconds: float
    jobless_seconds: float
    held: int
    lost: int
    flight_seconds: float


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Seconds since the last comparison of any repository and of the one compared longest ago; None: of none yet."""

    last_seconds: float | None
    oldest_seconds: float | None
    never: int


@dataclass(frozen=True, slots=True)
class Outbox:
    """Notices to receivers that are not delivered yet, and since when the first is due, in seconds."""

    waiting: int
    due_seconds: float
    untold: int


@dataclass(frozen=True, slots=True)
class Standing:
    """`in_flight` by status; `ended` within the last day by status, MOST of each. `api_token_ends`: seconds since 1970.

    `sweeper_seconds`: since the sweeper's last sign of life, None without one.
    """

    in_flight: Mapping[Status, int]
    ended: Mapping[Status, int]
    lanes: Mapping[Lane, LaneStanding]
    sweeper_seconds: float | None
    reconciled: Reconciled
    outbox: Outbox
    pauses: int
    api_token_ends: float | None


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host's disk and, where workers are, its caches; in bytes, limits as configured (0: none)."""

    free_bytes: int
    disk_bytes: int
    floor_bytes: int
    cache_limit_bytes: int
    cache_bytes: int | None = None
    caches: int | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """What Redis knows: `sums` by field (see domain.measures), jobs by queue, workers by (queue, state), hosts by name."""

    sums: Mapping[str, int]
    depths: Mapping[str, int]
    workers: Mapping[tuple[str, ...], int]
    hosts: Mapping[str, HostReport]


class StandingStore(Protocol):
    """Error: store_unavailable."""

    def standing(self) -> Standing:
        """One consistent view."""
        ...
