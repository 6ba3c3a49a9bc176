"""What chaos checks would be noticed: each check is shown the very thing that it looks for."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from app.adapters import migrate
from app.adapters.database import connect
from tests.chaos import checks
from tests.chaos.health import Health
from tests.chaos.releases import Releases, Sent
from tests.chaos.session import Plan, Result
from tests.chaos.untold import Bringer
from tests.chaos.watch import Watch, read_refs
from tests.sandbox.gitlab.repository import Repository
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


class Mirrored:
    """One release, and a mirror that somebody filled by hand."""

    def __init__(self, world: World) -> None:
        self.releases = Releases(world, random.Random(1), (0, 0), lambda: False)
        self.sent = Sent(self.releases._release("chaos/mod00"), "r1")
        project = world.gitlab.create_project(f"{MIRRORS}/chaos/mod00")
        self.repository: Repository = world.gitlab.world.repository(project)
        source = world.platform.path("chaos/mod00")
        self.repository._git(
            "fetch", "--quiet", str(source), "refs/tags/*:refs/tags/*", "refs/heads/main:refs/heads/ci-sync"
        )
        self.watch = Watch(world, self.releases)
        self.watch._look()

    def wrong(self) -> list[str]:
        self.watch._thread.start()
        return self.watch.stop()


@pytest.fixture
def mirrored(world: World) -> Mirrored:
    return Mirrored(world)


def test_all_is_well(world: World, mirrored: Mirrored) -> None:
    assert mirrored.wrong() == []
    assert checks.lost(world, [mirrored.sent]) == []
    assert checks.leftovers(world, []) == []


def test_a_missing_tag_is_lost(world: World, mirrored: Mirrored) -> None:
    mirrored.repository._git("tag", "--delete", "v1.0.0")
    assert "the mirror has None" in checks.lost(world, [mirrored.sent])[0]
    assert "v1.0.0 is gone" in mirrored.wrong()[0]


def test_a_release_without_webhook_that_nobody_brings_is_lost(world: World, mirrored: Mirrored) -> None:
    service = Service(world.url, world.environment, world.root / "logs", world.admin_token, roles=())
    service.start()
    mirrored.releases.untold.append(Sent(mirrored.sent.release))
    bringer = Bringer(service, mirrored.releases, random.Random(1), (0, 0))
    assert bringer.bring_the_rest(1) == [
        "go.corp.example/chaos/mod00@v1.0.0: no webhook told of it, and reconcile did not find it"
    ]
    assert bringer.asked == 1


def test_a_tag_that_moved_is_seen_also_when_it_was_packed(world: World, mirrored: Mirrored) -> None:
    mirrored.repository._git("pack-refs", "--all")
    assert read_refs(mirrored.repository.path).keys() >= {"refs/tags/v1.0.0", "refs/heads/ci-sync"}
    other = mirrored.repository.seed("elsewhere", {"go.mod": "module other\n"}, "Other")
    mirrored.repository.set_ref("refs/tags/v1.0.0", other)
    assert any("refs/tags/v1.0.0 moved" in each for each in mirrored.wrong())
    assert other in checks.lost(world, [mirrored.sent])[0]


def test_ci_sync_at_a_commit_of_nobody_is_wrong_and_at_somebody_elses_is_not(mirrored: Mirrored) -> None:
    made = mirrored.repository.seed("ci-sync", {"foreign.txt": "x\n"}, "Not ours")
    mirrored.watch._look()
    mirrored.releases.foreign("chaos/mod00", made)
    unknown = mirrored.repository.seed("ci-sync", {"foreign.txt": "y\n"}, "Nobody's")
    assert mirrored.wrong() == [f"chaos/mod00: ci-sync was at {unknown}, which was never released"]


def test_other_bytes_at_the_proxy_are_wrong(world: World, mirrored: Mirrored) -> None:
    release = mirrored.sent.release
    fetched = world.proxy._fetch_once(release.module_path, release.version).result()
    assert fetched is not None
    assert checks.other_bytes(world, [mirrored.sent]) == []
    world.proxy.serve_other_content(release.module_path, release.version, b"nothing")
    assert "no module zip" in checks.other_bytes(world, [mirrored.sent])[0]


def test_secrets_and_leftovers_are_found(world: World, tmp_path: Path) -> None:
    data = world.root / "data"
    (data / "tmp").mkdir(parents=True)
    url = f"sqlite:///{tmp_path}/other.db"
    migrate.upgrade(url)
    engine = connect(url)
    assert checks.leaked(world, engine) == []
    (data / "tmp" / "left").write_text(f"token={world.gitlab_token}")
    assert len(checks.leaked(world, engine)) == 1
    assert checks.leftovers(world, []) == ["data/tmp/left is left"]
    engine.dispose()


def test_a_run_without_a_job_is_measured_by_itself() -> None:
    """Work that goes on elsewhere is no recovery of it."""
    health, state = Health(create_engine("sqlite://"), "redis://127.0.0.1:1", ""), (1, datetime.now(UTC))
    health._check_jobs({"jobless": {"r1": state, "r2": state}}, health._all_up_at)
    health._check_jobs({"jobless": {"r1": state}}, health._all_up_at + 0.1)
    assert (health.samples, health.settled()) == ([], False)
    health._check_jobs({"jobless": {}}, health._all_up_at + 12)
    assert [(round(seconds), what) for seconds, what in health.samples] == [(12, "run r1 had no job")]
    assert health.settled()


def test_only_a_session_without_loss_or_delay_is_good() -> None:
    plan = Plan(1, 1.0)
    good = Result(plan, accepted=3, samples=[(9.9, "")])
    assert good.good
    assert good.line().endswith("lost=0 wrong=0 recover_p50=9.9 recover_max=9.9")
    assert not Result(plan, accepted=3, samples=[(10.1, "")]).good
    assert not Result(plan, accepted=3, lost=["x"]).good
    assert not Result(plan, accepted=3, wrong=["x"]).good
    assert not Result(plan, samples=[(1.0, "")]).good
    assert not Result(plan, accepted=3).good
