"""Text that somebody left in Redis is text on every page of the RQ dashboard, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from redis import Redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer

from tests.e2e.browser import Visitor, chromium, missing
from tests.integration.web_world import TOKEN, WebWorld, redis_url, running

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
HOSTILE = '<img src=x onerror="window.owned = 1"><script>window.owned = 2</script>\'"--><b id=owned>bold</b>'


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def job(web: WebWorld) -> Job:
    """A job that failed, with a description and a traceback of somebody else's."""
    redis = Redis.from_url(redis_url(web))
    queue = Queue("live", connection=redis, serializer=JSONSerializer)
    made = queue.enqueue("builtins.print", job_id="hostile", description=HOSTILE)
    queue.remove(made)
    made.set_status(JobStatus.FAILED)
    Result.create_failure(made, 3600, f"Traceback: {HOSTILE}")
    FailedJobRegistry(queue=queue).add(made, ttl=3600)
    waiting = queue.enqueue("builtins.print", args=(HOSTILE,), job_id="waiting", description=HOSTILE)
    assert waiting.description == HOSTILE
    Queue(HOSTILE, connection=redis, serializer=JSONSerializer).enqueue("builtins.print", job_id="elsewhere")
    at_work(Worker(["live"], name=HOSTILE, connection=redis, serializer=JSONSerializer), waiting)
    return made


def at_work(worker: Worker, job: Job) -> None:
    """The worker is registered and busy with the job."""
    worker.register_birth()  # type: ignore[no-untyped-call]
    with job.connection.pipeline() as pipeline:
        Execution.create(job, 3600, pipeline=pipeline, worker_name=worker.name)
        pipeline.execute()


def untouched(page: Page, visitor: Visitor) -> None:
    """Nothing of it became an element or ran."""
    assert page.evaluate("() => window.owned === undefined && document.querySelector('#owned, img[src=x]') === null")
    assert visitor.complaints == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        # The description, the traceback, and a queue's name in the choice.
        ("/rq/0/view/jobs/live/failed/8/asc/1", 3),
        ("/rq/0/view/jobs/live/queued/8/asc/1", 2),
        ("/rq/0/view/job/hostile", 2),  # the description, and the traceback
        ("/rq/0/view/workers", 2),  # the worker's name, and its job's call
        ("/rq/0/view/queues", 1),
    ],
)
def test_hostile_text_is_text(web: WebWorld, job: Job, path: str, shown: int) -> None:
    with chromium() as browser, Visitor(browser, f"http://127.0.0.1:{web.port}") as visitor:
        page = visitor.open(path, TOKEN)
        expect(page.get_by_text("<img src=x")).to_have_count(shown)
        untouched(page, visitor)
