"""A job that says which process it has, for test_spare.py; and a worker for it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

from app.services import log_ids
from workers import jobs, pool

PREPARED, DONE, IDS, SLOW, STOPPED = "prepared", "done", "ids", "slow", "stopped"
_asked = threading.Event()


def note(directory: str) -> None:
    """Its process, and the ids that its lines have."""
    record = logging.makeLogRecord({})
    ids = log_ids.ids_of(record)
    _write(directory, IDS, f"{ids.get('job')} {ids.get('run')}")
    _write(directory, DONE, str(os.getpid()))


def wait_to_be_stopped(directory: str) -> None:
    """Works until it is asked to stop, and says whether it was."""
    _write(directory, STOPPED, str(_asked.wait(10)))


def _write(directory: str, name: str, line: str) -> None:
    with open(f"{directory}/{name}", "a") as file:  # noqa: PTH123 - as short as can be
        file.write(f"{line}\n")


def main(url: str, directory: str) -> None:
    """`modsync worker` with one process, which needs no configuration."""

    def prepare() -> None:
        while os.path.exists(f"{directory}/{SLOW}"):  # noqa: PTH110
            time.sleep(0.02)
        _write(directory, PREPARED, str(os.getpid()))

    from tests.integration import spare_job  # what RQ calls: this one is __main__

    jobs.prepare, jobs.stop = prepare, spare_job._asked.set
    container = SimpleNamespace(redis_url=url, tidy_host=lambda: None)
    pool.work(cast(Any, container), "live")


if __name__ == "__main__":
    main(*sys.argv[1:])
