"""The RQ dashboard under /rq over real HTTP, with real jobs in a real Valkey."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import rq_dashboard
from redis import Redis
from rq import Queue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from app.bootstrap import Container
from app.domain.access import Role
from app.web.rq_board import _REGISTRIES
from tests.integration.web_world import BEARER, BROWSER, Answer, WebWorld, redis_url, release, running, until

BOARD = "/rq/0"
_STATIC = Path(rq_dashboard.__file__).parent / "static"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="module")
def redis(web: WebWorld) -> Redis:
    return Redis.from_url(redis_url(web))


def queued(web: WebWorld, redis: Redis, version: str) -> str:
    """A run whose job is in Redis: the request itself does not wait for that."""
    run = str(web.deliver(release(version=version)).json["runs"][0]["id"])
    until(lambda: redis.lpos("rq:queue:live", f"{run}-1-1") is not None)
    return run


def post(web: WebWorld, path: str) -> Answer:
    return web.ask("POST", f"/rq{path}", b"", {**web.cookie(), "Sec-Fetch-Site": "same-origin"})


@pytest.mark.parametrize("path", ["/", "/0/view/jobs", "/0/view/workers", "/0/data/queues.json"])
def test_its_pages_work_behind_the_login_only(web: WebWorld, path: str) -> None:
    assert web.ask("GET", f"/rq{path}").status == 401
    assert web.ask("GET", f"/rq{path}", headers=BROWSER).status == 303
    assert web.ask("GET", f"/rq{path}", headers=web.cookie()).status == 200


@pytest.mark.parametrize(
    ("path", "to"),
    [("/rq", "/rq/"), ("/rq?next=//evil.example", "/rq/?next=//evil.example"), ("/mirrors//x", "/mirrors/x")],
)
def test_the_way_to_it_is_a_path_whatever_name_and_scheme_were_told(web: WebWorld, path: str, to: str) -> None:
    """In front of it TLS ends, and http there is nobody's."""
    answer = web.get(path, Host="evil.example")
    assert (answer.status, answer.headers["location"], answer.raw) == (308, to, b"")


def test_a_release_is_a_job_with_the_same_id(web: WebWorld, redis: Redis) -> None:
    run = queued(web, redis, "v1.0.1")
    jobs = web.get(f"{BOARD}/data/jobs/live/queued/200/asc/1.json").json["jobs"]
    assert f"{run}-1-1" in {job["id"] for job in jobs}
    assert web.get(f"{BOARD}/data/job/{run}-1-1.json").json["status"] == "queued"
    page = web.get(f"{BOARD}/view/job/{run}-1-1")
    assert page.status == 200
    assert f'href="/runs/{run}-1-1"' in page.text


def test_a_job_that_is_not_ours_has_no_run(web: WebWorld, redis: Redis) -> None:
    Queue("other", connection=redis, serializer=JSONSerializer).enqueue("builtins.print", job_id="no-run")
    assert "/runs/" not in web.get(f"{BOARD}/view/job/no-run").text


@pytest.mark.parametrize("state", ["queued", "failed"])
@pytest.mark.parametrize("order", ["asc", "dsc"])
def test_each_job_is_on_one_page(web: WebWorld, redis: Redis, state: str, order: str) -> None:
    """rq-dashboard's own pages overlap, and the first of a registry from its end is a job short."""
    queue = Queue(f"pages-{state}-{order}", connection=redis, serializer=JSONSerializer)
    jobs = [queue.enqueue("builtins.print", job_id=f"{state}-{order}-{number}") for number in range(10)]
    for number, job in enumerate(jobs if state == "failed" else []):
        queue.remove(job)
        FailedJobRegistry(queue=queue).add(job, ttl=3600 + number)
    names = [job.id for job in jobs] if order == "asc" else [job.id for job in reversed(jobs)]
    for page, expected in enumerate((names[:4], names[4:8], names[8:], []), 1):
        found = web.get(f"{BOARD}/data/jobs/{queue.name}/{state}/4/{order}/{page}.json").json
        assert [job["id"] for job in found["jobs"]] == expected
        assert found["pagination"]["num_pages"] == 3


def test_its_pages_have_nothing_inline_or_from_elsewhere(web: WebWorld, redis: Redis) -> None:
    """A policy without nonce, 'unsafe-inline', 'unsafe-eval' or data: is held by pages that need none of them."""
    job = f"{queued(web, redis, 'v1.0.2')}-1-1"
    lists = [f"0/view/jobs/live/{state}/8/dsc/1" for state in _REGISTRIES]
    for path in ("", "0/view/workers", "0/view/jobs", *lists, f"0/view/job/{job}", "0/view/job/nothing"):
        page = web.get(f"/rq/{path}", **BROWSER)
        assert page.status == (404 if path.endswith("nothing") else 200)
        assert not re.search(r"""<script(?! src="/static/\w+\.js" defer></script>)""", page.text)
        assert not re.search(r"""<style|<template|\s(?:style|on[a-z]+)\s*=|javascript:""", page.text)
        assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", page.text)
        assert not re.search("unsafe|nonce|data:|https?:|[*]", page.headers["content-security-policy"])


def test_all_its_assets_are_there(web: WebWorld) -> None:
    page = web.get("/rq/")
    assets = re.findall(r"""(?:src|href)="(/[^"]+\.(?:js|css|svg))\"""", page.text)
    assert len(assets) == 7
    assert {path: web.get(path).status for path in assets} == dict.fromkeys(assets, 200)


def test_none_of_the_dashboards_own_scripts_can_be_loaded(web: WebWorld) -> None:
    """jQuery, underscore and Bootstrap run what they find in a page: a policy of 'self' would let them."""
    names = {path.relative_to(_STATIC).as_posix() for path in _STATIC.rglob("*") if path.is_file()}
    assert len([name for name in names if name.endswith(".js")]) >= 4
    found = {name for name in names if web.get(f"/rq/static/{name}").status == 200}
    assert found == {"css/bootstrap.min.css", "css/main.css"}


@pytest.mark.parametrize("job", ["nothing", "r" + "0" * 19 + "-1-1"])
def test_an_unknown_job_is_404(web: WebWorld, job: str) -> None:
    for path in (f"{BOARD}/view/job/{job}", f"{BOARD}/data/job/{job}.json"):
        answer = web.get(path)
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


def test_a_job_that_redis_forgot_leads_to_its_run(web: WebWorld) -> None:
    run, job = web.failed_run("v1.6.0")
    Redis.from_url(redis_url(web)).delete(f"rq:job:{job}")
    gone = web.get(f"{BOARD}/view/job/{job}", **BROWSER)
    assert (gone.status, f'<a href="/runs/{run}">The run of this job</a>' in gone.text) == (404, True)
    assert web.get(f"/runs/{run}", **BROWSER).status == 200
    assert "The run of this job" not in web.get(f"{BOARD}/view/job/nothing", **BROWSER).text


def test_a_viewer_requeues_nothing(web: WebWorld) -> None:
    run, job = web.failed_run("v1.7.0")
    link = Container(web.settings).access.create_link("vera", Role.VIEWER, "cli:test")
    cookie = {"Cookie": web.login(token=link).headers["set-cookie"].partition(";")[0]}
    assert web.ask("GET", f"/rq/job/{job}/requeue", headers=cookie).status == 405
    own = {**cookie, "Sec-Fetch-Site": "same-origin"}
    refused = web.ask("POST", f"/rq/job/{job}/requeue", b"", own)
    assert (refused.status, refused.json["error"]["code"]) == (403, "forbidden_role")
    assert web.ask("OPTIONS", f"/rq/job/{job}/requeue", headers=own).status == 405
    assert len(web.get(f"/api/runs/{run}").json["attempts"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/1/view/queues",
        "/0/view/jobs/live/nonsense/8/asc/1",
        "/0/view/jobs/live/queued/8/sideways/1",
        "/0/view/jobs/live/queued/0/asc/1",
        "/0/view/jobs/live/queued/8/asc/0",
        "/0/view/jobs/');alert(1);('/queued/8/asc/1",
        "/0/view/jobs/%3C%2Fscript%3E/queued/8/asc/1",
        "/0/data/jobs/live/queued/x/asc/1.json",
        "/0/data/jobs/live/nonsense/8/asc/1.json",
    ],
)
def test_an_odd_address_is_404_and_never_500(web: WebWorld, path: str) -> None:
    assert web.get(f"/rq{path}").status == 404


def test_requeue_is_a_replay(web: WebWorld) -> None:
    run, job = web.failed_run("v1.1.0")
    answer = post(web, f"/job/{job}/requeue")
    assert (answer.status, answer.json["job"]) == (202, f"{run}-2-1")
    attempt = web.get(f"/api/runs/{run}").json["attempts"][1]
    assert (attempt["kind"], attempt["actor"], attempt["reason"]) == (
        "replay",
        "session:admin",
        "requeued in the RQ dashboard",
    )
    again = post(web, f"/job/{job}/requeue")
    assert (again.status, again.json["error"]["code"]) == (409, "still_running")


def test_a_job_that_is_not_ours_is_not_requeued(web: WebWorld, redis: Redis) -> None:
    queue = Queue("other", connection=redis, serializer=JSONSerializer)
    job = queue.enqueue("builtins.print", job_id="somebody-elses")
    assert post(web, "/job/somebody-elses/requeue").status == 422
    assert job.get_status(refresh=True) == "queued"


@pytest.mark.parametrize(
    "path", ["/requeue/live", "/queue/live/failed/empty", "/queue/live/queued/empty", "/queue/live/compact"]
)
def test_what_goes_past_the_database_is_off(web: WebWorld, redis: Redis, path: str) -> None:
    queued(web, redis, "v1.2.0")
    before = redis.llen("rq:queue:live")
    answer = post(web, path)
    assert (answer.status, answer.json["error"]["code"]) == (422, "bad_request")
    assert "off in modsync" in answer.json["error"]["message"]
    assert redis.llen("rq:queue:live") == before > 0


def test_deleting_a_job_is_off(web: WebWorld, redis: Redis) -> None:
    run = queued(web, redis, "v1.3.0")
    assert post(web, f"/job/{run}-1-1/delete").status == 422
    assert redis.exists(f"rq:job:{run}-1-1")


def test_no_get_changes_anything_and_no_other_site_posts(web: WebWorld) -> None:
    assert web.get("/rq/requeue/live").status == 405
    run, job = web.failed_run("v1.4.0")
    forged = {**web.cookie(), "Origin": "https://elsewhere.example"}
    assert web.ask("POST", f"/rq/job/{job}/requeue", b"", forged).status == 403
    assert len(web.get(f"/api/runs/{run}").json["attempts"]) == 1


class Evil:
    """What a stranger with access to Redis would leave there for a reader who unpickles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_nothing_from_redis_is_unpickled(web: WebWorld, redis: Redis, tmp_path: Path) -> None:
    run = queued(web, redis, "v1.5.0")
    mark = tmp_path / "unpickled"
    for name in ("meta", "data", "result"):
        redis.hset(f"rq:job:{run}-1-1", name, pickle.dumps(Evil(mark)))
    for path in (f"/view/job/{run}-1-1", f"/data/job/{run}-1-1.json", "/data/jobs/live/queued/200/asc/1.json"):
        web.get(f"{BOARD}{path}")
    assert not mark.exists()
    redis.delete(f"rq:job:{run}-1-1")


def test_the_api_token_works_here_too(web: WebWorld) -> None:
    assert web.ask("GET", "/rq/0/data/workers.json", headers=BEARER).json == {"workers": []}
