"""Claims and outcomes: every write of a run after intake, each one transaction, each fenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, func, insert, or_, select, update

from app.adapters.database import reading, writing
from app.adapters.fences import fenced, fenced_mirror, in_order
from app.adapters.mirror_source import record_source
from app.adapters.mirror_store import SqlMirrorStore
from app.adapters.pause_store import read_pauses
from app.adapters.pipeline_slots import is_free
from app.adapters.push_audit import audit_push, audit_unanswered, note_removal
from app.adapters.release_claims import claim_release
from app.adapters.rows import end_attempt, goes_to, hold_release, next_job, plain, restart, run_of_row
from app.adapters.run_names import hold_both, move_claim
from app.adapters.tables import UtcDateTime, releases, runs, steps
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.pause import Pause
from app.domain.run import ALONE_FROM, ENDED, WORKERS_LOST, Claim, Lane, Run, Stage, Status, begins_anew, semantic_key
from app.services.stores import Change, MirrorLease, StepRecord


class SqlFlowStore(SqlMirrorStore):
    """FlowStore and MirrorStore on SQLite or PostgreSQL."""

    def claim(self, run_id: str, owner: str, now: datetime, lease_seconds: float) -> Claim | None:
        """See FlowStore: compare-and-set; the fence grows, and the job that brought us is spent."""
        with writing(self._unhurried) as connection:
            return _claim(connection, run_id, owner, now, lease_seconds)

    def claim_siblings(
        self, claim: Claim, now: datetime, lease_seconds: float, limit: int, soon: datetime | None = None
    ) -> list[Claim]:
        """See FlowStore."""
        values = {
            "of": claim.run.target.mirror, "lane": claim.run.lane, "at": now, "soon": soon or now, "but": claim.run.id,
            "most": limit, "given": now + _AGREE,
        }  # fmt: skip
        with writing(self._unhurried) as connection:
            ids = connection.execute(_SIBLINGS, values).scalars().all()
            taken = [_claim(connection, run_id, claim.owner, now, lease_seconds, soon) for run_id in ids]
        return [each for each in taken if each]

    def siblings_held(self, claim: Claim, now: datetime) -> bool:
        """See FlowStore."""
        values = {"of": claim.run.target.mirror, "lane": claim.run.lane, "at": now, "by": claim.owner}
        with reading(self._engine) as connection:
            return connection.execute(_HELD, values).first() is not None

    def take_slot(self, claim: Claim, facts: Mapping[str, Any], limit: int, now: datetime) -> bool:
        """See FlowStore."""
        with writing(self._engine) as connection:
            if not is_free(connection, claim.run, limit):
                return False
            fenced(connection, claim, {"facts": plain(facts), "updated_at": now, "error": None, "error_message": None})
        return True

    def pauses(self) -> Sequence[Pause]:
        """See FlowStore."""
        with reading(self._engine) as connection:
            return read_pauses(connection)

    def live_waits(self, mirror: str, before: datetime) -> bool:
        """See FlowStore."""
        waiting = runs.c.active & (runs.c.stage == Stage.MIRROR) & (runs.c.lane == Lane.LIVE)
        query = select(runs.c.id).where(runs.c.mirror == mirror, waiting, runs.c.due_at <= before).limit(1)
        with reading(self._engine) as connection:
            return connection.execute(query).first() is not None

    def renew(
        self, claims: Sequence[Claim], mirror: MirrorLease | None, now: datetime, lease_seconds: float,
        pushing: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> bool:  # fmt: skip
        """See FlowStore: all or nothing, so that a worker never goes on with half of what it holds."""
        until = now + timedelta(seconds=lease_seconds)
        try:
            with writing(self._engine) as connection:
                for claim in in_order(claims):
                    fenced(connection, claim, {"lease_until": until, **_noted(pushing.get(claim.run.id))})
                if mirror:
                    fenced_mirror(connection, mirror, {"lease_until": until})
                if mirror and pushing:
                    record_source(connection, mirror, now)
                for claim in claims:
                    note_removal(connection, claim, pushing.get(claim.run.id, {}), now)
        except SyncError as error:
            if error.code == "overtaken":
                return False
            raise
        return True

    def record(self, claim: Claim, step: StepRecord | None, change: Change, now: datetime) -> str | None:
        """See FlowStore."""
        with writing(self._engine if change.lasting else self._unhurried) as connection:
            if change.pushed:
                hold_release(connection, claim.run.module, claim.run.version)
            change = _unless_woken(connection, claim, change)
            fenced(connection, claim, _values(change, now))
            job = _hand_over(connection, claim.run, now) if change.hand_over else None
            if step:
                connection.execute(_ADD_STEP, _step(claim.run, step))
            if change.pushed:
                _mark_pushed(connection, claim.run, now)
                audit_push(connection, claim.run, change.facts.get("push", {}), now)
            if change.status in ENDED:
                if change.error and claim.run.stage is Stage.MIRROR:
                    audit_unanswered(connection, connection.execute(_ROW, {"on": claim.run.id}).mappings().one(), now)
                end_attempt(connection, claim.run.id, claim.run.attempt, change.status, change.error, now)
        return job

    def give_up(self, claims: Sequence[Claim], mirror: MirrorLease | None) -> None:
        """See FlowStore."""
        nobodys = {"lease_owner": None, "lease_until": None}
        with writing(self._unhurried) as connection:
            for claim in in_order(claims):
                fenced(connection, claim, nobodys, strict=False)
            if mirror:
                fenced_mirror(connection, mirror, nobodys, strict=False)

    def take_name(self, claim: Claim, module: ModulePath, version: Version, now: datetime) -> SyncError | None:
        """See FlowStore."""
        run = claim.run
        semantic = semantic_key(module.text, version.text, run.ref, run.commit)
        with writing(self._engine) as connection:
            hold_both(connection, run, module, version)
            other = _other(connection, semantic, run.id)
            if other is not None:
                _start_again(connection, claim, other, now)
                said = f"run {other['id']} brings {module}@{version} from this commit"
                return SyncError("duplicate_release", said)
            refusal = move_claim(connection, run, module, version, now)
            if refusal is None:
                name = {"module": module.text, "version": version.text}
                fenced(connection, claim, {**name, "semantic": semantic})
        return refusal

    def take_version(
        self, claim: Claim, version: Version, commit: str, now: datetime, h1: str | None = None
    ) -> SyncError | None:
        """See FlowStore."""
        run, text = claim.run, version.text
        semantic = semantic_key(run.module, text, run.ref, commit)
        with writing(self._engine) as connection:
            hold_release(connection, run.module, text)
            other = _other(connection, semantic, run.id)
            if other is not None:
                _start_again(connection, claim, other, now)
                said = f"run {other['id']} brings {run.module}@{version} from this commit"
                return SyncError("duplicate_release", said)
            refusal = claim_release(connection, run.module, text, run.id, commit, now, h1)
            if refusal is None:
                fenced(connection, claim, {"version": text, "commit": commit, "semantic": semantic})
        return refusal


# Made once, before workers fork: to make a statement takes longer than to run it.
_AT: ColumnElement[Any] = bindparam("at", type_=UtcDateTime())
_SOON: ColumnElement[Any] = bindparam("soon", type_=UtcDateTime())
_AGREE = timedelta(seconds=2)  # by so much hosts' clocks may differ (docs/decisions/0002)
# Whoever gave a job read on its own clock that the run was due. Without one a wait is kept to the end.
_GIVEN = (runs.c.due_at <= bindparam("given", type_=UtcDateTime())) & runs.c.job_at.is_not(None)
_DUE = or_(runs.c.due_at <= _AT, (runs.c.due_at <= _SOON) & runs.c.error.is_(None), _GIVEN)
_FREE = runs.c.active & _DUE & or_(runs.c.lease_until.is_(None), runs.c.lease_until < _AT)
_OF_MIRROR = (
    (runs.c.mirror == bindparam("of")) & (runs.c.stage == Stage.MIRROR) & runs.c.version.is_not(None)
    & (runs.c.lane == bindparam("lane"))
)  # fmt: skip
_CLAIM = (
    update(runs)
    .where(runs.c.id == bindparam("on"), _FREE)
    .values(
        fence=runs.c.fence + 1, lease_owner=bindparam("owner"), lease_until=bindparam("until"), job_at=None,
        status=runs.c.stage,
    )
    .returning(runs)
)  # fmt: skip
# A dead worker's run comes back by the sweeper, which counts that when it gives it a job.
_SEEN = runs.c.lease_until.is_(None) | runs.c.job_at.is_not(None)
_SHARES = _SEEN & (func.coalesce(runs.c.facts[WORKERS_LOST].as_integer(), 0) < ALONE_FROM)
_SIBLINGS = (
    select(runs.c.id)
    .where(_OF_MIRROR, _FREE, _SHARES, runs.c.id != bindparam("but"))
    .order_by(runs.c.created_at, runs.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # whoever holds one of them may want another: never wait for it
)  # fmt: skip
_HELD = (
    select(runs.c.id)
    .where(_OF_MIRROR, runs.c.active, runs.c.lease_until >= _AT, runs.c.lease_owner != bindparam("by"))
    .limit(1)
)  # fmt: skip
_ADD_STEP = insert(steps)
_GIVE_JOB = update(runs).where(runs.c.id == bindparam("on"))
_ROW = select(runs).where(runs.c.id == bindparam("on"))
_WOKEN = select(runs.c.job_at).where(runs.c.id == bindparam("on")).with_for_update()
_PUSHED = (
    update(releases)
    .where(
        releases.c.module == bindparam("of"), releases.c.version == bindparam("in"), releases.c.commit == bindparam("on"),
        releases.c.pushed_at.is_(None),
    )
)  # fmt: skip


def _claim(
    connection: Connection, run_id: str, owner: str, now: datetime, lease_seconds: float, soon: datetime | None = None
) -> Claim | None:
    until = now + timedelta(seconds=lease_seconds)
    values = {"on": run_id, "at": now, "soon": soon or now, "given": now + _AGREE, "owner": owner, "until": until}
    row = connection.execute(_CLAIM, values).mappings().one_or_none()
    if row is None:
        return None
    run = run_of_row(row)
    return Claim(run, owner, run.fence)


def _noted(pushing: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if pushing is None or "removes" in pushing else {"pushing": pushing or None}


def _other(connection: Connection, semantic: str, run_id: str) -> RowMapping | None:
    query = select(runs).where(runs.c.semantic == semantic, runs.c.id != run_id).with_for_update()
    return connection.execute(query).mappings().one_or_none()


def _start_again(connection: Connection, claim: Claim, other: RowMapping, now: datetime) -> None:
    """A release that failed, or was rejected for what may have changed, is tried again, as when its delivery comes again.

    The claim's own row comes last of all that is held here: who works on the other run holds the release before.
    """
    fenced(connection, claim, {"updated_at": now})
    run = claim.run
    if not begins_anew(Status(other["status"]), other["error"]) or not other["commit"]:
        return
    if claim_release(connection, other["module"], other["version"], other["id"], other["commit"], now):
        return
    reason, actor = f"run {run.id} reported the same release", f"source:{run.source}"
    stage = Stage(other["stage"])
    if stage is Stage.MIRROR:  # as in intake: the newest decision is the one that counts
        goes = goes_to(other, run.target, run.event)
        connection.execute(update(runs).where(runs.c.id == other["id"]).values(goes))
    restart(connection, other, kind="redelivery", stage=stage, actor=actor, reason=reason, now=now)
    # No job was enqueued for it: the sweeper sees that at once.
    connection.execute(update(runs).where(runs.c.id == other["id"]).values(job_at=None))


def _unless_woken(connection: Connection, claim: Claim, change: Change) -> Change:
    """A wait for a pipeline whose event came while it was looked at is over: the attempt's next job looks again.

    A claim takes `job_at` away, so one that is there now is the mark of SqlWakeStore.wake.
    """
    if change.due_at is None or change.error or claim.run.stage is not Stage.PIPELINE:
        return change
    if connection.execute(_WOKEN, {"on": claim.run.id}).scalar_one_or_none() is None:
        return change
    return replace(change, due_at=None, hand_over=True)


def _hand_over(connection: Connection, run: Run, now: datetime) -> str:
    job = next_job(connection, run.id, run.attempt)
    connection.execute(_GIVE_JOB, {"on": run.id, "job": job, "job_at": now})
    return job


def _values(change: Change, now: datetime) -> dict[str, Any]:
    ended = change.status in ENDED
    values: dict[str, Any] = {
        "status": change.status, "stage": change.stage, "facts": plain(change.facts), "tries": change.tries,
        "stage_since": change.stage_since, "error": change.error, "error_message": change.error_message,
        "updated_at": now, "active": not ended,
    }  # fmt: skip
    if change.pushed:
        values |= {"pushed_at": now, "pushing": None}
    if ended or change.due_at or change.hand_over:
        values |= {"lease_owner": None, "lease_until": None, "job_at": None}
        values["due_at"] = None if ended else change.due_at or now
    if ended:
        values["ended_at"] = now
    return values


def _step(run: Run, step: StepRecord) -> dict[str, Any]:
    values = {name: getattr(step, name) for name in StepRecord.__dataclass_fields__}
    return values | {"run_id": run.id, "attempt": run.attempt, "detail": plain(step.detail)}


def _mark_pushed(connection: Connection, run: Run, now: datetime) -> None:
    values = {"of": run.module, "in": run.version, "on": run.commit, "pushed_at": now}
    connection.execute(_PUSHED, values)
