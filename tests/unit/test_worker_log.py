"""RQ's own log lines: a lost Redis is one line, a defect keeps its traceback."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import TimeoutError as RedisSlow

import workers.worker  # noqa: F401 - it is what changes RQ's log
from app.telemetry import formatter


def _logged(caplog: pytest.LogCaptureFixture, error: Exception) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        logging.getLogger("rq.worker").error("Worker %s: found an unhandled exception, quitting...", "w", exc_info=True)
    return caplog.records[-1]


@pytest.mark.parametrize("error", [RedisGone("Error 2 connecting to redis.sock"), RedisSlow("no answer")])
def test_a_lost_redis_is_one_line(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    """What RQ calls an unhandled exception is an outage here: the pool begins the loop anew."""
    record = _logged(caplog, error)
    assert (record.getMessage(), record.exc_info, record.levelname) == ("redis_away", None, "WARNING")
    assert json.loads(formatter("json", "worker", ()).format(record)).items() >= {
        "event": "redis_away", "error": type(error).__name__, "logger": "workers.worker",
    }.items()  # fmt: skip


def test_a_defect_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Only Redis' own errors are shortened."""
    record = _logged(caplog, ValueError("defect"))
    assert record.exc_info is not None
    assert record.levelname == "ERROR"


def test_rq_logs_under_the_name_that_is_filtered() -> None:
    """An RQ that renamed its logger would bring the tracebacks back."""
    shown = subprocess.run(
        [sys.executable, "-c", "import rq.worker.base as b; print(b.logger.name)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.strip() == "rq.worker"
