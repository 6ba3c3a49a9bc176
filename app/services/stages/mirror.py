"""Stage mirror: a repository and the releases that wait for it -> an outcome for each.

One fetch and one atomic push serve them all. The leases are explicit; a refused lease is observed and planned again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from app.domain.errors import SyncError
from app.domain.gomod import scan_module_path
from app.domain.modules import RuleBroken, Version, parse_go_mod, synthesized_go_mod
from app.domain.moved import Content, version_moved
from app.domain.refs import TagAt
from app.domain.signature import Signature, SigningPolicy
from app.domain.source_warnings import SourceWarning, source_warnings
from app.services.locate import module_directory
from app.services.ports import Checkpoint, Git, GitLab, SourceCopy
from app.services.registry import Registries
from app.services.stages import PASSED_ON
from app.services.stages.mirror_known import Known
from app.services.stages.mirror_push import PUSH_OPTIONS, Push
from app.services.stages.mirror_values import (
    Mirrored,
    MirrorRequest,
    MirrorResult,
    Proof,
    PushFence,
    Release,
    Signing,
)

log = logging.getLogger(__name__)

# What the finder's rules are called; a module in two places at once breaks one that has no code of its own.
_PLACES = {"go_mod_missing": "go_mod_missing", "go_mod_mismatch": "module_mismatch"}

__all__ = ["MirrorRequest", "MirrorResult", "MirrorStage", "Mirrored", "Proof", "Release", "Signing"]


class MirrorStage:
    """The mirror stage over its two doors, and the rules of module zips."""

    def __init__(
        self, git: Git, gitlab: GitLab, proof: Proof, registries: Registries, signing: Mapping[str, Signing]
    ) -> None:
        self._git, self._gitlab, self._proof, self._registries = git, gitlab, proof, registries
        self._signing = signing

    def versions_at(self, clone_url: str, commit: str, subdir: str, checkpoint: Checkpoint) -> list[Version]:
        """The versions whose tags (below `subdir`) peel to `commit` at the source, lowest first."""
        if self._registries.knows(clone_url):
            raise SyncError("no_version", f"{clone_url} is a registry, which has no branches: send the version")
        prefix = f"refs/tags/{subdir}/" if subdir else "refs/tags/"
        found = self._git.remote_refs(clone_url, [f"{prefix}v*"], checkpoint, side="source")
        names = [
            ref.removeprefix(prefix) for ref, at in found.items() if ref.startswith(prefix) and at.commit == commit
        ]
        return sorted(version for name in names if (version := _version(name)))

    def tags_at(self, clone_url: str, tags: Sequence[str], checkpoint: Checkpoint) -> Mapping[str, TagAt | SyncError]:
        """What these tags (short names) name at the source now; a missing one is missing from the answer.

        A registry's versions are fetched and made into commits for that; one that cannot be has its error.
        """
        if self._registries.knows(clone_url):
            with self._git.source(clone_url, checkpoint) as cache:
                return self._registries.bring_all(cache, clone_url, tags, checkpoint)
        found = self._git.remote_refs(clone_url, [f"refs/tags/{tag}" for tag in tags], checkpoint, side="source")
        return {ref.removeprefix("refs/tags/"): at for ref, at in found.items()}

    def run(self, request: MirrorRequest, checkpoint: Checkpoint, fence: PushFence) -> MirrorResult:
        """Bring the releases into the mirror.

        `checkpoint` is cheap and asked while git runs; `fence` asks the database, right before each push. SyncError is
        raised for what concerns all of them (source or GitLab unreachable, a lost lease).
        """
        with self._git.source(request.clone_url, checkpoint) as cache:
            known = Known(request.project, self._gitlab.find_project)
            if request.project:
                cache.reach(request.project.clone_url, PUSH_OPTIONS, known.is_same)
            prepared = self._prepare_all(cache, request, checkpoint)
            ready = {key: value for key, value in prepared.items() if isinstance(value, Mirrored)}
            if not ready:
                return MirrorResult(prepared, request.project, request.branch_at)
            # A project that is gone, or another one at its path, is made and set up as at the first release.
            there = known.project()
            project = there or self._gitlab.ensure_project(request.mirror)
            push = Push(
                self._git, self._gitlab, cache, project, request.branch, checkpoint, fence,
                lambda release, commit: self._h1_at(cache, release, commit, request.clone_url), keep_branch=request.keep_branch,
            )  # fmt: skip
            try:
                outcomes, branch_at = push.run(ready, request.branch_at if there else None)
            except SyncError as error:
                if error.code != "project_missing" or there is None:
                    raise
                # It went since we looked: find or make it again, and look at it with fresh eyes.
                push.project = self._gitlab.ensure_project(request.mirror)
                outcomes, branch_at = push.run(ready, None)
            return MirrorResult({**prepared, **outcomes}, push.project, branch_at)

    def _prepare_all(
        self, cache: SourceCopy, request: MirrorRequest, checkpoint: Checkpoint
    ) -> dict[str, Mirrored | SyncError]:
        tags = self._tags(cache, request, checkpoint)
        prepared: dict[str, Mirrored | SyncError] = {}
        for release in request.releases:
            try:
                ready = self._ready(cache, release, tags.get(release.tag), request.clone_url)
                prepared[release.run_id] = replace(ready, signature=self._signature(cache, ready))
            except SyncError as error:
                if error.code in ("overtaken", "store_unavailable"):
                    raise
                prepared[release.run_id] = error
            except Exception:  # a defect that one release brings out must not fail those beside it
                log.exception("release_defect", extra={"run": release.run_id, "release": release.name})
                prepared[release.run_id] = SyncError("internal", "an unexpected error; see the worker's log")
        return prepared

    def _ready(self, cache: SourceCopy, release: Release, at: TagAt | SyncError | None, clone_url: str) -> Mirrored:
        if isinstance(at, TagAt) and at.commit not in (None, release.commit):
            raise self._other_commit(cache, release, str(at.commit), clone_url)
        return _prepare(cache, release, at, self._proof)

    def _other_commit(self, cache: SourceCopy, release: Release, found: str, clone_url: str) -> SyncError:
        """The source's tag is not at the released commit: it moved since, or never was there."""
        if not release.pushed and release.commit not in cache.moved_from(release.tag):
            said = f"was released at {release.commit}, but tag {release.tag} is at {found}"
            return SyncError("commit_mismatch", f"{release.name} {said}")
        both = (release.commit, found)
        old, new = (Content(each, self._h1_at(cache, release, each, clone_url)) for each in both)
        return version_moved(release.name, f"tag {release.tag} moved at the source from {{old}} to {{new}}", old, new)

    def _h1_at(self, cache: SourceCopy, release: Release, commit: str, clone_url: str) -> str | None:
        """The h1 that the release has or would have at another commit; None where it is not known: it is only told."""
        other = replace(release, commit=commit)
        try:
            if not (commit in release.known or cache.has_commit(commit) or self._registries.knows(clone_url)):
                cache.fetch([], [commit])
            if commit in release.known or not cache.has_commit(commit):
                return release.known.get(commit)
            return self._proof(cache, other, _go_mod(cache, other)[0])
        except SyncError as error:
            if error.code in PASSED_ON:
                raise
            return None

    def _signature(self, cache: SourceCopy, ready: Mirrored) -> Signature | None:
        """None where the source's policy is off. Errors: tag_unsigned, signature_bad where it requires a good one."""
        release, signing = ready.release, self._signing.get(ready.release.source)
        if signing is None or signing.policy is SigningPolicy.OFF:
            return None
        found = cache.tag_signature(release.tag, TagAt(ready.object, ready.commit), signing.trust)
        if signing.policy is SigningPolicy.REQUIRE and not found.good:
            code = "tag_unsigned" if found.state == "unsigned" else "signature_bad"
            said = f"{release.module}@{release.version}, tag {release.tag}: {found.why}"
            raise SyncError(code, said, facts={"signature": asdict(found)})
        return found

    def _tags(
        self, cache: SourceCopy, request: MirrorRequest, checkpoint: Checkpoint
    ) -> Mapping[str, TagAt | SyncError]:
        """What the releases' tags name, all of it in the cache."""
        releases, url = request.releases, request.clone_url
        if not self._registries.knows(url):
            return cache.fetch([each.tag for each in releases], [each.commit for each in releases if each.make_tag])
        lacking = [each for each in releases if not cache.has_commit(each.commit)]
        brought = self._registries.bring_all(cache, url, [each.tag for each in lacking], checkpoint)
        return {each.tag: self._same(cache, url, each, brought[each.tag]) for each in lacking}

    def _same(self, cache: SourceCopy, clone_url: str, release: Release, at: TagAt | SyncError) -> TagAt | SyncError:
        """A release whose commit was made before, elsewhere or in a cache that is gone: it must become the same."""
        if isinstance(at, SyncError) or at.commit == release.commit:
            return at
        both = (release.commit, str(at.commit))
        old, new = (Content(each, self._h1_at(cache, release, each, clone_url)) for each in both)
        return version_moved(release.name, "the registry's content was {old}, is {new} now", old, new)


def _version(name: str) -> Version | None:
    try:
        version = Version.parse(name)
    except RuleBroken:
        return None
    return None if version.is_pseudo or version.is_incompatible else version


def _prepare(cache: SourceCopy, release: Release, at: TagAt | SyncError | None, proof: Proof) -> Mirrored:
    """Check the release against the source: the tag, its commit, the module line, what `go` would make of it."""
    if isinstance(at, SyncError):
        raise at
    if at is None:
        at = _made_tag(cache, release)
    if at.commit is None:
        raise SyncError("tag_not_a_commit", f"tag {release.tag} names {at.object}, which is not a commit")
    directory, go_mod = _go_mod(cache, release)
    h1 = proof(cache, release, directory)
    told = _warnings(cache, release, directory)
    return Mirrored(release.tag, at.object, at.commit, directory, go_mod, h1, new=True, release=release, warnings=told)


def _warnings(cache: SourceCopy, release: Release, directory: str) -> tuple[SourceWarning, ...]:
    attributes = cache.attributes(release.commit, directory)
    return source_warnings(cache.read_file(release.commit, ".gitmodules"), attributes)


def _made_tag(cache: SourceCopy, release: Release) -> TagAt:
    if not release.make_tag:
        raise SyncError("tag_missing", f"the source has no tag {release.tag}")
    if not cache.has_commit(release.commit):
        raise SyncError("commit_missing", f"the source has no commit {release.commit}")
    return cache.make_tag(release.tag, release.commit)


def _go_mod(cache: SourceCopy, release: Release) -> tuple[str, bytes]:
    """The module's directory and its go.mod, as `go` would find it; the synthesised one where there is none."""
    files = {each: cache.read_blob(release.commit, f"{each}/go.mod".lstrip("/")) for each in release.directories}
    scanned = {each: None if data is None else scan_module_path(data) for each, data in files.items()}
    try:
        directory = module_directory(release.module, scanned, release.commit)
    except RuleBroken as broken:
        code = _PLACES.get(broken.rule, "not_a_module")
        raise SyncError(code, f"{release.module}@{release.version}: {broken.message}") from broken
    data = files[directory]
    if data is None:
        return directory, synthesized_go_mod(release.module.text)
    declared = _declared(data, release)
    if declared != release.module.text or release.version.is_incompatible:
        said = f"{directory or '.'}/go.mod declares {declared}"
        raise SyncError("module_mismatch", f"released as {release.module}@{release.version}, but {said}")
    return directory, data


def _declared(data: bytes, release: Release) -> str:
    try:
        return parse_go_mod(data).module
    except RuleBroken as error:
        raise SyncError("not_a_module", f"{release.module}@{release.version}: {error.message}") from error
