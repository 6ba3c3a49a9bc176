"""A mirror's turn: its database lease, the runs that wait for it, one mirror stage for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.errors import SyncError
from app.domain.modules import Version
from app.domain.modzip import hash_go_mod
from app.domain.pause import covering
from app.domain.run import ALONE_FROM, WORKERS_LOST, Claim, Lane, Run, name_without_go_mod
from app.services.lease import Lease
from app.services.mirror_source import NamedByRule, by_payload, check_source, lease_for
from app.services.ports import MirrorProject, WaitingClock
from app.services.stages import BUSY_SECONDS, Finished, Outcome, Wait
from app.services.stages.mirror import Mirrored, MirrorRequest, MirrorResult, MirrorStage, Release
from app.services.stores import FlowStore, MirrorLease, MirrorStore
from app.services.tags import Refused, TagResolver


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """`batch` bounds how many waiting releases share a fetch and a push; `busy_seconds` is the wait for a taken mirror.

    Of many runs that came at once another worker has just taken one, too: it is waited for, `looks` times `look_seconds`.
    """

    branch: str = "ci-sync"
    lease_seconds: float = 10.0
    batch: int = 50
    busy_seconds: float = BUSY_SECONDS
    looks: int = 10
    look_seconds: float = 0.02


class MirrorTurn:
    """Takes the turn, runs the stage, gives the turn back."""

    def __init__(
        self, store: FlowStore, mirrors: MirrorStore, stage: MirrorStage, clock: WaitingClock, options: TurnOptions,
        named_by_rule: NamedByRule = by_payload,
    ) -> None:  # fmt: skip
        self._named_by_rule = named_by_rule
        self._store, self._mirrors, self._stage, self._clock, self._options = store, mirrors, stage, clock, options
        self._tags = TagResolver(store, stage, clock)

    def check(self, run: Run) -> None:
        """For who is to ask the source before the mirror's turn. Error: mirror_of_another."""
        check_source(self._mirrors.source_of(run.target.mirror), run, self._named_by_rule)

    def run(self, claim: Claim, lease: Lease) -> Mapping[str, tuple[Claim, Outcome | SyncError]]:
        """An outcome for the claimed run and for each sibling that was waiting; Wait when the mirror is taken.

        Only the claimed run's where the mirror is another repository's: mirror_of_another.
        """
        path = claim.run.target.mirror
        turn = self._taken(claim)
        if turn is None:
            return {claim.run.id: (claim, Wait(self._options.busy_seconds, note=f"mirror {path} is taken", aside=True))}
        try:
            turn = lease_for(turn, claim.run, self._named_by_rule)
        except SyncError as error:
            self._untouched(turn)
            return {claim.run.id: (claim, error)}
        return self._used(turn, claim, lease)

    def _used(self, turn: MirrorLease, claim: Claim, lease: Lease) -> Mapping[str, tuple[Claim, Outcome | SyncError]]:
        lease.add([], turn)
        result: MirrorResult | None = None
        claims, refused, siblings = [claim], Refused(), list[Claim]()
        done: dict[str, tuple[Claim, Outcome | SyncError]]
        try:
            siblings.extend(self._siblings(claim, lease))
            claims = [claim, *self._fitting(claim, siblings)]
            claims.sort(key=_order)
            claims, refused = self._tags.resolve(claims, lease)
            done = {**refused}
            if claims:
                result = self._stage.run(self._request(turn, claims), lease.check, lease.fence)
                done |= {each.run.id: (each, self._named(each, _outcome(result, each))) for each in claims}
            return done | _put_back(siblings, done)
        except SyncError as error:
            if error.code in ("overtaken", "store_unavailable"):
                raise
            again = Wait.instead_of(error) or error
            done = {**refused, **{each.run.id: (each, again) for each in claims}}
            return done | _put_back(siblings, done)
        finally:
            lease.drop_mirror()
            self._give_back(turn, result)

    def _siblings(self, claim: Claim, lease: Lease) -> Iterator[Claim]:
        """All that wait for the mirror; where there are some, also the one that another worker is about to give back."""
        if claim.run.facts.get(WORKERS_LOST, 0) >= ALONE_FROM:
            return
        left, soon = self._options.batch - 1, timedelta(seconds=self._options.busy_seconds)
        for _ in range(self._options.looks):
            now = self._clock.now()
            found = self._store.claim_siblings(claim, now, self._options.lease_seconds, left, now + soon)
            lease.add(found)
            yield from found
            left -= len(found)
            alone = left == self._options.batch - 1
            if alone or left <= 0 or not self._store.siblings_held(claim, now):
                return
            self._clock.wait(self._options.look_seconds)

    def _taken(self, claim: Claim) -> MirrorLease | None:
        """The mirror's lease; a backfill lets live releases go first, else its next batch could be faster each time."""
        path, now = claim.run.target.mirror, self._clock.now()
        soon = now + timedelta(seconds=2 * self._options.busy_seconds)
        if claim.run.lane == Lane.BACKFILL and self._store.live_waits(path, soon):
            return None
        return self._mirrors.lease_mirror(path, claim.owner, now, self._options.lease_seconds)

    def _fitting(self, claim: Claim, siblings: Sequence[Claim]) -> list[Claim]:
        pauses = self._store.pauses() if siblings else ()
        return [each for each in siblings if _same_repository(each, claim) and covering(pauses, each.run) is None]

    def _request(self, turn: MirrorLease, claims: list[Claim]) -> MirrorRequest:
        project = None
        if turn.project_id is not None and turn.clone_url and turn.web_url:
            project = MirrorProject(turn.project_id, turn.path, turn.clone_url, turn.web_url)
        releases = tuple(_release(each) for each in claims)
        clone_url = claims[0].run.target.clone_url
        return MirrorRequest(
            clone_url, turn.path, self._options.branch, releases, project, turn.branch_at,
            keep_branch=claims[0].run.lane == Lane.BACKFILL,
        )  # fmt: skip

    def _named(self, claim: Claim, outcome: Outcome | SyncError) -> Outcome | SyncError:
        """A release that has another name for Go than intake could know goes on under that one."""
        if not isinstance(outcome, SyncError) or outcome.code != "go_mod_missing":
            return outcome
        name = name_without_go_mod(claim.run)
        if name is None:
            return outcome
        refusal = self._store.take_name(claim, *name, self._clock.now())
        return refusal or Wait(0, note=f"without a go.mod Go calls it {name[0]}@{name[1]}")

    def _untouched(self, turn: MirrorLease) -> None:
        """Give it back as it was."""
        self._mirrors.release_mirror(turn, self._clock.now(), project=None, branch_at=turn.branch_at)

    def _give_back(self, turn: MirrorLease, result: MirrorResult | None) -> None:
        project = result.project if result else None
        if result is None or not any(isinstance(each, Mirrored) for each in result.outcomes.values()):
            turn = replace(turn, becomes=None)  # who brought nothing decides nothing
        known = (project.id, project.clone_url, project.web_url) if project else None
        # After an error nothing is remembered of the branch: the next turn looks.
        self._mirrors.release_mirror(
            turn, self._clock.now(), project=known, branch_at=result.branch_at if result else None
        )  # fmt: skip


def _put_back(siblings: list[Claim], done: Mapping[str, object]) -> dict[str, tuple[Claim, Outcome | SyncError]]:
    """Runs that are paused, or of another repository with the same mirror (their own turn says so): they must not hang."""
    return {
        each.run.id: (each, Wait(1.0, note="not in this turn", aside=True))
        for each in siblings
        if each.run.id not in done
    }


def _order(claim: Claim) -> tuple[datetime, Version]:
    return claim.run.created_at, Version.parse(claim.run.version or "v0.0.0")


def _same_repository(one: Claim, other: Claim) -> bool:
    return one.run.target.clone_url == other.run.target.clone_url


def _release(claim: Claim) -> Release:
    run = claim.run
    return Release(
        run_id=run.id, module=run.path, version=run.released, commit=run.commit,
        subdir=run.target.subdir, make_tag=run.target.tags == "make",
        replaces=tuple(commit for commit, _ in run.replaces), source=run.source, delivery=run.delivery,
        pushed=run.pushed_at is not None, known=_known(run), pushing=run.pushing or {},
    )  # fmt: skip


def _known(run: Run) -> dict[str, str]:
    """The h1 values that earlier attempts, and runs that held the version before, found out."""
    return {commit: h1 for commit, h1 in ((run.commit, run.known_h1), *run.replaces) if h1}


def _outcome(result: MirrorResult, claim: Claim) -> Finished | Wait | SyncError:
    each = result.outcomes[claim.run.id]
    if isinstance(each, SyncError):
        return Wait.instead_of(each) or each
    return Finished(_facts(result, each), detail=_detail(result, each))


def _facts(result: MirrorResult, each: Mirrored) -> dict[str, Any]:
    project = result.project
    return {
        "project": {"id": project.id, "path": project.path, "url": project.web_url} if project else {},
        "push": {"tag": each.tag, "object": each.object, "commit": each.commit, "new": each.new, **_branch(each)},
        "proof": {
            "directory": each.directory,
            "go_mod_sha256": each.go_mod_sha256,
            "h1": each.h1,
            "h1_go_mod": hash_go_mod(each.go_mod),
        },
        **({"signature": asdict(each.signature)} if each.signature else {}),
        "warnings": [asdict(told) for told in each.warnings],
    }


def _detail(result: MirrorResult, each: Mirrored) -> dict[str, Any]:
    return {
        "tag": each.tag, "commit": each.commit, "new": each.new, "branch_at": result.branch_at, "h1": each.h1,
    }  # fmt: skip


def _branch(each: Mirrored) -> dict[str, Any]:
    return {"branch": dict(each.branch)} if each.branch else {}
