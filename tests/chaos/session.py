"""One session of chaos: set up, break things for a while, heal, check; and the line that sums it up."""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from sqlalchemy import Engine

from app.adapters.database import connect
from app.adapters.embedded_redis import socket_url
from tests.chaos import checks
from tests.chaos.faults import Surroundings, catalogue, strike
from tests.chaos.health import LIMIT_SECONDS, Health
from tests.chaos.manager import Manager
from tests.chaos.postgres import Postgres
from tests.chaos.releases import Releases
from tests.chaos.untold import Bringer
from tests.chaos.watch import Watch
from tests.sandbox.service import ROLES, Service
from tests.sandbox.world import World

# The real pre-cache pipeline starts a dozen processes; this one asks the proxy for the same three files.
PIPELINE = """\
workflow:
  name: "modsync $MODSYNC_RUN"

precache:
  script:
    - base="$MODSYNC_PROXY_URL/$MODSYNC_MODULE_ESCAPED/@v/$MODSYNC_VERSION_ESCAPED"
    - |
      if command -v curl > /dev/null; then
        curl -fsS --retry 2 --retry-all-errors -o /dev/null "$base.info" -o /dev/null "$base.mod" -o /dev/null "$base.zip"
      else
        for kind in info mod zip; do
          python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()' "$base.$kind"
        done
      fi
"""
# Two processes for each lane, and comparing by schedule within the session.
_MORE = """
[worker]
backfill = 2

[reconcile]
interval_hours = 0.02
requests_per_second = 20
"""
_QUIET_SECONDS = 12.0
# With PostgreSQL as docs/deployment.md has it for several hosts; with SQLite as the Procfile has it.
_MORE_ROLES = {"postgresql": ("second sweeper",)}


@dataclass(frozen=True)
class Plan:
    """What is asked for. `faults_every` and `releases_every`: shortest and longest pause in seconds."""

    seed: int
    seconds: float
    database: str = "sqlite"
    faults_every: tuple[float, float] = (0.4, 3.0)
    releases_every: tuple[float, float] = (0.8, 3.2)
    brought_every: tuple[float, float] = (1.0, 6.0)


@dataclass
class Result:
    """How it ended; sentences in `lost` and `wrong`, seconds in `samples`."""

    plan: Plan
    accepted: int = 0
    kills: int = 0
    faults: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    samples: list[tuple[float, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """The slowest recovery in seconds."""
        return max((seconds for seconds, _ in self.samples), default=0.0)

    @property
    def good(self) -> bool:
        """Whether it may be called a success."""
        measured = bool(self.accepted and self.samples)
        return measured and not self.lost and not self.wrong and self.longest <= LIMIT_SECONDS

    def line(self) -> str:
        """The summary."""
        middle = statistics.median([seconds for seconds, _ in self.samples]) if self.samples else 0.0
        return (
            f"chaos: seed={self.plan.seed} accepted={self.accepted} kills={self.kills} faults={self.faults} "
            f"lost={len(self.lost)} wrong={len(self.wrong)} recover_p50={middle:.1f} recover_max={self.longest:.1f}"
        )


def run(plan: Plan) -> Result:
    """A whole session in a directory of its own, which is removed when all was well."""
    result = Result(plan)
    root = Path(tempfile.mkdtemp(prefix="modsync-chaos-"))
    with _world(plan, root) as (world, postgres):
        _session(plan, world, postgres, result)
    if result.good:
        shutil.rmtree(root, ignore_errors=True)
    else:
        result.remarks.append(f"logs and data are kept in {root}")
    return result


@contextmanager
def _world(plan: Plan, root: Path) -> Iterator[tuple[World, Postgres | None]]:
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres()) if plan.database == "postgresql" else None
        more = _MORE + (f'\n[store]\nurl = "{postgres.url}"\n' if postgres else "")
        yield stack.enter_context(World(root, give_up=45, patience=45, pipeline=PIPELINE, more=more)), postgres


def _session(plan: Plan, world: World, postgres: Postgres | None, result: Result) -> None:
    (world.root / "tmp").mkdir()
    environment = {**world.environment, "TMPDIR": str(world.root / "tmp")}
    roles = ROLES + _MORE_ROLES.get(plan.database, ())
    service = Service(world.url, environment, world.root / "logs", world.admin_token, roles=roles)
    engine = connect(postgres.url if postgres else f"sqlite:///{world.root}/data/modsync.db", pool_size=4)
    redis_url = socket_url(world.root / "data")
    health = Health(engine, redis_url, world.url)
    manager = Manager(service, health, random.Random(plan.seed + 1))
    try:
        service.start()
        releases = Releases(world, random.Random(plan.seed + 2), plan.releases_every, health.busy)
        bringer = Bringer(service, releases, random.Random(plan.seed + 3), plan.brought_every)
        client = redis.Redis.from_url(redis_url, socket_timeout=1)
        things = Surroundings(world, manager, health, releases, bringer, postgres, client, random.Random(plan.seed))
        _break_and_check(plan, things, service, engine, result)
    finally:
        manager.stop()  # or it would start again what is stopped here
        service.stop()
        engine.dispose()


def _break_and_check(plan: Plan, things: Surroundings, service: Service, engine: Engine, result: Result) -> None:
    watch = Watch(things.world, things.releases)
    for each in (things.health, things.manager, things.releases, things.bringer, watch):
        each.start()
    _break(plan, things)
    things.releases.stop()
    things.bringer.stop()
    _heal(things)
    things.releases.one_more(things.damaged)  # the next use of a damaged cache heals it
    things.releases.finish()
    _judge(things, service, engine, result)
    known = list(things.manager.all())
    things.manager.stop()
    things.health.stop()
    result.wrong += watch.stop()
    result.wrong += [f"process {pid} did not end at SIGTERM" for pid in service.stop()]
    result.wrong += checks.leaked(things.world, engine)
    result.wrong += checks.leftovers(things.world, known)


def _break(plan: Plan, things: Surroundings) -> None:
    """One fault after the other: sometimes on top of each other, sometimes only when all is well again."""
    choices = catalogue(things)
    end = time.monotonic() + plan.seconds
    while time.monotonic() < end:
        time.sleep(things.chance.uniform(*plan.faults_every))
        if things.chance.random() < 0.5:
            _wait_settled(things, min(end, time.monotonic() + _QUIET_SECONDS))
        name = strike(things, choices)
        if name:
            print(f"  {plan.seconds - (end - time.monotonic()):6.1f} s  {name}", flush=True)


def _heal(things: Surroundings) -> None:
    """No more faults; what is down comes back by its own timer or by the process manager."""
    things.world.gitlab.faults.clear()
    things.world.proxy.fail_next(0)
    _wait_settled(things, time.monotonic() + 60)


def _wait_settled(things: Surroundings, end: float) -> None:
    while not things.health.settled() and time.monotonic() < end:
        time.sleep(0.05)


def _judge(things: Surroundings, service: Service, engine: Engine, result: Result) -> None:
    if things.health.outages:
        result.wrong.append(f"still down after healing: {', '.join(things.health.outages)}")
    service.wait_ready()
    never_found = things.bringer.bring_the_rest()
    sent, runs = things.releases.accepted, checks.Runs(service)
    runs.bring_to_an_end(sent)
    result.accepted, result.kills = len(sent), things.kills
    result.faults = sum(things.counts.values())
    result.wrong += runs.wrong
    result.lost = never_found + checks.lost(things.world, sent)
    result.wrong += checks.other_bytes(things.world, sent)
    result.samples = sorted(things.health.samples, reverse=True)
    result.remarks += _remarks(things, runs)


def _remarks(things: Surroundings, runs: checks.Runs) -> list[str]:
    slow = [f"{seconds:.1f} s: {what}" for seconds, what in sorted(things.health.samples, reverse=True)[:5]]
    counted = ", ".join(f"{name} {count}" for name, count in sorted(things.counts.items()))
    return [
        f"deliveries answered with 2xx: {things.releases.deliveries}; faults: {counted}",
        f"without a webhook: {len(things.releases.untold)} releases; brought by {things.bringer.asked} commands",
        f"runs that failed meanwhile, by error: {runs.failures or 'none'}; replays: {runs.replays}",
        f"roles that ended by themselves and were started again: {things.manager.ended or 'none'}",
        f"recoveries measured: {len(things.health.samples)}; slowest: {'; '.join(slow) or 'none'}",
    ]
