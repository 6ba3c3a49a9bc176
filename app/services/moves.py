"""accept-move: the one deliberate way to give a released version other content.

It only records the decision and begins a run; that run waits for the mirror's lease like every other, removes the old
tag and pushes the new one. So a crash at any point leaves a run that goes on, and never half a decision.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.run import Run, semantic_key
from app.services.explain import parse_release
from app.services.planning import Placed
from app.services.ports import Clock, JobQueue
from app.services.stores import PlannedRun, Receipt

log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """Who lets `module`@`version` move to `commit` (full hex), and why."""

    module: ModulePath
    version: Version
    commit: str
    actor: str
    reason: str

    @classmethod
    def parse(cls, module: str, version: str, commit: str, actor: str, reason: str) -> MoveOrder:
        """From what a person gave. Error: bad_request with its field."""
        path, parsed = parse_release(module, version)
        if parsed is None:
            raise SyncError("bad_request", "version: say which version moves", field="version")
        if not _COMMIT.fullmatch(commit):
            raise SyncError("bad_request", "commit: give the full commit in lower-case hex", field="commit")
        if not reason.strip() or len(reason) > _LONGEST_REASON:
            said = f"reason: say why, in at most {_LONGEST_REASON} characters; it is kept"
            raise SyncError("bad_request", said, field="reason")
        return cls(path, parsed, commit, actor, reason)

    @property
    def name(self) -> str:
        """`module@version`."""
        return f"{self.module}@{self.version}"


class MoveStore(Protocol):
    """Decisions about released versions."""

    def holder(self, module: ModulePath, version: Version) -> Run | None:
        """The run that holds the version; of an adopted one, which none holds, the newest that wanted it. None: no run did."""
        ...

    def asking(self, order: MoveOrder) -> Run | None:
        """The newest run of the new commit, which was rejected; None: no run ever asked for it."""
        ...

    def accept(self, order: MoveOrder, plan: PlannedRun, now: datetime) -> Receipt:
        """Record old and new and begin the run that brings the new commit, in one transaction.

        The run that held the version loses it: in flight it ends `superseded`, and its worker is fenced off. `plan` is
        used when no run of this commit is known yet. Errors: not_found, bad_request (field commit: it is there
        already), still_running (the new commit's run is in flight).
        """
        ...


class AcceptMove:
    """Checks an order and carries it out."""

    def __init__(
        self, store: MoveStore, queue: JobQueue, clock: Clock, place: Callable[[Run], Placed], new_id: Callable[[str], str]
    ) -> None:  # fmt: skip
        self._store, self._queue, self._clock, self._place, self._new_id = store, queue, clock, place, new_id

    def accept(self, order: MoveOrder) -> Receipt:
        """Begin the move.

        Errors: bad_request (field commit: it is there already), not_found, still_running, no_rule and clone_url_refused
        (today's rules).
        """
        holder = self._store.holder(order.module, order.version)
        if holder is None:
            raise SyncError(
                "not_found", f"no release {order.name} is known, or no run ever wanted it: nothing can move"
            )
        # Whoever asked for the new commit knows best where the repository is now.
        plan = self._plan(order, self._store.asking(order) or holder)
        receipt = self._store.accept(order, plan, self._clock.now())
        told = {"release": order.name, "old": holder.commit, "new": order.commit, "actor": order.actor}
        log.warning("move_accepted", extra={**told, "reason": order.reason, "run": receipt.run_id})
        self._enqueue(receipt)
        return receipt

    def _plan(self, order: MoveOrder, like: Run) -> PlannedRun:
        """Where today's rules put the release, as reported by the same source."""
        target = self._place(replace(like, commit=order.commit)).target
        key = semantic_key(order.module.text, order.version.text, like.ref, order.commit)
        return PlannedRun(
            id=self._new_id("r"), source=like.source, module=order.module.text, version=order.version.text, ref=like.ref,
            commit=order.commit, semantic=key, event={**like.event, "commit": order.commit}, target=target,
            actor=order.actor,
        )  # fmt: skip

    def _enqueue(self, receipt: Receipt) -> None:
        try:
            self._queue.enqueue(receipt.job or "", receipt.run_id)
        except SyncError as error:
            log.warning("enqueue_failed", extra={"run": receipt.run_id, "code": error.code})  # the sweeper does it
