"""Each bench, small and once: a figure that nobody prints until somebody wants it would rot unseen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks import bench_burst, bench_checksum, bench_intake, bench_jobs, bench_released, bench_sync
from tests.benchmarks.harness import Line, parsed

SMALL: dict[ModuleType, dict[str, object]] = {
    bench_sync: {
        "ROUNDS": {"small": 1, "large": 1, "first": 1}, "SMALL": bench_sync.Size("small", 5, 2, 1.15),
        "LARGE": bench_sync.Size("large", 10, 3, 1.10),
    },
    bench_checksum: {"FILES": 20, "ROUNDS": 1},
    bench_jobs: {"JOBS": 3, "ROUNDS": 1},
    bench_burst: {"REPOSITORIES": 2, "EACH": 2, "NESTED": 3, "NESTED_ROUNDS": 1},
    bench_released: {"ROUNDS": 1, "WARM": 1},
}  # fmt: skip
NAMES = {
    bench_sync: ["sync-incremental-small", "sync-incremental-large", "sync-growth", "sync-first"],
    bench_checksum: ["checksum"],
    bench_jobs: ["job-overhead"],
    bench_burst: ["monorepo", "burst", "memory-worker", "memory-web"],
    bench_released: ["released-to-downloadable", "released-to-proven"],
}


def name_of(bench: object) -> str:
    return bench.__name__.rpartition(".")[2] if isinstance(bench, ModuleType) else ""


@pytest.mark.parametrize("bench", SMALL, ids=name_of)
def test_a_bench_prints_its_figures(tmp_path: Path, bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL[bench].items():
        monkeypatch.setattr(bench, name, value)
    told(bench.lines(tmp_path), NAMES[bench])


def test_intake_prints_its_figures_and_loses_no_release(tmp_path: Path) -> None:
    size = bench_intake.Size(requests=300, rounds=1, warm=300)
    with ExitStack() as stack:
        ours = stack.enter_context(bench_intake.serving(tmp_path / "ours", {}))
        bare = stack.enter_context(
            bench_intake.serving(tmp_path / "bare", {}, "tests.benchmarks.bare:create()", redis=False)
        )
        texts = list(bench_intake.measured("sqlite", ours, bare, size))
    assert texts[-1] == "runs sqlite: 900 of 900 accepted"
    names = [f"intake-sqlite-{number}-{what}" for number in (16, 256) for what in ("time", "p99")]
    told([line for text in texts if (line := parsed(text))], names)


def told(lines: Iterable[Line], names: Sequence[str]) -> None:
    found = list(lines)
    assert [line.name for line in found] == names
    assert all(line.ours > 0 and line.bare > 0 and parsed(str(line)) for line in found)
