"""Stage verify: what does the private proxy serve, and is it what was released?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from app.domain.errors import SERVED_OTHER, SyncError
from app.domain.gomod import same_go_mod
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import FileHash, hash1, zip_prefix
from app.domain.purge import purge_steps
from app.domain.served import (
    Difference,
    difference,
    follows_other_rules,
    latest_fault,
    latest_note,
    listed_fault,
    newest,
    parsed,
)
from app.services.blobs import blob_ids
from app.services.checksum import ModuleSums
from app.services.log_ids import carried
from app.services.ports import Checkpoint, GoProxy, ProxyInfo
from app.services.stages import Finished

_OTHER = SERVED_OTHER | {"proxy_rules_differ"}
_KEPT = 100  # names of differing files that are kept with the run


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the version was before an accepted move; `h1` None: not known."""

    commit: str
    h1: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What was released: `go_mod_sha256` in hex; `h1` of the source's content where it is known.

    `clone_url`, `tag` and `directory` say where that content is; `earlier` what the proxy may still hold of before.
    """

    module: ModulePath
    version: Version
    commit: str
    proxy: str
    go_mod_sha256: str
    h1: str | None = None
    clone_url: str = ""
    tag: str = ""
    directory: str = ""
    earlier: tuple[Earlier, ...] = ()

    @property
    def name(self) -> str:
        """`module@version`."""
        return f"{self.module}@{self.version}"


@dataclass(frozen=True, slots=True)
class Released:
    """The released content, file by file as `go` takes it; `tree`: the directory's blob ids as committed, by name."""

    files: tuple[FileHash, ...]
    tree: Mapping[str, str]


ReadZip = Callable[[BinaryIO, ModulePath, Version], ModuleSums]
"""What a module zip holds. RuleBroken when it is none."""

LookUp = Callable[[VerifyRequest, Checkpoint], Released | None]
"""The released content, asked for when something differs; None when it cannot be had now."""

Brought = Callable[[ModulePath], Sequence[Version]]
"""A module's versions that modsync brought, whatever a proxy lists. Error: store_unavailable."""


class VerifyStage:
    """The verify stage over the private proxies by name; `kinds` says what they are, for the steps to purge them."""

    def __init__(
        self, proxies: Mapping[str, GoProxy], read_zip: ReadZip, look_up: LookUp, kinds: Mapping[str, str],
        brought: Brought,
    ) -> None:  # fmt: skip
        self._proxies, self._read_zip, self._look_up, self._kinds = proxies, read_zip, look_up, kinds
        self._brought = brought

    def run(self, request: VerifyRequest, checkpoint: Checkpoint) -> Finished:
        """Ask for `.info`, `.mod`, `.zip`, `list`, `@latest` and compare. SyncError names the difference.

        Its facts (key "verify") hold both h1 values wherever both are known.
        """
        proxy = self._proxies.get(request.proxy)
        if proxy is None:
            raise SyncError("not_found", f"the configuration has no proxy named {request.proxy}")
        commit: str | None = None
        try:
            commit = _check_info(proxy, request)
            facts = self._compare(proxy, request, commit, checkpoint)
        except SyncError as error:
            raise self._judged(proxy, request, error, commit, checkpoint) from error
        return Finished({"verify": facts}, detail=facts)

    def _compare(
        self, proxy: GoProxy, request: VerifyRequest, commit: str | None, checkpoint: Checkpoint
    ) -> dict[str, Any]:
        with _asked(proxy, request.module) as (listed, latest):
            mod = _check_mod(proxy, request)
            h1 = self._check_zip(proxy, request, mod, checkpoint)
            names = listed.result() or ()
            self._check_listed(proxy, request, mod, names)
            note = _check_latest(proxy, request, mod, names, latest.result())
        told = {"latest": note} if note else {}
        return told | {
            "h1": h1, "h1_released": request.h1, "go_mod_sha256": request.go_mod_sha256, "commit": commit,
            "compared": request.h1 is not None,
        }  # fmt: skip

    def _check_listed(self, proxy: GoProxy, request: VerifyRequest, mod: bytes, listed: Sequence[str]) -> None:
        """After the content: a cached `list` is only late, and says nothing about it."""
        fault = listed_fault(request.version, mod, listed, None)
        for newest_mod in self._newest_mods(proxy, request, listed) if fault else ():
            fault = fault and listed_fault(request.version, mod, listed, newest_mod)
        if fault:
            raise _other(request, "not_listed", fault, "list")

    def _newest_mods(self, proxy: GoProxy, request: VerifyRequest, listed: Sequence[str]) -> Iterator[bytes | None]:
        """Where retractions stand. `go` takes them from the newest version of all, also from one that no list has."""
        module, last = request.module, newest(listed)
        if last:
            yield proxy.mod(module, last)
        of_all = newest([*listed, *(each.text for each in self._brought(module))])
        if of_all and of_all not in (last, request.version):
            yield _mod_of(proxy, module, of_all)

    def _check_zip(self, proxy: GoProxy, request: VerifyRequest, mod: bytes, checkpoint: Checkpoint) -> str:
        with proxy.zip(request.module, request.version) as file:
            served = self._sums(file, request)
            if request.h1 is not None and served.h1_zip != request.h1:
                raise self._other_content(file, served, request, checkpoint)
        # Once both hashes are the release's, attributes (eol) are why a go.mod in the zip is another than the .mod.
        if request.h1 is None and not same_go_mod(served.go_mod_bytes, mod):
            said = "the go.mod in its zip is not its .mod"
            raise _other(request, "served_other_content", said, ".zip", h1=served.h1_zip)
        return served.h1_zip

    def _sums(self, file: BinaryIO, request: VerifyRequest) -> ModuleSums:
        try:
            return self._read_zip(file, request.module, request.version)
        except RuleBroken as broken:
            raise _other(request, "zip_not_a_module", f"the proxy's zip: {broken.message}", ".zip") from broken

    def _other_content(
        self, file: BinaryIO, served: ModuleSums, request: VerifyRequest, checkpoint: Checkpoint
    ) -> SyncError:
        released = self._look_up(request, checkpoint)
        found = difference(released.files, served.files) if released else None
        unread = "which files differ is not known: the source could not be read"
        said = f"the proxy's zip has other content: {found or unread}"
        rules = bool(released and found and _packed_otherwise(file, found, released, request))
        code = "proxy_rules_differ" if rules else "served_other_content"
        return _other(request, code, said, ".zip", h1=served.h1_zip, differ=found)

    def _judged(
        self, proxy: GoProxy, request: VerifyRequest, error: SyncError, commit: str | None, checkpoint: Checkpoint
    ) -> SyncError:
        """The verdict with both commits and h1 values. After an accepted move, the other content may be of before."""
        if error.code not in _OTHER:
            return error
        told = {**error.facts["verify"]}
        h1 = told["h1_served"] = told["h1_served"] or self._served_h1(proxy, request)
        commit = told["commit_served"] = told["commit_served"] or commit
        held = self._of_before(request, commit, h1, checkpoint)
        if held is None:
            advice = f". To purge it: {self._purge(request)}" if error.code in SERVED_OTHER else ""
            return SyncError(error.code, error.message + _both(request, commit, h1) + advice, facts={"verify": told})
        said = f"the proxy still serves {held} ({h1 or 'h1 not known'}) of before the accepted move to "
        said += f"{request.commit} ({request.h1}). Now: {self._purge(request)}"
        return _other(request, "proxy_holds_old", said, told["asked"], h1=h1, commit=held)

    def _purge(self, request: VerifyRequest) -> str:
        return purge_steps(self._kinds.get(request.proxy, "any"), request.module, request.version)

    def _of_before(
        self, request: VerifyRequest, commit: str | None, h1: str | None, checkpoint: Checkpoint
    ) -> str | None:
        """Which commit that an accepted move replaced the proxy still has: as it says, or by the content."""
        for each in request.earlier:
            if each.commit == commit or (h1 and h1 == (each.h1 or self._h1_at(request, each.commit, checkpoint))):
                return each.commit
        return None

    def _h1_at(self, request: VerifyRequest, commit: str, checkpoint: Checkpoint) -> str | None:
        released = self._look_up(replace(request, commit=commit), checkpoint)
        return hash1(released.files, zip_prefix(request.module, request.version)) if released else None

    def _served_h1(self, proxy: GoProxy, request: VerifyRequest) -> str | None:
        try:
            with proxy.zip(request.module, request.version) as file:
                return self._sums(file, request).h1_zip
        except SyncError:
            return None  # what was found before is the verdict


def _packed_otherwise(file: BinaryIO, found: Difference, released: Released, request: VerifyRequest) -> bool:
    blobs = blob_ids(file, zip_prefix(request.module, request.version), found.served)
    return follows_other_rules(found, released.tree, blobs)


def _check_info(proxy: GoProxy, request: VerifyRequest) -> str | None:
    info = proxy.info(request.module, request.version)
    if info.version != request.version.text:
        raise _other(request, "served_other_version", f"the proxy's .info names version {info.version!r}", ".info")
    if info.commit is not None and info.commit != request.commit:
        raise _other(request, "served_other_commit", "the proxy has another commit", ".info", commit=info.commit)
    return info.commit


def _check_mod(proxy: GoProxy, request: VerifyRequest) -> bytes:
    mod = proxy.mod(request.module, request.version)
    digest = hashlib.sha256(mod).hexdigest()
    if digest != request.go_mod_sha256:
        said = f"the proxy's .mod (sha256 {digest}) is not the released go.mod ({request.go_mod_sha256})"
        raise _other(request, "served_other_content", said, ".mod", mod=digest)
    return mod


def _both(request: VerifyRequest, commit: str | None, h1: str | None) -> str:
    """Both sides, for the message's end; a proxy need not tell a commit (Artifactory does not)."""
    served = f"commit {commit or 'unknown'} ({h1 or 'its zip is not to be had'})"
    return f". Served is {served}, released is commit {request.commit} ({request.h1 or 'h1 not known'})"


@contextmanager
def _asked(
    proxy: GoProxy, module: ModulePath
) -> Iterator[tuple[Future[Sequence[str] | None], Future[ProxyInfo | None]]]:
    """The proxy's `list` and `@latest`, asked for meanwhile: many a proxy asks git for each, which takes the longest."""
    pool = ThreadPoolExecutor(2, "proxy")
    try:
        yield pool.submit(carried(proxy.list), module), pool.submit(carried(proxy.latest), module)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _mod_of(proxy: GoProxy, module: ModulePath, version: Version) -> bytes | None:
    """None for one that the proxy does not have: its own run may be on its way there."""
    try:
        return proxy.mod(module, version)
    except SyncError as error:
        if error.code != "not_cached_yet":
            raise
        return None


def _check_latest(
    proxy: GoProxy, request: VerifyRequest, mod: bytes, listed: Sequence[str], latest: ProxyInfo | None
) -> str | None:
    """What is odd about it and no fault; a cached answer to others' releases fails nobody's."""
    if latest is None:
        return None
    fault = latest_fault(request.version, mod, listed, latest.version)
    named = parsed(latest.version)
    if not fault and named and not named.is_pseudo and named.text not in listed and not _serves(proxy, request, named):
        fault = f"@latest names {named}, which the proxy neither lists nor serves"
    if fault:
        raise _other(request, "latest_wrong", fault, "@latest")
    return latest_note(listed, latest.version)


def _serves(proxy: GoProxy, request: VerifyRequest, version: Version) -> bool:
    """Whether a version that the proxy itself named is there; True also where it does not say."""
    try:
        return proxy.info(request.module, version).version == version.text
    except SyncError as error:
        return error.code != "not_cached_yet"


def _other(
    request: VerifyRequest, code: str, said: str, asked: str, *,
    h1: str | None = None, commit: str | None = None, differ: Difference | None = None, mod: str = "",
) -> SyncError:  # fmt: skip
    """The verdict on what was `asked`, with both sides' values for the record."""
    facts: dict[str, Any] = {
        "verdict": code, "asked": asked, "h1_released": request.h1, "h1_served": h1, "commit_released": request.commit,
        "commit_served": commit, "differ": list(differ.names)[:_KEPT] if differ else [],
    }  # fmt: skip
    if mod:
        facts |= {"go_mod_served": mod, "go_mod_released": request.go_mod_sha256}
    return SyncError(code, f"{request.name}: {said}", facts={"verify": facts})
