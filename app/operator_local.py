"""What an operator asks and does, with the service's own parts: for the API, and for the command line on the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from app.adapters.board_store import SqlBoardStore
from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.ops_store import SqlReplayStore
from app.adapters.pause_store import SqlPauseStore
from app.adapters.reconciled_reads import SqlReconciledReads
from app.bootstrap import Container
from app.config_models import Source
from app.domain.audit import Entry
from app.domain.errors import SyncError
from app.domain.pause import PauseKind
from app.domain.run import Stage
from app.mirror_care import mirror_care
from app.pause_reach import pause_reach
from app.services.board import FailedAlike, FailureCount, MirrorRow, ModuleRow, Now
from app.services.bulk import Done, ReplayPlan, plan, replay_all
from app.services.deliveries import DeliveryFilter
from app.services.delivery_views import DeliveryDetail, DeliverySummary, SecretUse
from app.services.drift import MirrorCheck
from app.services.explain import Explanation
from app.services.intake import Answer
from app.services.mirror_source import SourceMoved
from app.services.moves import MoveOrder
from app.services.operator import (
    Begun,
    Cancelled,
    Filters,
    Pauses,
    PauseView,
    Redelivered,
    RedeliveredRun,
    Replayed,
    SecretRow,
)
from app.services.pausing import Pausing
from app.services.reconciled import RepositoryRow
from app.services.rehearsal import Rehearsal, Sample
from app.services.run_filter import RunFilter, check_limit, parse_time
from app.services.stores import Receipt, ReplayOrder
from app.services.views import ErrorView, Page, RunDetail, RunSummary
from app.source_tests import completed, tested
from app.standing import Standing


class LocalAsking:
    """See app.services.operator.Asking."""

    def __init__(self, container: Container, actor: str, standing: Standing | None = None) -> None:
        """`standing`: the process's own, where it answers many."""
        self._parts, self._actor = container, actor
        self._standing = standing

    def clock(self) -> datetime:
        """See Asking."""
        return self._parts.clock.now()

    def now(self, limit: int) -> Now:
        """See Asking."""
        return (self._standing or Standing(self._parts)).now(check_limit(limit))

    def runs(self, wanted: Filters, cursor: str | None, limit: int) -> Page[RunSummary]:
        """See Asking."""
        return self._parts.queries.runs(RunFilter.parse(wanted, self.clock()), cursor, limit)

    def run(self, identifier: str) -> RunDetail:
        """See Asking."""
        return self._parts.queries.run(identifier)

    def explain(self, module: str, version: str | None) -> Explanation:
        """See Asking."""
        return self._parts.queries.explain(module, version)

    def modules(self, text: str, after: str | None, limit: int) -> Page[ModuleRow]:
        """See Asking."""
        return self._board().modules(text, after, check_limit(limit))

    def mirrors(self, text: str, after: str | None, limit: int) -> Page[MirrorRow]:
        """See Asking."""
        return self._board().mirrors(text, after, check_limit(limit))

    def reconciled(self, mirror: str, after: str | None, limit: int, *, people: bool) -> Page[RepositoryRow]:
        """See Asking."""
        reads = SqlReconciledReads(self._parts.engine)
        if not mirror:
            return reads.repositories(after, check_limit(limit), people=people)
        row = reads.repository(mirror)
        if row is None:
            raise SyncError("not_found", f"reconcile knows no mirror {mirror[:200]!r}")
        return Page((row,) if row.needs_a_person or not people else (), None)

    def failures(self, since: str) -> tuple[FailureCount, ...]:
        """See Asking."""
        return tuple(self._board().failures(self._moment(since)))

    def deliveries(self, wanted: Filters, cursor: str | None, limit: int) -> Page[DeliverySummary]:
        """See Asking."""
        return self._parts.deliveries.list(DeliveryFilter.parse(wanted, self.clock()), cursor, limit)

    def delivery(self, identifier: str) -> DeliveryDetail:
        """See Asking."""
        return self._parts.deliveries.detail(identifier)

    def sources(self) -> tuple[SecretRow, ...]:
        """See Asking."""
        known = {(use.source, use.secret): use for use in SqlDeliveryStore(self._parts.engine).secret_uses()}
        rows = [row for source in self._parts.settings.sources for row in self._secrets(source, known)]
        return (*rows, *(SecretRow.of("", "", use) for use in known.values()))

    def pauses(self) -> Pauses:
        """See Asking."""
        store = SqlPauseStore(self._parts.engine)
        shown = (PauseView(each.kind, each.value, each.actor, each.reason, each.created_at) for each in store.pauses())
        return Pauses(tuple(shown), store.count_parked())

    def audit(self, after: int) -> Iterator[Entry]:
        """See Asking."""
        return self._parts.audit.entries(after)

    def _board(self) -> SqlBoardStore:
        return SqlBoardStore(self._parts.engine, self._parts.clock)

    def _moment(self, since: str) -> datetime:
        found = parse_time("since", since.strip() or None, self.clock())
        if found is None:
            raise SyncError("bad_request", "since: give a time or an age like 24h", field="since")
        return found

    def _secrets(self, source: Source, known: dict[tuple[str, str], SecretUse]) -> Iterator[SecretRow]:
        url = f"{self._parts.settings.web.base_url}/webhooks/{source.name}"
        for secret in source.secrets:
            unused = SecretUse(source.name, secret.id, 0, None)
            yield SecretRow.of(source.scheme, url, known.pop((source.name, secret.id), unused))


class LocalOperator(LocalAsking):
    """See app.services.operator.Operator; `actor` is who is recorded."""

    def replay(self, identifier: str, stage: Stage | None, reason: str, force: bool) -> Begun:
        """See Doing."""
        return _begun(self._parts.replay.replay(identifier, ReplayOrder(self._actor, reason, stage, force)))

    def plan_replays(self, code: str, since: str, after: str | None, limit: int) -> ReplayPlan:
        """See Doing."""
        most, alike = check_limit(limit), FailedAlike(code, self._moment(since), self.clock())
        return plan(self._board(), self._parts.replay, alike, after=after, limit=most)

    def replay_many(self, runs: Sequence[str], reason: str) -> tuple[Replayed, ...]:
        """See Doing."""
        return tuple(_replayed(each) for each in replay_all(self._parts.replay, runs, ReplayOrder(self._actor, reason)))

    def cancel(self, identifier: str, reason: str = "") -> Cancelled:
        """See Doing."""
        run = self._parts.replay.find(identifier)
        SqlReplayStore(self._parts.engine).cancel(run.id, self._actor, self.clock(), reason)
        return Cancelled(run.id, run.name)

    def accept_move(self, module: str, version: str, commit: str, reason: str) -> Begun:
        """See Doing."""
        return _begun(self._parts.moves.accept(MoveOrder.parse(module, version, commit, self._actor, reason)))

    def redeliver(self, identifier: str, reason: str = "") -> Redelivered:
        """See Doing."""
        return redelivered(self._parts.deliveries.redeliver(identifier, self._actor, reason))

    def pause(self, kind: PauseKind, value: str, reason: str) -> bool:
        """See Doing."""
        return self._pausing().pause(kind, value, self._actor, reason)

    def resume(self, kind: PauseKind, value: str, reason: str = "") -> int:
        """See Doing."""
        return self._pausing().resume(kind, value, self._actor, reason)

    def check_mirror(self, path: str) -> MirrorCheck:
        """See Doing."""
        return mirror_care(self._parts).check(path)

    def mend_mirror(self, path: str, reason: str) -> MirrorCheck:
        """See Doing."""
        return mirror_care(self._parts).mend(path, self._actor, reason)

    def move_source(self, mirror: str, to: str, reason: str) -> SourceMoved:
        """See Doing."""
        return self._parts.mirror_sources.move(mirror, to, self._actor, reason)

    def test_source(self, source: str, sample: Sample, reason: str = "") -> Rehearsal:
        """See Doing."""
        return tested(self._parts, self._actor, source, completed(self._parts, source, sample), reason)

    def _pausing(self) -> Pausing:
        return Pausing(SqlPauseStore(self._parts.engine), self._parts.clock, pause_reach(self._parts.settings))


def redelivered(answer: Answer) -> Redelivered:
    """What became of a delivery, for people."""
    runs = tuple(RedeliveredRun(each.run_id, each.status, each.job) for each in answer.receipts)
    return Redelivered(answer.delivery, runs, answer.ignored, answer.message)


def _begun(receipt: Receipt) -> Begun:
    return Begun(receipt.run_id, receipt.status, receipt.job)


def _replayed(done: Done) -> Replayed:
    error = ErrorView.of(done.error.code, done.error.message) if done.error else None
    return Replayed(done.run_id, done.receipt.job if done.receipt else None, error)
