"""A Go module proxy in memory for tests of the services: passes test_go_proxy_contract.py as the real adapter does."""

from __future__ import annotations

import builtins
import io
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.ports import Checkpoint, ProxyInfo


@dataclass
class Held:
    """What the proxy holds of one version."""

    info: ProxyInfo
    mod: bytes
    zip: bytes


@dataclass
class FakeGoProxy:
    """ports.GoProxy over a dictionary: hold() puts a version there, fail() makes the next calls of a method fail.

    `calls` lists (method, module, version). `unlisted` versions are served but not in `list`; `latest_is` is what
    `@latest` says whatever is held.
    """

    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    calls: builtins.list[tuple[str, str, str]] = field(default_factory=builtins.list)
    unlisted: set[str] = field(default_factory=set)
    latest_is: ProxyInfo | None = None
    _failures: dict[str, deque[SyncError]] = field(default_factory=lambda: defaultdict(deque))

    def hold(self, module: str, info: ProxyInfo, mod: bytes, zip_bytes: bytes, *, version: str = "") -> None:
        """Serve these for `version` (default: the one that `info` says)."""
        self.held[module, version or info.version] = Held(info, mod, zip_bytes)

    def fail(self, method: str, *errors: SyncError) -> None:
        """The next calls of `method` raise these, one each."""
        self._failures[method].extend(errors)

    def info(self, module: ModulePath, version: Version) -> ProxyInfo:
        return self._held("info", module.text, version.text).info

    def mod(self, module: ModulePath, version: Version) -> bytes:
        return self._held("mod", module.text, version.text).mod

    @contextmanager
    def zip(self, module: ModulePath, version: Version, checkpoint: Checkpoint = lambda: None) -> Iterator[BinaryIO]:
        checkpoint()
        with io.BytesIO(self._held("zip", module.text, version.text).zip) as file:
            yield file

    def list(self, module: ModulePath) -> Sequence[str] | None:
        self._enter("list", module.text, "v0.0.0")
        held = [version for name, version in self.held if name == module.text]
        return [version for version in held if version not in self.unlisted] if held else None

    def latest(self, module: ModulePath) -> ProxyInfo | None:
        self._enter("latest", module.text, "v0.0.0")
        held = [each.info for (name, _), each in self.held.items() if name == module.text]
        highest = max(held, key=lambda info: Version(info.version), default=None)
        return self.latest_is or highest

    def _held(self, method: str, module: str, version: str) -> Held:
        self._enter(method, module, version)
        found = self.held.get((module, version))
        if found is None:
            raise SyncError("not_cached_yet", f"proxy fake, .{method} of {module}@{version}: 404, not found")
        return found

    def _enter(self, method: str, module: str, version: str) -> None:
        self.calls.append((method, module, version))
        if self._failures[method]:
            raise self._failures[method].popleft()
