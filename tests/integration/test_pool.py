"""The workers' parent: it ends in time whatever it does, and a long look at the caches holds up nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.integration.recovery_world import RECOVERY_SECONDS, until
from tests.sandbox.looked_at import gone

pytestmark = pytest.mark.slow

_POOL = """
import sys, time
from workers import pool
looks, hangs = sys.argv[1] == "look", sys.argv[1] == "tidy"
def work():
    if hangs:
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(120)
def tidy():
    if hangs and made._children:
        time.sleep(120)
def look():
    if looks:
        time.sleep(120)
pool.TIDY_SECONDS = 0.2
made = pool.Pool(1, work, tidy, look)
made.run()
"""


@contextmanager
def _pool(what: str) -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", _POOL, what]) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def test_a_parent_that_hangs_ends_with_its_children_all_the_same() -> None:
    with _pool("tidy") as parent:
        until(parent.children, RECOVERY_SECONDS, "a child")
        family = [parent, *parent.children()]
        parent.terminate()
        until(lambda: all(map(gone, family)), RECOVERY_SECONDS, "parent and child to end")


def test_a_long_look_at_the_caches_holds_up_nothing() -> None:
    with _pool("look") as parent:
        until(lambda: len(parent.children()) == 2, RECOVERY_SECONDS, "a worker and the one that looks")
        worker, look = parent.children()
        worker.kill()
        until(lambda: len([each for each in parent.children() if not gone(each)]) == 2, 3, "another worker")
        assert not gone(look)
        family = [parent, *parent.children()]
        parent.terminate()
        until(lambda: all(map(gone, family)), 3, "all of them to end")
