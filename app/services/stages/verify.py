"""Stage verify: what does the private proxy serve, and is it what was released?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.ports import GoProxy
from app.services.stages import Finished

ZipSum = Callable[[BinaryIO, ModulePath, Version], str]
"""The h1 of a module zip. SyncError `zip_not_a_module` when it is none."""


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What was released: `go_mod_sha256` in hex; `h1` of the source's content where it is known."""

    module: ModulePath
    version: Version
    commit: str
    proxy: str
    go_mod_sha256: str
    h1: str | None = None


class VerifyStage:
    """The verify stage over the private proxies by name."""

    def __init__(self, proxies: Mapping[str, GoProxy], zip_sum: ZipSum) -> None:
        self._proxies = proxies
        self._zip_sum = zip_sum

    def run(self, request: VerifyRequest) -> Finished:
        """Ask for `.info`, `.mod`, `.zip` and compare. SyncError names the difference."""
        proxy = self._proxies.get(request.proxy)
        if proxy is None:
            raise SyncError("not_found", f"the configuration has no proxy named {request.proxy}")
        name = f"{request.module}@{request.version}"
        commit = _check_info(proxy, request, name)
        _check_mod(proxy, request, name)
        h1 = self._check_zip(lambda: proxy.zip(request.module.text, request.version.text), request, name)
        facts = {"h1": h1, "go_mod_sha256": request.go_mod_sha256, "commit": commit, "compared": request.h1 is not None}
        return Finished({"verify": facts}, detail=facts)

    def _check_zip(
        self, fetch: Callable[[], AbstractContextManager[BinaryIO]], request: VerifyRequest, name: str
    ) -> str:
        with fetch() as file:
            h1 = self._zip_sum(file, request.module, request.version)
        if request.h1 is not None and h1 != request.h1:
            raise SyncError("served_other_content", f"{name}: the proxy's zip is {h1}, released is {request.h1}")
        return h1


def _check_info(proxy: GoProxy, request: VerifyRequest, name: str) -> str | None:
    info = proxy.info(request.module.text, request.version.text)
    if info.version != request.version.text:
        raise SyncError("served_other_version", f"{name}: the proxy's .info names version {info.version!r}")
    if info.commit is not None and info.commit != request.commit:
        raise SyncError(
            "served_other_commit", f"{name}: the proxy has commit {info.commit}, released is {request.commit}"
        )
    return info.commit


def _check_mod(proxy: GoProxy, request: VerifyRequest, name: str) -> None:
    digest = hashlib.sha256(proxy.mod(request.module.text, request.version.text)).hexdigest()
    if digest != request.go_mod_sha256:
        message = f"{name}: the proxy's .mod (sha256 {digest}) is not the released go.mod ({request.go_mod_sha256})"
        raise SyncError("served_other_content", message)
