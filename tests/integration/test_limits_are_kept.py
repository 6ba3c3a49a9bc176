"""What the configuration bounds is bounded by the processes that run: ages by the sweeper, caches by the workers' keeper."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app import upkeep
from app.adapters import migrate
from app.adapters.database import reading, writing
from app.adapters.tables import deliveries, runs
from app.bootstrap import Container
from tests.integration.stored import Stored
from tests.integration.web_world import WebWorld, make_world
from workers.sweeper import _Sweeper


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WebWorld]:
    made = make_world(tmp_path)
    try:
        made.start_redis()
        yield made
    finally:
        made.stop()


def test_old_runs_and_deliveries_go_by_the_sweeper(world: WebWorld) -> None:
    migrate.upgrade(world.settings.store.url)
    container = Container(world.settings)
    stored, old = Stored(container.engine), datetime.now(UTC) - timedelta(days=3000)
    kept, gone = (stored.release(version=f"v1.{number}.0").run_id for number in (0, 1))
    for run in (kept, gone):
        stored.finish(run)
    now = {"created_at": datetime.now(UTC), "ended_at": datetime.now(UTC), "updated_at": datetime.now(UTC)}
    with writing(container.engine) as connection:
        connection.execute(update(runs).where(runs.c.id == kept).values(now))
        connection.execute(update(runs).where(runs.c.id == gone).values(dict.fromkeys(now, old)))
        connection.execute(update(deliveries).values(received_at=old, last_seen_at=old))
    for _ in range(2):  # the first look may take the duty only
        _Sweeper(container).look(1)
    with reading(container.engine) as connection:
        assert connection.execute(select(runs.c.id)).scalars().all() == [kept]
        assert connection.execute(select(deliveries.c.pruned)).scalars().all() == [True]


def test_caches_are_kept_within_their_budget_by_the_keeper(world: WebWorld) -> None:
    migrate.upgrade(world.settings.store.url)
    limits = world.settings.limits.model_copy(update={"cache_gigabytes": 1e-9})
    container = Container(world.settings.model_copy(update={"limits": limits}))
    cache = container.cache_dir / "git.example-x-1234.git"
    cache.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "--quiet", "--bare", str(cache)], check=True)
    upkeep.CacheKeeper(container).once()
    assert not cache.exists()
