"""A release whose event names no commit: the worker takes what the version's tag peels to at the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.domain.errors import SyncError
from app.domain.modules import tag_name
from app.domain.refs import TagAt
from app.domain.run import Claim, Run
from app.services.lease import Lease
from app.services.ports import Clock
from app.services.stages.mirror import MirrorStage
from app.services.stores import FlowStore

Refused = dict[str, tuple[Claim, SyncError]]


class TagResolver:
    """Gives runs of one repository their commits, with one look at the source for all of them."""

    def __init__(self, store: FlowStore, stage: MirrorStage, clock: Clock) -> None:
        self._store, self._stage, self._clock = store, stage, clock

    def resolve(self, claims: Sequence[Claim], lease: Lease) -> tuple[list[Claim], Refused]:
        """The claims with their commits, and by run id those that cannot go on, with why.

        Errors per run: tag_missing, tag_not_a_commit, version_moved, duplicate_release, and a registry's. SyncError is
        raised for what concerns all of them (source unreachable).
        """
        wanted = {_tag(each.run) for each in claims if not each.run.commit}
        if not wanted:
            return list(claims), {}
        found = self._stage.tags_at(claims[0].run.target.clone_url, sorted(wanted), lease.check)
        known: list[Claim] = []
        refused: Refused = {}
        for claim in claims:
            try:
                known.append(claim if claim.run.commit else self._taken(claim, found))
            except SyncError as error:
                if error.code in ("overtaken", "store_unavailable"):
                    raise
                refused[claim.run.id] = (claim, error)
        return known, refused

    def _taken(self, claim: Claim, found: Mapping[str, TagAt | SyncError]) -> Claim:
        run, tag = claim.run, _tag(claim.run)
        at = found.get(tag)
        if isinstance(at, SyncError):
            raise at
        if at is None:
            raise SyncError("tag_missing", f"the source has no tag {tag}, and the event named no commit")
        if at.commit is None:
            raise SyncError("tag_not_a_commit", f"tag {tag} names {at.object}, which is not a commit")
        refusal = self._store.take_version(claim, run.released, at.commit, self._clock.now(), at.h1)
        if refusal:
            raise refusal
        return replace(claim, run=replace(run, commit=at.commit))


def _tag(run: Run) -> str:
    return tag_name(run.target.subdir, run.released)
