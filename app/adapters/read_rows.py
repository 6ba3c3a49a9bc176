"""Rows of the database as the values that people see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping

from app.domain.ids import JobId
from app.domain.modzip import FileHash, hash1
from app.domain.run import Stage, Status, Target
from app.services.views import (
    AttemptView,
    DeliveryView,
    ErrorView,
    Facts,
    Known,
    MirrorView,
    ReleaseView,
    RunDetail,
    RunSummary,
    StepView,
    TargetView,
)

# What the pipeline stage keeps for itself: how it finds its own pipeline again.
_INTERNAL = frozenset({"intent", "fence", "missed", "refused"})


def summary(row: RowMapping) -> RunSummary:
    """A row of `runs` as lists show it."""
    return RunSummary(**_summary(row))


def detail(
    row: RowMapping, tried: Sequence[RowMapping], taken: Sequence[RowMapping], asked: Sequence[RowMapping]
) -> RunDetail:
    """A row of `runs` with its attempts, steps and deliveries, each in order."""
    return RunDetail(
        **_summary(row),
        delivery=row["delivery"],
        target=TargetView.of(Target(**row["target"])),
        facts=_facts(row),
        due_at=row["due_at"],
        pushed_at=row["pushed_at"],
        replaced_by=row["replaced_by"],
        downloadable_after_seconds=_downloadable_after(row, tried),
        attempts=tuple(_attempt(each, taken) for each in tried),
        deliveries=tuple(DeliveryView(**each) for each in asked),
    )


def known(found: Sequence[RowMapping], held: Sequence[RowMapping]) -> Known:
    """Rows of `runs` (newest first) and `releases` about one module."""
    urls: dict[str, str] = {}
    for row in found:
        if url := row["event"].get("repo_url"):
            urls.setdefault(row["source"], url)
    versions = tuple(_release(row) for row in held)
    return Known(tuple(map(summary, found)), versions, urls)


def mirror(row: RowMapping) -> MirrorView:
    """A row of `mirrors`."""
    return MirrorView(**_fields(MirrorView, row))


def _release(row: RowMapping) -> ReleaseView:
    kept = row["kept"] is not None
    return ReleaseView(row["module"], row["version"], row["run_id"], row["commit"], row["pushed_at"], kept)


def _fields(view: type[Any], row: RowMapping) -> dict[str, Any]:
    """The columns that are named as the view's fields are."""
    return {name: row[name] for name in view.__dataclass_fields__ if name in row}


def _summary(row: RowMapping) -> dict[str, Any]:
    return _fields(RunSummary, row) | {
        "status": Status(row["status"]),
        "stage": Stage(row["stage"]),
        "error": ErrorView.of(row["error"], row["error_message"]),
    }


def _facts(row: RowMapping) -> Facts:
    facts: Mapping[str, Any] = row["facts"]
    pipeline = _shown(facts.get("pipeline", {}))
    verify = facts.get("verify", {})
    project, push, proof = (facts.get(name, {}) for name in ("project", "push", "proof"))
    warned, signature = tuple(facts.get("warnings", ())), facts.get("signature", {})
    sums, conflict = _go_sum(row, verify), facts.get("conflict", {})
    return Facts(project, push, proof, pipeline, verify, sums, warned, signature, conflict)


def _go_sum(row: RowMapping, verify: Mapping[str, Any]) -> tuple[str, ...]:
    """The two lines for go.sum, once the proxy's answers were verified."""
    h1, go_mod = verify.get("h1"), verify.get("go_mod_sha256")
    if not h1 or not go_mod:
        return ()
    name = f"{row['module']} {row['version']}"
    return f"{name} {h1}", f"{name}/go.mod {hash1([FileHash('go.mod', go_mod)])}"


def _downloadable_after(row: RowMapping, tried: Sequence[RowMapping]) -> float | None:
    """Seconds to the first attempt that was done: a forced replay later does not make a release late."""
    ended = [each["ended_at"] for each in tried if each["outcome"] == Status.DONE and each["ended_at"]]
    return float((min(ended) - row["created_at"]).total_seconds()) if ended else None


def _attempt(row: RowMapping, taken: Sequence[RowMapping]) -> AttemptView:
    number = row["number"]
    return AttemptView(
        **_fields(AttemptView, row)
        | {
            "from_stage": Stage(row["from_stage"]),
            "outcome": Status(row["outcome"]) if row["outcome"] else None,
            "jobs": tuple(str(JobId(row["run_id"], number, each)) for each in range(1, row["jobs"] + 1)),
            "steps": tuple(_step(step) for step in taken if step["attempt"] == number),
        }
    )


def _step(row: RowMapping) -> StepView:
    seconds = (row["ended_at"] - row["started_at"]).total_seconds()
    detail = {name: _shown(value) if name == "pipeline" else value for name, value in row["detail"].items()}
    return StepView(**_fields(StepView, row) | {"stage": Stage(row["stage"]), "seconds": seconds, "detail": detail})


def _shown(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pipeline.items() if name not in _INTERNAL}
