"""A module registry as the source: what it serves becomes commits that are the same wherever and whenever they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import BinaryIO

from app.domain.errors import SyncError
from app.domain.goinfo import go_moment
from app.domain.gomod import same_go_mod
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import zip_prefix
from app.domain.refs import TagAt
from app.services.blobs import contents
from app.services.checksum import ModuleSums
from app.services.ports import Checkpoint, GoProxy, ProxyInfo, SourceCopy
from app.services.registry_fault import not_reproducible
from app.services.stages import PASSED_ON
from app.services.stages.mirror_values import Release

# What a proxy's errors mean where the proxy is the source.
_CODES: Mapping[str, str] = {
    "not_cached_yet": "not_in_registry",
    "proxy_unreachable": "source_unreachable",
    "proxy_denied": "source_denied",
    "proxy_not_goproxy": "registry_wrong",
    "zip_not_a_module": "not_a_module",
}
_EPOCH = datetime.fromtimestamp(0, UTC)

ReadZip = Callable[[BinaryIO, ModulePath, Version], ModuleSums]
ReadCommit = Callable[[SourceCopy, Release, str], ModuleSums]
"""(cache, release, directory) -> what `go` makes of the release's commit. SyncError `not_a_module` when it refuses it."""
Attributes = Callable[[SourceCopy, str, Sequence[str]], Mapping[str, str]]
"""(cache, commit, file names) -> the attributes of those that have some which change what git writes."""


class Registries:
    """The registries by their base URLs. Such a source's clone URL is `<base>/<escaped module path>`."""

    def __init__(
        self, registries: Mapping[str, GoProxy], read_zip: ReadZip, read_commit: ReadCommit, attributes: Attributes
    ) -> None:
        self._registries, self._read_zip = registries, read_zip
        self._read_commit, self._attributes = read_commit, attributes

    def knows(self, clone_url: str) -> bool:
        """True when this is a module's address in a registry, not a git repository."""
        return self._base(clone_url) is not None

    def module(self, clone_url: str) -> ModulePath:
        """The module whose address in a registry this is."""
        return ModulePath.unescape(clone_url.removeprefix(f"{self._base(clone_url) or ''}/"))

    def versions(self, clone_url: str) -> Sequence[str]:
        """The versions that the registry lists.

        Errors: not_in_registry (it does not know the module), registry_wrong, source_unreachable, source_denied.
        """
        base, module = self._base(clone_url) or "", self.module(clone_url)
        with _as_source():
            listed = self._registries[base].list(module)
        if listed is None:
            said = f"{base} has no list of {module}: is the module's name right, and the rule's clone?"
            raise SyncError("not_in_registry", said)
        return listed

    def bring_all(
        self, cache: SourceCopy, clone_url: str, tags: Sequence[str], checkpoint: Checkpoint
    ) -> Mapping[str, TagAt | SyncError]:
        """As bring() for each tag; one that cannot be brought has its error.

        An error that is no version's alone is also that of the tags that are left: nobody is made to wait for each of
        them. Raised are `overtaken`, `interrupted` and `cache_busy`.
        """
        found: dict[str, TagAt | SyncError] = {}
        for tag in tags:
            checkpoint()
            try:
                found[tag] = self.bring(cache, clone_url, tag, checkpoint)
            except SyncError as error:
                if error.code in PASSED_ON:
                    raise
                found[tag] = error
                if self._concerns_all(clone_url, error):
                    checkpoint()  # asked to stop while we waited: then it is nobody's failure
                    return {**dict.fromkeys(tags, _not_asked(error)), **found}
        return found

    def bring(self, cache: SourceCopy, clone_url: str, tag: str, checkpoint: Checkpoint) -> TagAt:
        """Fetch the version of a tag, make its commit and its tag in the cache.

        Errors: not_in_registry, registry_wrong, not_a_module, not_reproducible (a commit of these files has another
        h1, and which files do it: nothing may be pushed), source_unreachable, source_denied, disk_full.
        """
        base = self._base(clone_url) or ""
        module = self.module(clone_url)
        version = _version(module, tag)
        if version.is_pseudo:
            raise SyncError("not_reproducible", f"{module}@{version}: a pseudo-version names a commit of another place")
        with _as_source():
            commit, served, mod = self._made(cache, self._registries[base], module, version, checkpoint)
        self._check(cache, Release("", module, version, commit, ""), served, mod)
        return replace(cache.make_tag(tag, commit), h1=served.h1_zip)

    def _base(self, clone_url: str) -> str | None:
        return max((base for base in self._registries if clone_url.startswith(f"{base}/")), key=len, default=None)

    def _concerns_all(self, clone_url: str, error: SyncError) -> bool:
        """Our disk is full, or the registry does not give its list either: one version may be broken, or blocked by a scanner."""
        if error.code not in ("source_denied", "source_unreachable"):
            return error.code == "disk_full"
        try:
            self.versions(clone_url)
        except SyncError as listed:
            return listed.code in ("source_denied", "source_unreachable")
        return False

    def _made(
        self, cache: SourceCopy, registry: GoProxy, module: ModulePath, version: Version, checkpoint: Checkpoint
    ) -> tuple[str, ModuleSums, bytes]:
        """The commit, what the registry's zip holds, and its `.mod`: the go.mod as committed, before attributes (eol)."""
        info, mod = registry.info(module, version), registry.mod(module, version)
        if info.version != version.text:
            raise SyncError("registry_wrong", f"{module}@{version}: the registry's .info names {info.version!r}")
        with registry.zip(module, version, checkpoint) as file:
            sums = self._sums(file, module, version)
            files = _as_committed(contents(file, zip_prefix(module, version)), mod)
            message = f"{module}@{version}\n\nModsync-H1: {sums.h1_zip}"
            return cache.make_commit(files, message, released_at(info)), sums, mod

    def _sums(self, file: BinaryIO, module: ModulePath, version: Version) -> ModuleSums:
        try:
            return self._read_zip(file, module, version)
        except RuleBroken as broken:
            raise SyncError("not_a_module", f"{module}@{version}: the registry's zip: {broken.message}") from broken

    def _check(self, cache: SourceCopy, release: Release, served: ModuleSums, mod: bytes) -> None:
        made = self._read_commit(cache, release, "")
        if made.go_mod_bytes != mod or (made.h1_zip != served.h1_zip and not same_go_mod(served.go_mod_bytes, mod)):
            said = "the registry's .mod is not its zip's go.mod, and no attribute explains it"
            raise SyncError("not_a_module", f"{release.module}@{release.version}: {said}")
        if made.h1_zip != served.h1_zip:
            raise not_reproducible(served, made, lambda names: self._attributes(cache, release.commit, names))


def _as_committed(files: Iterator[tuple[str, BinaryIO]], mod: bytes) -> Iterator[tuple[str, BinaryIO]]:
    """The zip's files with the `.mod` in go.mod's place; a commit of that gives both the `.mod` and the zip again."""
    for name, content in files:
        yield name, BytesIO(mod) if name == "go.mod" else content


def released_at(info: ProxyInfo) -> datetime:
    """The time of an `.info`, to the second, in UTC; 1970 where it has none, for it must always be the same."""
    if info.time is None:
        return _EPOCH
    moment = go_moment(info.time)
    if moment is None:
        raise SyncError("registry_wrong", f"the registry's .info has a Time that is none: {info.time[:60]!r}")
    return max(moment, _EPOCH)


def _not_asked(error: SyncError) -> SyncError:
    return SyncError(
        error.code, f"not asked for, after another version: {error.message}", retry_after=error.retry_after
    )


def _version(module: ModulePath, tag: str) -> Version:
    """The version of a mirror's tag: a major above 1 that the path does not name is an +incompatible one."""
    version = Version.parse(tag)
    above = version.major not in ("v0", "v1")
    return version.with_incompatible() if above and not module.major_suffix else version


@contextmanager
def _as_source() -> Iterator[None]:
    try:
        yield
    except SyncError as error:
        code = _CODES.get(error.code)
        if code is None:
            raise
        raise SyncError(code, error.message, retry_after=error.retry_after) from error
