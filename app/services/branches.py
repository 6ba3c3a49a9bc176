"""A release that names a branch: find the version tags that peel to its commit at the source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version, check_path_major
from app.domain.run import Claim, Run, semantic_key
from app.services.lease import Lease
from app.services.ports import Clock, JobQueue
from app.services.stages.mirror import MirrorStage
from app.services.stores import FlowStore, IntakeStore, PlannedRun, Receipt

log = logging.getLogger(__name__)


class BranchResolver:
    """Gives a branch's run its version; further versions of the same commit become runs of their own.

    `wants_prereleases`: whether a source's policy does.
    """

    def __init__(
        self, store: FlowStore, intake: IntakeStore, queue: JobQueue, stage: MirrorStage, clock: Clock,
        make_run_id: Callable[[], str], wants_prereleases: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._store, self._intake, self._queue, self._wants_prereleases = store, intake, queue, wants_prereleases
        self._stage, self._clock, self._make_run_id = stage, clock, make_run_id

    def resolve(self, claim: Claim, lease: Lease) -> Claim:
        """The claim with its version; unchanged when it has one. Errors: no_version, version_moved, duplicate_release."""
        run = claim.run
        if run.version is not None:
            return claim
        versions = self._versions(run, lease)
        # The highest one is this run's; the others go first into the books, or a crash here would lose them.
        *others, own = versions
        self._add(claim, others)
        refusal = self._store.take_version(claim, own, run.commit, self._clock.now())
        if refusal:
            raise refusal
        return replace(claim, run=replace(run, version=own.text))

    def _versions(self, run: Run, lease: Lease) -> list[Version]:
        found = self._stage.versions_at(run.target.clone_url, run.commit, run.target.subdir, lease.check)
        wanted = self._wants_prereleases(run.source)
        fitting = [version for version in found if _fits(version, run.path) and (wanted or not version.prerelease)]
        if not fitting:
            raise SyncError(
                "no_version", f"no version tag of {run.module} peels to {run.commit} ({run.ref}) at the source"
            )
        return fitting

    def _add(self, claim: Claim, versions: Sequence[Version]) -> None:
        if not versions:
            return
        planned = [self._planned(claim.run, version) for version in versions]
        for receipt in self._intake.add(claim, planned, self._clock.now()):
            if receipt.job:
                self._enqueue(receipt)

    def _enqueue(self, receipt: Receipt) -> None:
        try:
            self._queue.enqueue(receipt.job or "", receipt.run_id, receipt.lane)
        except SyncError as error:
            log.warning("enqueue_failed", extra={"run": receipt.run_id, "code": error.code})  # the sweeper does it

    def _planned(self, run: Run, version: Version) -> PlannedRun:
        key = semantic_key(run.module, version.text, run.ref, run.commit)
        return PlannedRun(
            id=self._make_run_id(), source=run.source, module=run.module, version=version.text, ref=run.ref,
            commit=run.commit, semantic=key, event=run.event, target=run.target, lane=run.lane,
        )  # fmt: skip


def _fits(version: Version, path: ModulePath) -> bool:
    try:
        check_path_major(version, path)
    except RuleBroken:
        return False
    return True
