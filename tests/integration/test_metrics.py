"""/metrics out of real processes: two gunicorn workers, real workers, a sweeper, Valkey; everything around is the sandbox."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import func, select

from app.adapters.database import reading
from app.adapters.tables import attempts
from tests.chaos.session import PIPELINE
from tests.integration.metrics_world import Scrape, counter_files, families, family_of, promtool, scrape, settled, used
from tests.integration.recovery_world import Stage, until
from tests.sandbox.gitlab import faults
from tests.sandbox.looked_at import gone
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import World

pytestmark = pytest.mark.slow

DONE = {"status": "done", "lane": "live"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("metrics")
    with World(root, pipeline=PIPELINE) as world:
        world.config.write_text(world.config.read_text().replace("workers = 1", "workers = 2"))
        with Service(world.url, world.environment, root / "logs", world.admin_token) as service:
            made = Stage(world, service)
            yield made
            made.redis.close()
            made.engine.dispose()


def quiet(stage: Stage) -> Scrape:
    """The metrics once every attempt that got done is in them; before Redis was killed."""
    with reading(stage.engine) as connection:
        done = connection.execute(select(func.count()).where(attempts.c.outcome == "done")).scalar_one()
    return settled(stage.world.url, lambda now: now.value("modsync_runs_ended_total", **DONE) == done, until)


def ended(stage: Stage, before: Scrape, number: int) -> Scrape:
    """The metrics once so many more runs were counted as done."""
    goal = before.value("modsync_runs_ended_total", **DONE) + number
    return settled(stage.world.url, lambda now: now.value("modsync_runs_ended_total", **DONE) >= goal, until)


def test_releases_are_counted_once_in_every_number(stage: Stage) -> None:
    before = quiet(stage)
    stage.world.gitlab.faults.add(r"POST .*/pipeline", faults.status(503), times=1)
    for _ in range(3):
        stage.ends_well(*stage.release())
    after = ended(stage, before, 3)

    def more(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert more("modsync_deliveries_total", source="platform", verdict="accepted") == 3
    assert more("modsync_runs_ended_total") == more("modsync_runs_ended_total", **DONE) == 3
    for name in ("mirror", "pipeline", "verify"):
        assert more("modsync_stage_seconds_count", stage=name, outcome="ok") == 3
    assert more("modsync_stage_seconds_count", outcome="retry") == more("modsync_retries_total") >= 1
    assert more("modsync_retries_total", code="gitlab_unavailable") == 1
    assert more("modsync_failures_total") == 0
    assert more("modsync_downloadable_seconds_count", lane="live") == 3
    assert 0 < more("modsync_downloadable_seconds_sum") < 300
    assert more("modsync_downloadable_seconds_bucket", le="+Inf") == 3
    assert more("modsync_runs", status="done") == 3


def test_calls_are_timed_by_door_and_kind(stage: Stage) -> None:
    before = quiet(stage)
    stage.ends_well(*stage.release())
    after = ended(stage, before, 1)
    calls = {(each.labels["door"], each.labels["kind"]) for each in after.families["modsync_call_seconds"].samples}
    wanted = {("gitlab", "create_pipeline"), ("gitlab", "read_pipeline"), ("git", "clone"), ("git", "push")}
    assert wanted | {("proxy", kind) for kind in ("info", "mod", "zip")} <= calls
    pushes = {"door": "git", "target": "mirror", "kind": "push", "outcome": "ok"}
    name = "modsync_call_seconds_count"
    assert after.value(name, **pushes) == before.value(name, **pushes) + 1
    assert after.value("modsync_call_seconds_count", door="gitlab", outcome="unavailable") == before.value(
        "modsync_call_seconds_count", door="gitlab", outcome="unavailable"
    )


def test_how_things_stand(stage: Stage) -> None:
    stage.ends_well(*stage.release())
    url = stage.world.url
    now = settled(url, lambda found: found.value("modsync_runs_held") == 0, until)
    ups = [now.value(f"modsync_{name}_up") for name in ("database", "redis", "sweeper")]
    assert ups == [1, 1, 1]
    assert now.value("modsync_queue_depth") == now.value("modsync_runs_due") == 0
    assert now.value("modsync_workers", queue="live") == len(stage.first("worker").children())
    assert now.value("modsync_workers", queue="backfill") == len(stage.first("backfill").children())
    assert now.value("modsync_sweeper_silent_seconds") < 10
    assert now.value("modsync_gitlab_login_refused") == 0
    assert now.value("modsync_disk_free_bytes", host=socket.gethostname()) > 0
    settled(url, lambda found: found.has("modsync_cache_bytes"), until)
    settled(url, lambda found: found.value("modsync_token_expires_timestamp_seconds", token="gitlab") > 0, until)


def test_labels_are_modsyncs_own_words(stage: Stage) -> None:
    release, run = stage.release()
    stage.ends_well(release, run)
    text = scrape(stage.world.url).text
    for foreign in (release.module_path, release.repository, release.version, run, stage.world.gitlab.url, "127.0.0.1"):
        assert foreign not in text
    assert len(text.splitlines()) < 2000


def test_promtool_finds_nothing_wrong_and_everything_that_is_drawn_is_given(stage: Stage) -> None:
    stage.ends_well(*stage.release())
    forged = requests.post(
        f"{stage.world.url}/webhooks/platform", b"{}", headers={"X-Gitlab-Token": "sha256=00"}, timeout=20
    )
    assert forged.status_code == 401
    found = settled(stage.world.url, lambda now: now.has("modsync_refusals_total"), until)
    checked = subprocess.run(
        [promtool(), "check", "metrics"], input=found.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert set(found.families) <= families().keys()
    # An error's series is there once there was an error.
    given = set(found.families) | {"modsync_failures"}
    assert {name for name in used() if family_of(name) not in given} == set()


def test_a_killed_web_process_leaves_neither_its_numbers_nor_its_name_behind(stage: Stage) -> None:
    stage.ends_well(*stage.release())
    url, data = stage.world.url, stage.world.root / "data"
    until(lambda: scrape(url) and len(counter_files(data)) == 4, 20, "both processes to have their files")
    name, files = "modsync_deliveries_total", counter_files(data)
    before = scrape(url).value(name)
    for _ in range(3):
        victim = stage.first("web").children()[0]
        victim.kill()
        until(lambda: gone(victim), 10, "its end")  # noqa: B023
        until(lambda: len(stage.first("web").children()) == 2, 20, "a new one")
        until(stage.web_is_up, 20, "the web server")
        assert scrape(url).value(name) == before
        assert f"{victim.pid}" not in {value for each in labels(scrape(url)) for value in each.values()}
    stage.ends_well(*stage.release())
    assert {scrape(url).value(name) for _ in range(10)} == {before + 1}
    assert counter_files(data) == files


def labels(found: Scrape) -> list[dict[str, str]]:
    return [sample.labels for family in found.families.values() for sample in family.samples]


def test_a_killed_job_is_counted_once(stage: Stage) -> None:
    before = quiet(stage)
    with stage.slow_push(12) as (release, run):
        fence = stage.row(run).fence
        stage.horse(run).kill()
        until(lambda: stage.row(run).fence > fence, 30, "another worker to take the run")
    stage.ends_well(release, run)
    after = ended(stage, before, 1)
    for name in ("modsync_downloadable_seconds_count", "modsync_runs_ended_total"):
        assert after.value(name) == before.value(name) + 1


def test_a_forced_replay_is_no_slow_release(stage: Stage) -> None:
    release, run = stage.release()
    before = quiet(stage)
    stage.ends_well(release, run)
    once = ended(stage, before, 1)
    order = json.dumps({"reason": "a test", "force": True, "from": "verify"})
    answer = requests.post(
        f"{stage.world.url}/api/runs/{run}/replay", order, headers=stage.service.authorization, timeout=20
    )
    assert answer.status_code in (200, 202), answer.text
    twice = ended(stage, once, 1)
    name = "modsync_downloadable_seconds_count"
    assert twice.value(name) == once.value(name)


def test_a_failed_run_is_seen_until_it_is_mended(stage: Stage) -> None:
    before = quiet(stage)
    repository = stage.world.mirrored("recovery/fails")
    release = make_plain(stage.world.platform, repository, "v1.0.0").releases["v1.0.0"]
    stage.world.gitlab.faults.add(r"POST .*/pipeline", faults.status(400), times=1)
    sent = stage.world.platform.webhook(f"{stage.world.url}/webhooks/platform", stage.world.secret, release)
    run = sent.json["runs"][0]["id"]
    code = stage.service.wait_for(run, "failed")["error"]["code"]
    failed = {"status": "failed"}
    after = settled(stage.world.url, lambda now: now.value("modsync_failures_total", code=code) == 1, until)
    assert after.value("modsync_runs", **failed) == before.value("modsync_runs", **failed) + 1
    stage.service.run(run)
    requests.post(
        f"{stage.world.url}/api/runs/{run}/replay", json={"reason": "mended"}, headers=stage.service.authorization,
        timeout=20,
    ).raise_for_status()  # fmt: skip
    stage.ends_well(release, run)
    assert scrape(stage.world.url).value("modsync_runs", **failed) == before.value("modsync_runs", **failed)


def test_without_redis_the_rest_is_told_and_its_sums_begin_anew_with_it(stage: Stage) -> None:
    before = scrape(stage.world.url)
    assert before.value("modsync_runs_ended_total") > 0
    stage.service.kill("redis")
    away = settled(stage.world.url, lambda now: now.value("modsync_redis_up") == 0, until)
    assert away.seconds < 5
    assert away.value("modsync_database_up") == 1
    assert away.value("modsync_deliveries_total") == before.value("modsync_deliveries_total")
    assert away.value("modsync_disk_free_bytes") > 0
    assert not away.has("modsync_runs_ended_total")
    stage.start_again("redis")
    until(stage.redis_is_up, 30, "Redis")
    back = settled(stage.world.url, lambda now: now.value("modsync_redis_up") == 1, until)
    assert back.value("modsync_runs_ended_total") == 0
    stage.ends_well(*stage.release())
    assert ended(stage, back, 1).value("modsync_runs_ended_total") == 1
