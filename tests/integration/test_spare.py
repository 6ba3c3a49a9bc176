"""The next job's process is there before its job, and a job never depends on it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.integration.embedded import embedded_redis
from tests.integration.recovery_world import paused, until
from tests.integration.spare_job import DONE, IDS, PREPARED, SLOW, STOPPED
from tests.sandbox.looked_at import gone
from tests.sandbox.world import PROJECT

pytestmark = pytest.mark.slow
RUN = "r" + "0" * 19
JOB = f"{RUN}-1-1"


class Working:
    """One worker, its queue, and what its processes wrote."""

    def __init__(self, url: str, directory: Path) -> None:
        self._directory = directory
        self.queue = Queue("live", connection=Redis.from_url(url), serializer=JSONSerializer)
        command = [sys.executable, "-m", "tests.integration.spare_job", url, str(directory)]
        self.process = psutil.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)

    def wrote(self, name: str) -> list[str]:
        """The lines of a file."""
        path = self._directory / name
        return path.read_text().splitlines() if path.exists() else []

    def spare(self, number: int = 1) -> psutil.Process:
        """The process that waits for a job, the so many-th that was forked ahead."""
        until(lambda: len(self.wrote(PREPARED)) >= number, 20, "a process that waits for its job")
        return psutil.Process(int(self.wrote(PREPARED)[number - 1]))

    def done(self, name: str) -> int:
        """Do a job of this id; its process."""
        before = len(self.wrote(DONE))
        self.queue.enqueue("tests.integration.spare_job.note", str(self._directory), job_id=name)
        until(lambda: len(self.wrote(DONE)) > before, 20, "the job")
        return int(self.wrote(DONE)[before])


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Working]:
    with embedded_redis() as url:
        made = Working(url, tmp_path)
        try:
            yield made
        finally:
            with suppress(psutil.NoSuchProcess):
                made.process.kill()
            made.process.wait(10)


def test_a_job_has_a_process_of_its_own_that_was_there_before_it(working: Working) -> None:
    first = working.spare()
    assert working.done(JOB) == first.pid
    second = working.spare(2)
    assert working.done("another-job") == second.pid != first.pid
    until(lambda: gone(first) and gone(second), 10, "both to end with their jobs")
    assert working.wrote(IDS) == [f"{JOB} {RUN}", "another-job None"]
    until(lambda: sorted(working.queue.finished_job_registry.get_job_ids()) == ["another-job", JOB], 10, "RQ to know")
    assert working.queue.started_job_registry.get_job_ids() == []


def test_a_job_gets_another_process_where_the_waiting_one_was_killed(working: Working) -> None:
    spare = working.spare()
    spare.kill()
    assert working.done("a-job") != spare.pid
    assert gone(spare)


def test_a_job_gets_another_process_where_the_waiting_one_stands_still(working: Working) -> None:
    spare = working.spare()
    with paused(spare):
        assert working.done("a-job") != spare.pid
        assert gone(spare)
    working.spare(2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_waiting_process_ends_with_its_worker(working: Working, number: signal.Signals) -> None:
    spare = working.spare()
    working.process.send_signal(number)
    until(lambda: gone(working.process) and gone(spare), 10, "both to end")


def test_a_stop_while_the_job_is_handed_over_reaches_it(working: Working, tmp_path: Path) -> None:
    working.spare()
    (tmp_path / SLOW).touch()  # from now on the process in store is not ready
    working.done("a-job")
    working.queue.enqueue("tests.integration.spare_job.wait_to_be_stopped", str(tmp_path), job_id="last")
    until(lambda: working.queue.started_job_registry.get_job_ids() == ["last"], 10, "the worker to take the job")
    working.process.terminate()
    (tmp_path / SLOW).unlink()
    until(lambda: working.wrote(STOPPED), 6, "the job to end")
    assert working.wrote(STOPPED) == ["True"]
    assert working.process.wait(10) == 0


def test_a_waiting_process_that_is_asked_to_end_ends(working: Working) -> None:
    spare = working.spare()
    spare.terminate()
    until(lambda: gone(spare), 5, "it to end")
    assert working.done("a-job") != spare.pid
