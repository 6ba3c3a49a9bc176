"""Stage mirror: a repository and the releases that wait for it -> an outcome for each.

One fetch and one atomic push serve them all. The leases are explicit; a refused lease is observed and planned again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version, parse_go_mod, synthesized_go_mod, tag_name
from app.domain.refs import PushPlan, TagAt, Wanted, plan_push
from app.services.ports import Checkpoint, Git, GitLab, MirrorProject, SourceCopy

# How often a refused lease is observed and planned again before the run waits its turn.
PLANS = 3
PUSH_OPTIONS = ("ci.skip",)


@dataclass(frozen=True, slots=True)
class Release:
    """What a run wants mirrored. `subdir`: the module's directory by the rules, without a `/vN` at its end."""

    run_id: str
    module: ModulePath
    version: Version
    commit: str
    subdir: str
    make_tag: bool = False

    @property
    def tag(self) -> str:
        """The version's tag, short."""
        return tag_name(self.subdir, self.version)

    @property
    def directories(self) -> list[str]:
        """Where go.mod may be (modfetch/coderepo.go, findDir): `dir`, or for a `/vN` path `dir/vN`."""
        suffix = self.module.major_suffix
        nested = f"{self.subdir}{suffix}".strip("/")
        return [self.subdir, nested] if suffix.startswith("/") else [self.subdir]


Proof = Callable[[SourceCopy, Release, str], str]
"""(cache, release, directory) -> the h1 of the zip that `go` makes of the released commit.

SyncError `not_a_module` when `go` would refuse it.
"""


@dataclass(frozen=True, slots=True)
class MirrorRequest:
    """A repository's turn. `project` and `branch_at` are what is remembered (None: look)."""

    clone_url: str
    mirror: str
    branch: str
    releases: tuple[Release, ...]
    project: MirrorProject | None = None
    branch_at: str | None = None


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A release that is in the mirror: its tag's object, where its go.mod is, that file, and the content's h1."""

    tag: str
    object: str
    commit: str
    directory: str
    go_mod: bytes
    h1: str
    new: bool

    @property
    def go_mod_sha256(self) -> str:
        """The released go.mod's digest, to compare the proxy's `.mod` with."""
        return hashlib.sha256(self.go_mod).hexdigest()


@dataclass(frozen=True, slots=True)
class MirrorResult:
    """An outcome for each run's id; `project` and `branch_at` are worth remembering."""

    outcomes: Mapping[str, Mirrored | SyncError]
    project: MirrorProject | None
    branch_at: str | None


class MirrorStage:
    """The mirror stage over its two doors, and the rules of module zips."""

    def __init__(self, git: Git, gitlab: GitLab, proof: Proof) -> None:
        self._git = git
        self._gitlab = gitlab
        self._proof = proof

    def versions_at(self, clone_url: str, commit: str, subdir: str, checkpoint: Checkpoint) -> list[Version]:
        """The versions whose tags (below `subdir`) peel to `commit` at the source, lowest first."""
        prefix = f"refs/tags/{subdir}/" if subdir else "refs/tags/"
        found = self._git.remote_refs(clone_url, [f"{prefix}v*"], checkpoint, side="source")
        names = [
            ref.removeprefix(prefix) for ref, at in found.items() if ref.startswith(prefix) and at.commit == commit
        ]
        return sorted(version for name in names if (version := _version(name)))

    def tags_at(self, clone_url: str, tags: Sequence[str], checkpoint: Checkpoint) -> dict[str, TagAt]:
        """What these tags (short names) name at the source now; a missing one is missing from the answer."""
        found = self._git.remote_refs(clone_url, [f"refs/tags/{tag}" for tag in tags], checkpoint, side="source")
        return {ref.removeprefix("refs/tags/"): at for ref, at in found.items()}

    def run(self, request: MirrorRequest, checkpoint: Checkpoint, fence: Checkpoint) -> MirrorResult:
        """Bring the releases into the mirror.

        `checkpoint` is cheap and asked while git runs; `fence` asks the database, right before each push. SyncError is
        raised for what concerns all of them (source or GitLab unreachable, a lost lease).
        """
        with self._git.source(request.clone_url, checkpoint) as cache:
            prepared = _prepare_all(cache, request.releases, self._proof)
            ready = {key: value for key, value in prepared.items() if isinstance(value, Mirrored)}
            if not ready:
                return MirrorResult(prepared, request.project, request.branch_at)
            project = request.project or self._gitlab.ensure_project(request.mirror)
            push = _Push(self._git, cache, project, request.branch, checkpoint, fence)
            try:
                outcomes, branch_at = push.run(ready, request.branch_at)
            except SyncError as error:
                if error.code != "project_missing" or request.project is None:
                    raise
                # What we remembered is gone: find or make it again, and look at it with fresh eyes.
                push.project = self._gitlab.ensure_project(request.mirror)
                outcomes, branch_at = push.run(ready, None)
            return MirrorResult({**prepared, **outcomes}, push.project, branch_at)


def _version(name: str) -> Version | None:
    try:
        version = Version.parse(name)
    except RuleBroken:
        return None
    return None if version.is_pseudo or version.is_incompatible else version


def _prepare_all(cache: SourceCopy, releases: Sequence[Release], proof: Proof) -> dict[str, Mirrored | SyncError]:
    tags = cache.fetch([each.tag for each in releases], [each.commit for each in releases if each.make_tag])
    prepared: dict[str, Mirrored | SyncError] = {}
    for release in releases:
        try:
            prepared[release.run_id] = _prepare(cache, release, tags.get(release.tag), proof)
        except SyncError as error:
            prepared[release.run_id] = error
    return prepared


def _prepare(cache: SourceCopy, release: Release, at: TagAt | None, proof: Proof) -> Mirrored:
    """Check the release against the source: the tag, its commit, the module line, what `go` would make of it."""
    if at is None:
        at = _made_tag(cache, release)
    if at.commit is None:
        raise SyncError("tag_not_a_commit", f"tag {release.tag} names {at.object}, which is not a commit")
    if at.commit != release.commit:
        raise SyncError(
            "commit_mismatch",
            f"{release.module}@{release.version} was released at {release.commit}, but tag {release.tag} is at {at.commit}",
        )
    directory, go_mod = _go_mod(cache, release)
    h1 = proof(cache, release, directory)
    return Mirrored(release.tag, at.object, at.commit, directory, go_mod, h1, new=True)


def _made_tag(cache: SourceCopy, release: Release) -> TagAt:
    if not release.make_tag:
        raise SyncError("tag_missing", f"the source has no tag {release.tag}")
    if not cache.has_commit(release.commit):
        raise SyncError("commit_missing", f"the source has no commit {release.commit}")
    return cache.make_tag(release.tag, release.commit)


def _go_mod(cache: SourceCopy, release: Release) -> tuple[str, bytes]:
    """The module's directory and its go.mod, as `go` would find it; the synthesised one where there is none."""
    found: list[str] = []
    for directory in release.directories:
        data = cache.read_file(release.commit, f"{directory}/go.mod".lstrip("/"))
        if data is not None:
            declared = _declared(data, release)
            if declared == release.module.text and not release.version.is_incompatible:
                return directory, data
            found.append(f"{directory or '.'}/go.mod declares {declared}")
    if found:
        raise SyncError("module_mismatch", f"released as {release.module}@{release.version}, but {'; '.join(found)}")
    if release.subdir or release.module.major_suffix.startswith("/"):
        places = " or ".join(f"{directory or '.'}/go.mod" for directory in release.directories)
        raise SyncError("go_mod_missing", f"{release.module}@{release.version} has no {places} at {release.commit}")
    return "", synthesized_go_mod(release.module.text)


def _declared(data: bytes, release: Release) -> str:
    try:
        return parse_go_mod(data).module
    except RuleBroken as error:
        raise SyncError("not_a_module", f"{release.module}@{release.version}: {error.message}") from error


class _Push:
    """Push prepared releases, at most PLANS times with fresh eyes."""

    def __init__(
        self,
        git: Git,
        cache: SourceCopy,
        project: MirrorProject,
        branch: str,
        checkpoint: Checkpoint,
        fence: Checkpoint,
    ) -> None:
        self._git, self._cache, self._branch = git, cache, branch
        self._checkpoint, self._fence = checkpoint, fence
        self.project = project

    def run(
        self, ready: Mapping[str, Mirrored], branch_at: str | None
    ) -> tuple[dict[str, Mirrored | SyncError], str | None]:
        """An outcome for each, and where the branch was left."""
        try:
            return self._planned(ready, branch_at)
        except SyncError as error:
            if error.retryable or len(ready) == 1 or error.code == "project_missing":
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
                outcomes[key], branch_at = error, None
        return outcomes, branch_at

    def _planned(
        self, ready: Mapping[str, Mirrored], branch_at: str | None
    ) -> tuple[dict[str, Mirrored | SyncError], str | None]:
        wanted = [Wanted(each.tag, each.object, each.commit) for each in ready.values()]
        tags_at: Mapping[str, TagAt] = {}
        if branch_at is None:
            branch_at, tags_at = self._observe(wanted)
        for _ in range(PLANS):
            plan = plan_push(self._branch, branch_at, tags_at, wanted)
            if not plan.updates:
                return _outcomes(ready, plan), branch_at
            try:
                self._fence()
                self._cache.push(self.project.clone_url, plan.updates, PUSH_OPTIONS)
            except SyncError as error:
                if error.code != "mirror_moved":
                    raise
                branch_at, tags_at = self._observe(wanted)
                continue
            return _outcomes(ready, plan), self._read_back(plan, wanted)
        raise SyncError("mirror_moved", f"{self.project.path} changed during each of {PLANS} pushes")

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


def _outcomes(ready: Mapping[str, Mirrored], plan: PushPlan) -> dict[str, Mirrored | SyncError]:
    moved = dict(plan.moved)
    return {key: _outcome(each, plan, moved.get(each.tag)) for key, each in ready.items()}


def _outcome(each: Mirrored, plan: PushPlan, moved_to: str | None) -> Mirrored | SyncError:
    if moved_to:
        return SyncError("version_moved", f"the mirror has tag {each.tag} at {moved_to}, released is {each.commit}")
    return replace(each, new=each.tag not in plan.settled)
