"""`make bench` and `make bench-large`: run the benches, print a line for each figure, write them as JSON and as a picture."""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import bench_growth as growth
from tests.benchmarks import report
from tests.benchmarks.harness import Line, end_cleanly, parsed

SMALL = ("sync", "checksum", "jobs", "burst", "released", "intake")
PARTS = ("sync-small", "sync-large", "sync-first")
LARGE = ("console", "reconcile")
GROWTH = "growth"
RESULTS = Path("bench-results")


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit status 0 also where targets are missed: the figures say so."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*SMALL, *PARTS, *LARGE, GROWTH, []],
        help=f"default: all but the large ones and {GROWTH}",
    )
    parser.add_argument("--large", action="store_true", help="the large ones")
    given = parser.parse_args(arguments)
    end_cleanly()
    if given.names == [GROWTH]:
        growth.main(RESULTS)
        return
    names = given.names or (LARGE if given.large else SMALL)
    lines = [line for name in names for line in _run(name)]
    report.write(lines, RESULTS, "bench-large" if given.large else "bench" if names == SMALL else "-".join(names))
    missed = [line.name for line in lines if not line.met]
    print(f"{len(lines) - len(missed)} of {len(lines)} within their targets; missed: {', '.join(missed) or 'none'}")


def _run(name: str) -> Iterator[Line]:
    for line in _intake() if name == "intake" else _family(name):
        print(line, flush=True)
        yield line


def _family(name: str) -> Iterator[Line]:
    root = Path(tempfile.mkdtemp(prefix="modsync-bench-"))
    try:
        family, _, part = name.partition("-")
        bench = importlib.import_module(f"tests.benchmarks.bench_{family}")
        yield from bench.part(root, part) if part else bench.lines(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _intake() -> Iterator[Line]:
    """The lines of `make bench-intake`, as it prints them."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_intake"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for text in process.stdout:
                if line := parsed(text):
                    yield line
        except BaseException:  # a signal: it ends what it has started
            process.terminate()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


if __name__ == "__main__":
    main()
