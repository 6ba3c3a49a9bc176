"""reconcile: 2,000 repositories with 20,000 versions, all in step, against the bare `git ls-remote` of both sides."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench_large import Large, Plan
from tests.benchmarks.harness import Line, timed
from tests.benchmarks.mirror_stage import bare_environment

REPOSITORIES, TAGS, AT_ONCE = 2000, 10, 4  # modsync reconcile asks four repositories at once


def lines(root: Path) -> Iterator[Line]:
    """One line, in seconds."""
    root.mkdir(parents=True, exist_ok=True)
    large = Large(root, Plan(REPOSITORIES, TAGS, rate=1000))  # no brake: nothing here answers as fast
    large.make()
    with large.server:
        engine = large.configure()
        adopted = large.reconcile("adopt", engine)
        assert (adopted.status, adopted.compared) == (0, REPOSITORIES), adopted
        bare = timed(lambda: listed(large))
        ours = large.reconcile("in step", engine)
        assert (ours.status, ours.compared) == (0, REPOSITORIES), ours
        engine.dispose()
    yield Line("reconcile", ours.seconds, bare, 1.1, unit="s")
    yield Line("reconcile-memory", ours.peak / 1e6, 150, 1.0, unit="MB")


def listed(large: Large) -> None:
    """Every repository's refs at both sides, so many at once."""
    urls = [f"{large.server.url}/{side}/{name}.git" for name in large.names() for side in ("src", "mirrors")]
    words = ["xargs", "-P", str(AT_ONCE), "-n", "1", "git", "ls-remote", "--quiet", "--tags"]
    listing = "\n".join(urls).encode()
    subprocess.run(words, input=listing, env=bare_environment(), check=True, stdout=subprocess.DEVNULL)
