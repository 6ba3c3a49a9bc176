"""Stage pipeline where the proxy is static: there is nothing to warm, so modsync writes the version's files itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

from app.domain.errors import SyncError
from app.domain.modules import RuleBroken
from app.domain.purge import purge_steps
from app.services.checksum import ModuleSums
from app.services.ports import Checkpoint, StaticFiles
from app.services.stages import Finished
from app.services.stages.verify import ReadZip, VerifyRequest


@dataclass(frozen=True, slots=True)
class Packed:
    """A module zip as it was written, and the commit's time."""

    sums: ModuleSums
    time: datetime


Pack = Callable[[VerifyRequest, BinaryIO, Checkpoint], Packed]
"""Writes the released commit's module zip into the file. Errors: those of sources; commit_missing."""


class PublishStage:
    """Writes releases into the static proxies by name."""

    def __init__(self, proxies: Mapping[str, StaticFiles], pack: Pack, read_zip: ReadZip) -> None:
        self._proxies, self._pack, self._read_zip = proxies, pack, read_zip

    def serves(self, proxy: str) -> bool:
        """True when this proxy is a static one."""
        return proxy in self._proxies

    def run(self, request: VerifyRequest, checkpoint: Checkpoint, fence: Checkpoint) -> Finished:
        """Write `.info`, `.mod`, `.zip`, `list`; what is there already, with the same content, is left alone.

        `fence` asks the database, right before anything is put in its place.

        Errors: served_other_content (the version is there with other content that nobody allowed to move),
        not_reproducible (the source's content is not what was mirrored), commit_missing, disk_full.
        """
        proxy = self._proxies[request.proxy]
        h1, commit = self._there(proxy, request)
        # Without the list, whoever wrote the rest was killed before its last step.
        listed = request.version.text in (proxy.list(request.module) or ())
        new = (h1, commit) != (request.h1, request.commit) or not listed
        if new:
            self._check_free(request, h1, commit)
            self._write(proxy, request, checkpoint, fence)
        facts = {"kind": "static", "status": "published", "new": new}
        return Finished({"pipeline": facts}, detail=facts)

    def _there(self, proxy: StaticFiles, request: VerifyRequest) -> tuple[str | None, str | None]:
        """The h1 and the commit of what is published; None where nothing is, only a part of it, or no module zip."""
        try:
            # The files themselves: `go get x@v1.0.0` reads no `list`, so what is not listed may be in use.
            return self._zip_h1(proxy, request), proxy.info(request.module, request.version).commit
        except SyncError as error:
            if error.code not in ("not_cached_yet", "proxy_not_goproxy"):
                raise
            return None, None

    def _zip_h1(self, proxy: StaticFiles, request: VerifyRequest) -> str | None:
        try:
            with proxy.zip(request.module, request.version) as file:
                return self._read_zip(file, request.module, request.version).h1_zip
        except RuleBroken:
            return None

    def _check_free(self, request: VerifyRequest, there: str | None, commit: str | None) -> None:
        """What an accepted move replaces is known by its commit, too: its h1 need not be known to anybody any more."""
        replaced = any(commit == each.commit or there == each.h1 for each in request.earlier)
        if there in (None, request.h1) or replaced:
            return
        said = f"the static proxy has this version already. Served is commit {commit or 'unknown'} ({there}), "
        said += f"released is commit {request.commit} ({request.h1}). Nothing was overwritten. To purge it: "
        said += purge_steps("static", request.module, request.version)
        facts: dict[str, object] = {
            "verdict": "served_other_content", "asked": ".zip", "h1_released": request.h1, "h1_served": there,
            "commit_released": request.commit, "commit_served": commit, "differ": [],
        }  # fmt: skip
        raise SyncError("served_other_content", f"{request.name}: {said}", facts={"verify": facts})

    def _write(self, proxy: StaticFiles, request: VerifyRequest, checkpoint: Checkpoint, fence: Checkpoint) -> None:
        packed: list[Packed] = []

        def write_zip(file: BinaryIO) -> None:
            packed.append(self._pack(request, file, checkpoint))
            _check_same(request, packed[0].sums)

        proxy.publish(
            request.module, request.version, lambda: info_json(request, packed[0].time),
            lambda: packed[0].sums.go_mod_bytes, write_zip, checkpoint, fence,
        )  # fmt: skip


def info_json(request: VerifyRequest, time: datetime) -> bytes:
    """The `.info` of a release, as `go` makes it (modfetch RevInfo), without the source's address."""
    origin: dict[str, Any] = {"VCS": "git", "Hash": request.commit, "Ref": f"refs/tags/{request.tag}"}
    if request.directory:
        origin["Subdir"] = request.directory
    stamp = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"Version": request.version.text, "Time": stamp, "Origin": origin}).encode()


def _check_same(request: VerifyRequest, sums: ModuleSums) -> None:
    if request.h1 is not None and sums.h1_zip != request.h1:
        said = f"{request.name}: the source's content is {sums.h1_zip} now, mirrored was {request.h1}"
        raise SyncError("not_reproducible", said)
