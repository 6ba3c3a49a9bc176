"""`make demo ONCE=1`: the story itself, as a user sees it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.sandbox.world import PROJECT

DEMO = [sys.executable, "-m", "tests.sandbox.demo"]


def _left(marker: str) -> list[str]:
    """Command lines of processes whose environment carries the marker."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MODSYNC_TEST_MARKER") == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary directory of its own with a short name, as users have; pytest's are too long for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="m-") as directory:
        yield Path(directory)


def _environment(scratch: Path) -> dict[str, str]:
    return {**os.environ, "MODSYNC_TEST_MARKER": str(scratch), "TMPDIR": str(scratch)}


@pytest.mark.timeout(240)
def test_the_whole_story_happens_and_nothing_is_left(scratch: Path) -> None:
    told = subprocess.run(
        [*DEMO, "--once"],
        cwd=PROJECT,
        env=_environment(scratch),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    for act in ("duplicate: true", "401, nothing recorded", "version_moved", "modsync replay", "Where the time went"):
        assert act in told.stdout
    assert _left(str(scratch)) == []
    assert list(scratch.iterdir()) == []


@pytest.mark.timeout(240)
def test_ctrl_c_ends_it_at_any_time(scratch: Path) -> None:
    with subprocess.Popen(
        DEMO, cwd=PROJECT, env=_environment(scratch), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[:2] == ["the", "CLI"]:
                cli = line.split(maxsplit=2)[2]
            if "Three releases arrive" in line:
                break
        ran = subprocess.run(cli, shell=True, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output
    assert (ran.returncode, ran.stderr) == (0, "")  # the line that people copy
    assert _left(str(scratch)) == []
    assert list(scratch.iterdir()) == []
