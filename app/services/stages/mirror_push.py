"""The mirror stage's push: one atomic push with explicit leases; a refused lease is observed and planned again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.domain.errors import SyncError
from app.domain.moved import Content, version_moved
from app.domain.refs import PushPlan, TagAt, Wanted, plan_push
from app.services.ports import Checkpoint, Git, GitLab, MirrorProject, SourceCopy
from app.services.stages.mirror_values import Mirrored, PushFence, Release

log = logging.getLogger(__name__)
# How often a refused lease is observed and planned again before the run waits its turn.
PLANS = 3
PUSH_OPTIONS = ("ci.skip",)


class Push:
    """Push prepared releases, at most PLANS times with fresh eyes; `h1_at` knows the h1 of a release at another commit.

    Before anything is sent the fence notes for each run what is sent: whose push had no answer is known by that.
    """

    def __init__(
        self, git: Git, gitlab: GitLab, cache: SourceCopy, project: MirrorProject, branch: str,
        checkpoint: Checkpoint, fence: PushFence, h1_at: Callable[[Release, str], str | None], *,
        keep_branch: bool = False,
    ) -> None:  # fmt: skip
        self._keep_branch = keep_branch
        self._git, self._gitlab, self._cache, self._branch = git, gitlab, cache, branch
        self._checkpoint, self._fence, self._h1_at = checkpoint, fence, h1_at
        self.project = project
        self._noted: dict[str, dict[str, Any]] = {}

    def run(
        self, ready: Mapping[str, Mirrored], branch_at: str | None
    ) -> tuple[dict[str, Mirrored | SyncError], str | None]:
        """An outcome for each, and where the branch was left."""
        try:
            return self._planned(ready, branch_at)
        except SyncError as error:
            # Whoever is overtaken has nothing more to say, of any of them.
            if error.retryable or len(ready) == 1 or error.code in ("overtaken", "project_missing"):
                raise
        # One bad ref refuses a whole atomic push: let each release find out alone, so that only the bad one fails.
        return self._one_by_one(ready)

    def _one_by_one(self, ready: Mapping[str, Mirrored]) -> tuple[dict[str, Mirrored | SyncError], str | None]:
        outcomes: dict[str, Mirrored | SyncError] = {}
        branch_at: str | None = None
        for key, each in ready.items():
            try:
                done, branch_at = self._planned({key: each}, branch_at)
                outcomes.update(done)
            except SyncError as error:
                if error.code in ("overtaken", "store_unavailable"):
                    raise
                outcomes[key], branch_at = error, None
        return outcomes, branch_at

    def _planned(
        self, ready: Mapping[str, Mirrored], branch_at: str | None
    ) -> tuple[dict[str, Mirrored | SyncError], str | None]:
        wanted = [Wanted(each.tag, each.object, each.commit) for each in ready.values()]
        self._noted = {key: dict(each.release.pushing) for key, each in ready.items()}
        tags_at: Mapping[str, TagAt] = {}
        if branch_at is None or any(_may_be_there(each.release) for each in ready.values()):
            branch_at, tags_at = self._observe(wanted)
            tags_at = self._with_room(ready, tags_at)
        said = ""
        for _ in range(PLANS):
            head = branch_at if self._keep_branch else None
            plan = plan_push(self._branch, branch_at, tags_at, wanted, head=head)
            if not plan.updates:
                return self._outcomes(ready, plan), branch_at
            try:
                changed = self._sent(ready, plan)
            except SyncError as error:
                if error.code != "mirror_moved":
                    raise
                said = error.message
                branch_at, tags_at = self._observe(wanted)
                continue
            branch_at = self._read_back(plan, wanted)
            return self._outcomes(ready, plan, changed), branch_at
        self._fence({key: {} for key in ready})
        raise SyncError("mirror_moved", f"{self.project.path} did not take any of {PLANS} pushes: {said}")

    def _sent(self, ready: Mapping[str, Mirrored], plan: PushPlan) -> frozenset[str]:
        """The refs that the push changed; a refusal is an answer, too: what was noted for it is forgotten."""
        notes = {key: _note(each, plan) for key, each in ready.items()}
        for key, note in notes.items():
            self._noted[key] |= note
        try:
            return self._cache.push(
                self.project.clone_url, plan.updates, PUSH_OPTIONS, lambda: self._fence(self._noted)
            )  # fmt: skip
        except SyncError as error:
            if not error.retryable:
                self._fence({key: {} for key in notes})
            raise

    def _observe(self, wanted: Sequence[Wanted]) -> tuple[str | None, dict[str, TagAt]]:
        branch = f"refs/heads/{self._branch}"
        names = [branch, *(f"refs/tags/{each.name}" for each in wanted)]
        found = self._git.remote_refs(self.project.clone_url, names, self._checkpoint)
        tags = {name.removeprefix("refs/tags/"): at for name, at in found.items() if name.startswith("refs/tags/")}
        at = found.get(branch)
        return (at.commit if at else None), tags

    def _read_back(self, plan: PushPlan, wanted: Sequence[Wanted]) -> str | None:
        """Look at what is there: a Gitaly defect (gitaly 5991) reported failed atomic pushes as successes."""
        branch_at, tags = self._observe(wanted)
        pushed = [each for each in wanted if each.name not in plan.settled and each.name not in dict(plan.moved)]
        missing = [each.name for each in pushed if tags.get(each.name) is None or tags[each.name].commit != each.commit]
        if missing:
            raise SyncError(
                "push_not_visible", f"{self.project.path} does not show {', '.join(missing)} after the push"
            )
        return branch_at

    def _with_room(self, ready: Mapping[str, Mirrored], tags_at: Mapping[str, TagAt]) -> Mapping[str, TagAt]:
        """Remove the protected tags that accepted moves replace, each only where it still names the old commit."""
        left = dict(tags_at)
        for each in ready.values():
            at = left.get(each.tag)
            if at is None or at.commit not in each.release.replaces:
                continue
            told = {"project": self.project.path, "tag": each.tag, "old": at.object, "old_commit": at.commit}
            told |= {"new": each.object, "run": each.release.run_id, "delivery": each.release.delivery}
            log.warning("mirror_tag_removed", extra=told)
            removes = {"tag": each.tag, "object": at.object, "commit": at.commit}
            self._noted[each.release.run_id] |= {"removes": removes}
            self._fence(self._noted)
            self._gitlab.remove_tag(self.project.id, each.tag)
            del left[each.tag]
        return left

    def _outcomes(
        self, ready: Mapping[str, Mirrored], plan: PushPlan, changed: frozenset[str] = frozenset()
    ) -> dict[str, Mirrored | SyncError]:
        moved = dict(plan.moved)
        return {key: self._outcome(each, plan, changed, moved.get(each.tag)) for key, each in ready.items()}

    def _outcome(
        self, each: Mirrored, plan: PushPlan, changed: frozenset[str], moved_to: str | None
    ) -> Mirrored | SyncError:
        if moved_to is None:
            earlier = each.release.pushing
            branch = _note(each, plan).get("branch") if f"refs/heads/{self._branch}" in changed else None
            ours = f"refs/tags/{each.tag}" in changed or earlier.get("object") == each.object
            return replace(each, new=ours, branch=branch or earlier.get("branch"))
        old = Content(moved_to, self._h1_at(each.release, moved_to))
        said = f"the mirror has tag {each.tag} at {{old}}, released is {{new}}"
        return version_moved(each.release.name, said, old, Content(each.commit, each.h1))


def _note(each: Mirrored, plan: PushPlan) -> dict[str, Any]:
    """What of the plan is this release's: its tag's object, and the branch's way where it goes along, or to its commit."""
    mine = [update for update in plan.updates if update.ref == f"refs/tags/{each.tag}"]
    note: dict[str, Any] = {"tag": each.tag, "object": each.object} if mine else {}
    for update in plan.updates:
        if update.ref.startswith("refs/heads/") and (mine or update.new == each.commit):
            name = update.ref.removeprefix("refs/heads/")
            note["branch"] = {"name": name, "before": update.expected, "after": update.new}
    return note


def _may_be_there(release: Release) -> bool:
    """With another's tag in its place, or with its own: then nothing is new, and the branch stays where it is."""
    return bool(release.replaces or release.pushed or release.pushing)
