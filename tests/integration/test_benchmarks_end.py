"""A benchmark that is told to end takes all that it started with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.benchmarks.harness import wait_until
from tests.sandbox.world import PROJECT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("name", "sign"), [("jobs", "idle_worker"), ("intake", "gunicorn")])
def test_a_signal_ends_all_that_was_started(tmp_path: Path, name: str, sign: str, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", name]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    bench = subprocess.Popen(command, cwd=PROJECT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(sign in " ".join(line) for line in _lines(bench)), seconds=120)
        started = psutil.Process(bench.pid).children(recursive=True)
        os.kill(bench.pid, number)  # to it alone, as a supervisor does
        assert bench.wait(60) != 0
        _, left = psutil.wait_procs(started, timeout=20)
        assert left == []
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("modsync-bench-")] == []
    finally:
        _clear(bench)


def _lines(bench: subprocess.Popen[bytes]) -> list[list[str]]:
    found = []
    assert bench.poll() is None, "it ended by itself"
    for process in psutil.Process(bench.pid).children(recursive=True):
        try:
            found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def _clear(bench: subprocess.Popen[bytes]) -> None:
    if bench.poll() is None:
        for process in psutil.Process(bench.pid).children(recursive=True):
            process.kill()
        bench.kill()
        bench.wait()
