"""A world for the stores: deliveries and runs made through the real stores, at times that the test decides."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, RowMapping, Table, select

from app.adapters.flow_store import SqlFlowStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.ops_store import SqlReplayStore, SqlSweepStore
from app.adapters.system import SystemClock
from app.adapters.tables import attempts, releases, runs, steps
from app.domain.ids import make_id
from app.domain.run import Claim, Run, Stage, Status, Target, semantic_key
from app.services.stores import Change, NewDelivery, PlannedRun, Receipt, ReplayOrder, StepRecord

MODULE = "go.corp.example/platform/log"
A, B, C = "a" * 40, "b" * 40, "c" * 40
START = datetime(2026, 11, 22, 12, 0, 0, 120_000, tzinfo=UTC)
LEASE = 10.0
TARGET = Target(
    clone_url="https://git.corp.example/platform/log.git", mirror="go-mirrors/platform/log",
    rule="go.corp.example/{team}/{repo}",
)  # fmt: skip
ORDER = ReplayOrder(actor="cli:alice", reason="the runner was down")

PUSHED: Mapping[str, Any] = {
    "project": {"id": 7, "path": TARGET.mirror, "url": "https://gitlab.corp.example/go-mirrors/platform/log"},
    "push": {"tag": "v1.0.0", "object": A, "commit": A, "new": True},
    "proof": {"directory": "", "go_mod_sha256": "0" * 64},
}
PIPELINE: Mapping[str, Any] = {
    "pipeline": {"intent": "modsync x-1", "fence": 1, "id": 12, "sha": A, "status": "success", "polls": 3,
                 "url": "https://gitlab.corp.example/go-mirrors/platform/log/-/pipelines/12"},
}  # fmt: skip
VERIFIED: Mapping[str, Any] = {
    "verify": {"h1": "h1:" + "A" * 43 + "=", "go_mod_sha256": "0" * 64, "commit": A, "compared": False}
}


class Stored:
    """All stores on one database, and a clock that goes on when it is told to."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.intake, self.flow = SqlIntakeStore(engine), SqlFlowStore(engine)
        self.ops, self.sweep = SqlReplayStore(engine), SqlSweepStore(engine)
        self.now = START
        self._numbers = itertools.count(1)

    def later(self, seconds: float = 1.0) -> datetime:
        """Let time pass; the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now

    def new_id(self, prefix: str) -> str:
        """An id as the service makes it."""
        return make_id(prefix, int(self.now.timestamp() * 1000), next(self._numbers))

    def delivery(self, dedupe: str = "") -> NewDelivery:
        """A delivery; the same `dedupe` makes it the same delivery."""
        identifier = self.new_id("d")
        return NewDelivery(
            id=identifier, source="platform", dedupe=dedupe or identifier, scheme="article", secret_id="2026-11",
            received_at=self.now, headers={"user-agent": "test"}, body=b"{}", verdict="accepted",
        )  # fmt: skip

    def plan(
        self, commit: str = A, version: str | None = "v1.0.0", module: str = MODULE, ref: str = "", **more: Any
    ) -> PlannedRun:
        """A run to be recorded; without a version it is a branch's."""
        ref = ref or (f"refs/tags/{version}" if version else "main")
        given = PlannedRun(
            id=self.new_id("r"), source="platform", module=module, version=version, ref=ref, commit=commit,
            semantic=semantic_key(module, version, ref, commit), event={"module": module}, target=TARGET,
        )  # fmt: skip
        return replace(given, **more)

    def deliver(self, *planned: PlannedRun) -> list[Receipt]:
        """Record the runs under a new delivery."""
        return self.intake.record(self.delivery(), planned)[2]

    def release(self, commit: str = A, version: str | None = "v1.0.0", **more: Any) -> Receipt:
        """Deliver one release."""
        return self.deliver(self.plan(commit, version, **more))[0]

    def claim(self, run_id: str, owner: str = "worker-1") -> Claim:
        """Take a run that can be taken."""
        claim = self.flow.claim(run_id, owner, self.now, LEASE)
        assert claim is not None
        return claim

    def record(
        self, claim: Claim, status: Status, *, error: str | None = None, detail: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str | None:  # fmt: skip
        """Write an outcome of the claim's stage with a step of two seconds; the job when it is handed over."""
        begun, now = self.now, self.later(2)
        change = change_of(claim.run, status, error=error, **more)
        outcome = {Status.FAILED: "failed", Status.REJECTED: "rejected"}.get(status, "retry" if error else "ok")
        message = f"{error} happened" if error else None
        step = StepRecord(claim.run.stage, outcome, begun, now, error, message, change.due_at, detail or {})
        return self.flow.record(claim, step, change, now)

    def fail(self, run_id: str, *, pushed: bool = False, error: str = "pipeline_failed") -> None:
        """Bring a run to its end as failed: in stage mirror, or after its push in stage pipeline."""
        claim = self.claim(run_id)
        if pushed:
            claim = self.push(claim)
        self.record(claim, Status.FAILED, error=error)

    def push(self, claim: Claim) -> Claim:
        """Bring a claimed run through the mirror stage."""
        self.record(claim, Status.PIPELINE, stage=Stage.PIPELINE, facts=PUSHED, pushed=True)
        return replace(claim, run=replace(claim.run, status=Status.PIPELINE, stage=Stage.PIPELINE, facts=dict(PUSHED)))

    def finish(self, run_id: str) -> None:
        """Bring a run through all its stages."""
        claim = self.push(self.claim(run_id))
        self.record(claim, Status.VERIFY, stage=Stage.VERIFY, facts={**PUSHED, **PIPELINE})
        claim = replace(claim, run=replace(claim.run, stage=Stage.VERIFY))
        self.record(claim, Status.DONE, stage=Stage.VERIFY, facts={**PUSHED, **PIPELINE, **VERIFIED})

    def run(self, run_id: str) -> Run:
        """The run as it is stored."""
        found = self.ops.get(run_id)
        assert found is not None
        return found

    def row(self, run_id: str) -> RowMapping:
        """The run's row."""
        return self._rows(runs, runs.c.id == run_id)[0]

    def attempts(self, run_id: str) -> list[RowMapping]:
        """The run's attempts, in order."""
        return sorted(self._rows(attempts, attempts.c.run_id == run_id), key=lambda row: int(row["number"]))

    def steps(self, run_id: str) -> list[RowMapping]:
        """The run's steps, in order."""
        return sorted(self._rows(steps, steps.c.run_id == run_id), key=lambda row: int(row["id"]))

    def held(self, version: str = "v1.0.0", module: str = MODULE) -> RowMapping:
        """The row of the release."""
        return self._rows(releases, (releases.c.module == module) & (releases.c.version == version))[0]

    def _rows(self, table: Table, which: Any) -> list[RowMapping]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table).where(which)).mappings())


class StoredClock(SystemClock):
    """The time of the stored world."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def now(self) -> datetime:
        return self._stored.now


@pytest.fixture
def stored(engine: Engine) -> Stored:
    """The stores on an empty database."""
    return Stored(engine)


def change_of(run: Run, status: Status, *, error: str | None = None, **more: Any) -> Change:
    """A change of a run to `status`, everything else as it is but for `more`."""
    base = Change(
        status, run.stage, run.facts, run.tries, run.stage_since, error=error,
        error_message=f"{error} happened" if error else None,
    )  # fmt: skip
    return replace(base, **more)
