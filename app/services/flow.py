"""Drives one run as far as it goes now; with the store, the only writer of run state after intake.

Observe (a stage), decide (retry, next stage), record (one transaction), and again, until the run ends or has to wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.errors import SyncError
from app.domain.pause import Pause, covering
from app.domain.retry import RetryPolicy, TryAgain, decide
from app.domain.run import ACTIVE, WORKERS_LOST, Claim, Lane, Run, Stage, Status, is_failure, next_stage
from app.services import log_ids, measuring
from app.services.branches import BranchResolver
from app.services.failing import failing_since, healed, queued, set_aside, without
from app.services.lease import Lease
from app.services.measuring import FIRST_DONE, Tally
from app.services.ports import Clock, JobQueue
from app.services.stage_requests import pipeline_request, verify_request
from app.services.stages import Finished, Note, Outcome, Wait
from app.services.stages.pipeline import PipelineStage
from app.services.stages.publish import PublishStage
from app.services.stages.verify import VerifyStage
from app.services.stopping import Stop
from app.services.stores import Change, FlowStore, StepRecord
from app.services.turn import MirrorTurn

log = logging.getLogger(__name__)

# `modsync resume` wakes paused runs, the sweeper backfills that wait for others; this is for a wake that was lost.
PARKED = timedelta(hours=1)
# Whoever kills each worker that takes it is an error that is retried, with its pauses and its end; not for ever the first.
_MOST_LOST = 5


class RunFailedError(Exception):
    """The run ended as a failure: raised after it was recorded, so that RQ's dashboard shows the job as failed, too.

    Carries ids and the code only: RQ keeps the text in Redis and shows it unescaped.
    """


def _unchanged(error: SyncError) -> SyncError:
    return error


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """Who works, for how long a claim holds without a sign of life, and how errors are retried.

    `proxy_waits`: seconds by proxy, how long its stage waits for a version to appear (default: the policy's patience).
    `refused`: sees each error, for git's refused logins open the breaker, too; what it returns is recorded. `tally`: what
    was recorded is counted there. `backfill_pipelines`: how many of backfills may be in flight (0: any number).
    """

    owner: str
    lease_seconds: float = 10.0
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    proxy_waits: Mapping[str, float] = field(default_factory=dict)
    refused: Callable[[SyncError], SyncError] = _unchanged
    tally: Tally = field(default_factory=Tally)
    backfill_pipelines: int = 0

    def policy_for(self, run: Run) -> RetryPolicy:
        """How errors of the run's present stage are retried."""
        wait = self.proxy_waits.get(run.target.proxy) if run.stage is Stage.VERIFY else None
        return self.policy if wait is None else replace(self.policy, patience=wait)


class Flow:
    """One worker's way of advancing runs."""

    def __init__(
        self, store: FlowStore, queue: JobQueue, clock: Clock, options: FlowOptions, turn: MirrorTurn,
        branches: BranchResolver, pipeline: PipelineStage, verify: VerifyStage, proxies: Mapping[str, Mapping[str, str]],
        stop: Stop, publish: PublishStage,
    ) -> None:  # fmt: skip
        self._store, self._queue, self._clock, self._options = store, queue, clock, options
        self._turn, self._branches, self._pipeline, self._verify = turn, branches, pipeline, verify
        self._proxy_variables, self._stop, self._publish = proxies, stop, publish
        self._lease: Lease | None = None

    def advance(self, run_id: str) -> None:
        """Claim the run and drive it until it ends or waits; nothing to do is no error.

        Errors: RunFailedError when it ended failed (is_failure); `store_unavailable` (the sweeper brings the run back).
        """
        claim = self._store.claim(run_id, self._options.owner, self._clock.now(), self._options.lease_seconds)
        if claim is None:
            return
        log_ids.note(run=run_id, delivery=claim.run.delivery, release=claim.run.name)
        try:
            with Lease(self._store, self._clock, self._options.lease_seconds, [claim], self._stop) as lease:
                self._lease = lease
                run = self._drive(claim, lease)
        except SyncError as error:
            if error.code != "overtaken":
                raise
            log.info("run_overtaken", extra={"run": run_id})
            with suppress(SyncError):  # then the lease's time runs out
                self.give_up()  # the others of the batch, which nobody overtook
            return
        if is_failure(run.status, run.error):
            raise RunFailedError(f"run {run.id} {run.status}: {run.error}")

    def give_up(self) -> None:
        """From another thread, right before the process ends: let go of what is in hand. Error: store_unavailable."""
        if self._lease:
            self._lease.give_up()

    def _drive(self, claim: Claim, lease: Lease) -> Run:
        while claim.run.status in ACTIVE:
            if self._stop.asked:  # before the lease is asked: it breaks off what takes long, and this step has ended
                return self._hand_back(claim, lease)
            lease.check()
            if pause := covering(self._store.pauses(), claim.run):
                return self._park(claim, lease, pause)
            started = self._clock.now()
            try:
                outcomes = self._stage(claim, lease)
            except SyncError as error:
                if error.code in ("overtaken", "store_unavailable"):
                    raise
                # Before it reads the cache, the proof downloads the whole zip.
                wait = Wait.instead_of(error, costly=claim.run.stage is Stage.VERIFY)
                outcomes = {claim.run.id: (claim, wait or error)}
            except Exception:  # a defect of ours must not leave the run without a verdict; the log has the trace
                log.exception("stage_defect", extra={"run": claim.run.id})
                outcomes = {claim.run.id: (claim, SyncError("internal", "an unexpected error; see the worker's log"))}
            claim, going = self._record_all(claim, lease, outcomes, started)
            if not going:
                break
        return claim.run

    def _park(self, claim: Claim, lease: Lease, pause: Pause) -> Run:
        """Somebody paused it: it waits where it is, and the time that it waits is not held against it."""
        run, now = claim.run, self._clock.now()
        lease.drop(claim)
        change = Change(
            Status(run.stage.value), run.stage, run.facts, run.tries, None, due_at=now + PARKED, error="paused",
            error_message=str(pause),
        )  # fmt: skip
        self._store.record(claim, None, replace(healed(change), tries=run.tries), now)
        log.info("run_paused", extra={"run": run.id, "pause": pause.name})
        return run

    def _hand_back(self, claim: Claim, lease: Lease) -> Run:
        """This process is to end: somebody else goes on, at once."""
        run, now = claim.run, self._clock.now()
        lease.drop(claim)
        change = Change(Status(run.stage.value), run.stage, run.facts, run.tries, run.stage_since, hand_over=True)
        job = self._store.record(claim, None, change, now)
        if job:
            self._enqueue(job, run, first=True)
        return run

    def _stage(self, claim: Claim, lease: Lease) -> Mapping[str, tuple[Claim, Outcome | SyncError]]:
        run = claim.run
        if (lost := run.facts.get(WORKERS_LOST, 0)) >= _MOST_LOST:
            raise SyncError(
                "internal", f"{lost} workers in a row died over it; see their log, and the kernel's for memory"
            )
        if run.stage is Stage.MIRROR:
            if run.version is None:
                self._turn.check(run)
            claim = self._branches.resolve(claim, lease)
            return self._turn.run(claim, lease)
        if run.stage is Stage.PIPELINE and self._publish.serves(run.target.proxy):
            return {run.id: (claim, self._publish.run(verify_request(run), lease.check, lambda: lease.fence({})))}
        if run.stage is Stage.PIPELINE:
            return {run.id: self._piped(claim)}
        return {run.id: (claim, self._verify.run(verify_request(run), lease.check))}

    def _piped(self, claim: Claim) -> tuple[Claim, Outcome]:
        """A backfill's pipeline is begun only while few enough are in flight."""
        now, run, limit = self._clock.now(), claim.run, self._options.backfill_pipelines
        request = pipeline_request(claim, now)
        if limit and run.lane == Lane.BACKFILL and "intent" not in request.state:
            facts = {**run.facts, **request.intent}
            if not self._store.take_slot(claim, facts, limit, now):
                note = f"{limit} pipelines of backfills are in flight, or others wait longer"
                return claim, Wait(PARKED.total_seconds(), note=note, queued="backfill_waits")
            claim = replace(claim, run=replace(run, facts=facts, error=None, error_message=None))
        return claim, self._pipeline.run(pipeline_request(claim, now), self._extra(run))

    def _extra(self, run: Run) -> Mapping[str, str]:
        return self._proxy_variables.get(run.target.proxy, {})

    def _record_all(
        self, claim: Claim, lease: Lease, outcomes: Mapping[str, tuple[Claim, Outcome | SyncError]], started: datetime
    ) -> tuple[Claim, bool]:
        """Record our own run last: the others must not wait for what it does next."""
        going = False
        for run_id, (each, outcome) in sorted(outcomes.items(), key=lambda item: item[0] == claim.run.id):
            if run_id == claim.run.id:
                claim, going = self._record(each, lease, outcome, started, keep=True)
            else:
                self._record_other(each, lease, outcome, started)
        return claim, going

    def _record_other(self, claim: Claim, lease: Lease, outcome: Outcome | SyncError, started: datetime) -> None:
        """What is wrong with the record of one is not held against those behind it."""
        try:
            self._record(claim, lease, outcome, started, keep=False)
        except SyncError:
            raise
        except Exception:
            log.exception("record_defect", extra={"run": claim.run.id})  # its lease ends, and the sweeper counts that

    def _record(
        self, claim: Claim, lease: Lease, outcome: Outcome | SyncError, started: datetime, *, keep: bool
    ) -> tuple[Claim, bool]:
        now = self._clock.now()
        if isinstance(outcome, SyncError):
            outcome = self._options.refused(outcome)
        tried = not (isinstance(outcome, Wait) and outcome.aside)
        run = replace(claim.run, facts=without(claim.run.facts, WORKERS_LOST)) if tried else claim.run
        change = self._decide(run, outcome, started, now, keep=keep)
        going = change.status in ACTIVE and change.due_at is None and not change.hand_over
        if not going:
            lease.drop(claim)
        step = _step(claim.run, outcome, change, started, now)
        job = self._store.record(claim, step, change, now)
        measuring.outcome(self._options.tally, claim.run, step, change, now)
        if job:
            self._enqueue(job, claim.run)
        _log_outcome(claim.run, outcome, change)
        return replace(claim, run=_applied(claim.run, change)), going

    def _enqueue(self, job: str, run: Run, *, first: bool = False) -> None:
        try:
            self._queue.enqueue(job, run.id, run.lane, first=first)
        except SyncError as error:
            values = {"run": run.id, "delivery": run.delivery, "job": job, "code": error.code}
            log.warning("enqueue_failed", extra=values)  # the sweeper does it later

    def _decide(
        self, run: Run, outcome: Outcome | SyncError, started: datetime, now: datetime, *, keep: bool
    ) -> Change:
        since = run.stage_since or started
        if isinstance(outcome, SyncError):
            return self._after_error(run, outcome, since, started, now)
        base = Change(Status(run.stage.value), run.stage, {**run.facts, **outcome.facts}, run.tries, since)
        if isinstance(outcome, Wait):
            base = healed(base) if run.stage is Stage.PIPELINE and outcome.heals else base
            base = set_aside(base, now) if outcome.aside else base
            base = replace(base, due_at=now + timedelta(seconds=outcome.seconds))
            return queued(base, outcome) if outcome.queued else base
        if isinstance(outcome, Note):
            return replace(base, lasting=outcome.lasting)
        base = healed(base)
        following = next_stage(run.stage)
        pushed = run.stage is Stage.MIRROR
        if following is None:
            return replace(base, status=Status.DONE, facts={FIRST_DONE: now.isoformat(), **base.facts})
        moved = replace(base, status=Status(following.value), stage=following, tries=0, stage_since=None, pushed=pushed)
        # What was pushed must be known for good; what a pipeline or a proxy said can be asked for again.
        return replace(moved, lasting=pushed) if keep else replace(moved, hand_over=True)

    def _after_error(self, run: Run, error: SyncError, since: datetime, started: datetime, now: datetime) -> Change:
        tries = run.tries + 1
        # Counted from the first failure in a row: a pipeline may well have been awaited for longer than we retry.
        first = failing_since(run.facts, started)
        verdict = decide(
            self._options.policy_for(run), error, tries=tries, since=first, now=now,
            chance=self._clock.chance(),
        )  # fmt: skip
        facts = {**without(run.facts, "aside_since"), **error.facts, "failing_since": first.isoformat()}
        base = Change(
            Status(run.stage.value), run.stage, facts, tries, since, error=error.code, error_message=error.message
        )
        if isinstance(verdict, TryAgain):
            return replace(base, due_at=verdict.at)
        return replace(base, status=Status.REJECTED if error.kind.rejects else Status.FAILED)


def _applied(run: Run, change: Change) -> Run:
    """The run as the change leaves it, so that it need not be read again."""
    return replace(
        run, status=change.status, stage=change.stage, facts=dict(change.facts), tries=change.tries,
        stage_since=change.stage_since, error=change.error, error_message=change.error_message, due_at=change.due_at,
    )  # fmt: skip


def _step(
    run: Run, outcome: Outcome | SyncError, change: Change, started: datetime, now: datetime
) -> StepRecord | None:
    """What is kept of this try; a look that found nothing new is not worth a row."""
    if isinstance(outcome, (Wait, Note)):
        return None
    began = run.stage_since or started if isinstance(outcome, Finished) and run.stage is Stage.PIPELINE else started
    if isinstance(outcome, Finished):
        return StepRecord(run.stage, "ok", began, now, detail=outcome.detail)
    word = "retry" if change.due_at else str(change.status)
    return StepRecord(run.stage, word, began, now, outcome.code, outcome.message, change.due_at, outcome.facts)


def _log_outcome(run: Run, outcome: Outcome | SyncError, change: Change) -> None:
    if isinstance(outcome, Note):
        return
    values: dict[str, Any] = {
        "run": run.id,
        "delivery": run.delivery,
        "release": run.name,
        "stage": run.stage.value,
        "status": change.status.value,
    }
    if isinstance(outcome, SyncError):
        values |= {"code": outcome.code, "error": _brief(outcome.message), "retry_at": str(change.due_at or "")}
    log.info("stage_outcome", extra=values)


def _brief(message: str) -> str:
    """What the log has of an error: of a job's output no more than the first line; the run has all of it."""
    said = message.split("\n")
    return " ".join(said[:2]) + (" ..." if len(said) > 2 else "")
