"""What is done to modsync and its surroundings. Each fault is one function; it returns False when it had no chance."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from tests.chaos.health import Health
from tests.chaos.manager import Manager
from tests.chaos.postgres import Postgres
from tests.chaos.releases import Releases
from tests.chaos.untold import Bringer
from tests.sandbox.gitlab import faults
from tests.sandbox.world import MIRRORS, World

_API, _GIT, _PUSH = r"/api/v4/", r"\.git/", r"POST .*git-receive-pack"
# In the middle of what is sent, instead of the answer, and in the middle of the answer.
_CUTS = (faults.cut_in_the_middle, faults.cut_in_the_middle, faults.accept_then_cut, faults.truncated)
Fault = Callable[[], bool]


@dataclass
class Surroundings:
    """All that faults can be done to. `counts` says what was done how often, `damaged` to which repositories' caches."""

    world: World
    manager: Manager
    health: Health
    releases: Releases
    bringer: Bringer
    postgres: Postgres | None
    redis: redis.Redis
    chance: random.Random
    counts: dict[str, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(count for name, count in self.counts.items() if name.startswith("kill"))


def catalogue(things: Surroundings) -> Mapping[str, tuple[int, Fault]]:
    """Every fault by name, with its weight."""
    found: dict[str, tuple[int, Fault]] = {
        **_kills(things), **_pauses(things), **_gitlab(things), **_others(things),
    }  # fmt: skip
    if things.postgres:
        found["kill postgres"] = 2, lambda: _restart_postgres(things)
    return found


def strike(things: Surroundings, choices: Mapping[str, tuple[int, Fault]]) -> str:
    """Do one fault by chance; its name, "" when it found nothing to break."""
    name = things.chance.choices(list(choices), [weight for weight, _ in choices.values()])[0]
    if not choices[name][1]():
        return ""
    things.counts[name] = things.counts.get(name, 0) + 1
    return name


def _kills(things: Surroundings) -> dict[str, tuple[int, Fault]]:
    return {
        "kill web": (1, lambda: _kill_role(things, "web")),
        "kill web child": (2, lambda: _kill_one(things, things.manager.children("web"))),
        "kill worker": (2, lambda: _kill_role(things, "worker")),
        "kill worker child": (3, lambda: _kill_one(things, things.manager.children("worker"))),
        "kill job": (6, lambda: _kill_one(things, things.manager.horses("worker"))),
        "kill backfill": (2, lambda: _kill_role(things, "backfill")),
        "kill backfill child": (2, lambda: _kill_one(things, things.manager.children("backfill"))),
        "kill backfill job": (5, lambda: _kill_one(things, things.manager.horses("backfill"))),
        "kill backfill command": (3, lambda: _kill_one(things, things.bringer.process())),
        "kill sweeper": (2, lambda: _kill_role(things, things.chance.choice(_sweepers(things)))),
        "kill redis": (2, lambda: _kill_role(things, "redis")),
    }


def _pauses(things: Surroundings) -> dict[str, tuple[int, Fault]]:
    def role(name: str, longest: float) -> Fault:
        return lambda: _pause(things, [_first(things, name)], longest)

    return {
        "pause web": (1, role("web", 3)),
        "pause web child": (1, lambda: _pause(things, things.manager.children("web"), 3)),
        "pause worker": (1, role("worker", 4)),
        "pause worker child": (2, lambda: _pause(things, things.manager.children("worker"), 6)),
        "pause job": (4, lambda: _pause_job(things, "worker")),
        "pause backfill": (1, role("backfill", 4)),
        "pause backfill child": (2, lambda: _pause(things, things.manager.children("backfill"), 6)),
        "pause backfill job": (3, lambda: _pause_job(things, "backfill")),
        "pause sweeper": (2, lambda: role(things.chance.choice(_sweepers(things)), 8)()),
        "pause redis": (2, role("redis", 5)),
    }


def _gitlab(things: Surroundings) -> dict[str, tuple[int, Fault]]:
    def broken(match: str, action: Callable[[], faults.Action], times: int = 2) -> Fault:
        return lambda: _add(things, match, action(), things.chance.randint(1, times))

    either = "|".join((_API, _GIT))
    return {
        "gitlab 429": (2, broken(_API, lambda: faults.rate_limited(1))),
        "gitlab 429 bare": (1, broken(_API, faults.rate_limited_bare)),
        "gitlab 500": (2, broken(either, lambda: faults.status(500), 3)),
        "gitlab 503": (2, broken(either, lambda: faults.unavailable(1), 3)),
        "gitlab hangs": (2, broken(either, lambda: faults.slow(things.chance.uniform(2, 12)))),
        "gitlab resets": (2, broken(either, faults.reset, 3)),
        "gitlab cuts an answer": (2, broken(either, faults.truncated)),
        "gitlab cuts a push": (4, broken(_PUSH, lambda: things.chance.choice(_CUTS)())),
        "gitlab hangs in a push": (2, broken(_PUSH, lambda: faults.slow(things.chance.uniform(3, 9)), 1)),
        "gitlab down": (1, lambda: _away(things, "gitlab", things.world.gitlab.stop, things.world.gitlab.start)),
    }


def _others(things: Surroundings) -> dict[str, tuple[int, Fault]]:
    world = things.world
    return {
        "redis flushed": (3, lambda: _flush(things)),
        "proxy 503": (2, lambda: _fail_proxy(things)),
        "proxy down": (1, lambda: _away(things, "proxy", world.proxy.stop, world.proxy.start)),
        "platform down": (1, lambda: _away(things, "platform", world.platform.stop, world.platform.start)),
        "foreign push": (3, lambda: _foreign_push(things)),
        "cache: pack cut": (2, lambda: _damage(things, "objects/pack/*.pack", _cut)),
        "cache: object gone": (2, lambda: _damage(things, "objects/pack/*.idx", lambda path: path.unlink())),
        "cache: stale lock": (2, lambda: _damage(things, "HEAD", _lock)),
    }


def _kill_role(things: Surroundings, role: str) -> bool:
    horses = [horse.pid for horse in things.manager.horses(role)] if role in ("worker", "backfill") else []
    things.manager.kill(role)
    things.health.hurt(horses)
    return True


def _sweepers(things: Surroundings) -> list[str]:
    return [role for role in things.manager.service.processes if role.endswith("sweeper")]


def _kill_one(things: Surroundings, found: list[psutil.Process]) -> bool:
    if not found:
        return False
    one = things.chance.choice(found)
    held = [one.pid]
    with suppress(psutil.NoSuchProcess):
        held += [child.pid for child in one.children()]
    if not things.manager.kill_process(one):
        return False
    things.health.hurt(held)
    return True


def _first(things: Surroundings, role: str) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(things.manager.service.processes[role].pid)
    return None


def _pause(things: Surroundings, found: list[psutil.Process] | list[psutil.Process | None], longest: float) -> bool:
    there = [one for one in found if one]
    return bool(there) and things.manager.pause(things.chance.choice(there), things.chance.uniform(0.3, longest))


def _pause_job(things: Surroundings, role: str) -> bool:
    """No outage: another worker has to take its run over, however long it stands still."""
    found = things.manager.horses(role)
    if not found:
        return False
    one = things.chance.choice(found)
    things.health.hurt([one.pid])
    return things.manager.pause(one, things.chance.uniform(0.3, 15), outage=False)


def _add(things: Surroundings, match: str, action: faults.Action, times: int) -> bool:
    things.world.gitlab.faults.add(match, action, times)
    return True


def _away(things: Surroundings, name: str, stop: Callable[[], None], start: Callable[[], None]) -> bool:
    """Down for a moment. One at a time by name: two timers would start it too early."""
    if name in things.health.outages:
        return False
    things.health.down(name)
    stop()

    def back() -> None:
        start()
        things.health.up(name)

    timer = threading.Timer(things.chance.uniform(0.5, 4), back)
    timer.start()
    return True


def _flush(things: Surroundings) -> bool:
    try:
        things.redis.flushall()
    except redis.RedisError:
        return False
    things.health.down("redis flushed")
    things.health.up("redis flushed")
    return True


def _fail_proxy(things: Surroundings) -> bool:
    things.world.proxy.fail_next(things.chance.randint(1, 4), things.chance.choice([500, 502, 503]))
    return True


def _foreign_push(things: Surroundings) -> bool:
    """Somebody commits to `ci-sync` on top of what is there."""
    if not things.releases.repositories:  # a session's first moments
        return False
    repository = things.chance.choice(things.releases.repositories)
    path = f"{MIRRORS}/{repository}"
    if not things.world.gitlab.has_project(path):
        return False
    project = things.world.gitlab.project(path)
    files = {"foreign.txt": f"{things.chance.random()}\n"}
    made = things.world.gitlab.world.repository(project).seed("ci-sync", files, "Not ours")
    things.releases.foreign(repository, made)
    return True


def _damage(things: Surroundings, pattern: str, harm: Callable[[Path], None]) -> bool:
    found = sorted((things.world.root / "data" / "cache").glob(f"*.git/{pattern}"))
    if not found:
        return False
    path = things.chance.choice(found)
    things.damaged |= {each for each in things.releases.repositories if f"{each.replace('/', '-')}-" in str(path)}
    with suppress(OSError):  # the cache is in use, and the file gone
        harm(path)
    return True


def _cut(path: Path) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _lock(head: Path) -> None:
    for name in ("packed-refs.lock", "shallow.lock", "config.lock"):
        (head.parent / name).touch()


def _restart_postgres(things: Surroundings) -> bool:
    postgres = things.postgres
    return postgres is not None and _away(things, "postgres", postgres.stop, postgres.start)
