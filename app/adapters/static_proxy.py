"""A private proxy that is only files: modsync writes them in GOPROXY layout, nginx or `file://` serves them.

Each file appears whole or not at all (written aside, synced, renamed), and in an order in which nobody is told of
what is not there yet: zip, mod, info, then list and @latest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from app.adapters import drafts
from app.adapters.git_errors import from_os
from app.adapters.go_proxy_answers import parse_info, parse_list
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.ports import Checkpoint, ProxyInfo

_LOCK = ".modsync.lock"
_BEAT, _PATIENCE = 1.0, 5.0  # seconds: how often the checkpoint is asked, and how long others may write


class StaticProxy:
    """Implements ports.StaticFiles on a directory."""

    def __init__(self, directory: Path) -> None:
        self._root = directory

    def info(self, module: ModulePath, version: Version) -> ProxyInfo:
        """See ports.GoProxy. Error: proxy_not_goproxy when somebody wrote something else there."""
        file = self._file(module, version, "info")
        parsed = parse_info(_read(file))
        if isinstance(parsed, str):
            raise SyncError("proxy_not_goproxy", f"{file}: {parsed}")
        return parsed

    def mod(self, module: ModulePath, version: Version) -> bytes:
        """See ports.GoProxy."""
        return _read(self._file(module, version, "mod"))

    @contextmanager
    def zip(self, module: ModulePath, version: Version, checkpoint: Checkpoint = lambda: None) -> Iterator[BinaryIO]:  # noqa: ARG002
        """See ports.GoProxy: the file itself."""
        file = self._file(module, version, "zip")
        if not file.is_file():
            raise _missing(file)
        with file.open("rb") as opened:
            yield opened

    def list(self, module: ModulePath) -> Sequence[str] | None:
        """See ports.GoProxy."""
        file = self._folder(module) / "@v" / "list"
        return parse_list(file.read_bytes()) if file.is_file() else None

    def latest(self, module: ModulePath) -> ProxyInfo | None:
        """See ports.GoProxy."""
        file = self._folder(module) / "@latest"
        parsed = parse_info(file.read_bytes()) if file.is_file() else None
        return None if isinstance(parsed, str) else parsed

    def publish(
        self, module: ModulePath, version: Version, info: Callable[[], bytes], mod: Callable[[], bytes],
        write_zip: Callable[[BinaryIO], None], checkpoint: Checkpoint, fence: Checkpoint,
    ) -> None:  # fmt: skip
        """See ports.StaticFiles. Errors: disk_full, git_failed (the directory cannot be written), what `write_zip` raises."""
        with ExitStack() as held:

            def write_and_hold(file: BinaryIO) -> None:
                write_zip(file)
                held.enter_context(self._alone(checkpoint))
                fence()  # whoever was overtaken while it packed must not put old content over new

            try:
                self._put(self._file(module, version, "zip"), write_and_hold)
                self._put(self._file(module, version, "mod"), _writing(mod()))
                self._put(self._file(module, version, "info"), _writing(info()))
                self._announce(module)
            except OSError as error:
                raise from_os(error, f"the static proxy's directory {self._root.name}") from error

    @contextmanager
    def _alone(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Hold the directory's lock, which is gone with whoever held it; no soft one as a substitute. Error: cache_busy."""
        lock, until = FileLock(self._root / _LOCK, fallback_to_soft=False), time.monotonic() + _PATIENCE
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_BEAT)
            except Timeout:
                checkpoint()
                if time.monotonic() > until:
                    raise SyncError("cache_busy", f"another run writes {self._root.name}, the static proxy") from None
        try:
            yield
        finally:
            lock.release()

    def _announce(self, module: ModulePath) -> None:
        """Write list and @latest from what is there, under the lock: two at once lose nothing."""
        folder = self._folder(module)
        versions = sorted(filter(None, map(_listed, (folder / "@v").glob("*.info"))))
        self._put(folder / "@v" / "list", _writing("".join(f"{each}\n" for each in versions).encode()))
        latest = max((each for each in versions if not each.prerelease), default=None) or max(versions, default=None)
        if latest:
            self._put(folder / "@latest", _writing(self._file(module, latest, "info").read_bytes()))

    def sweep(self) -> Sequence[str]:
        """Remove what killed workers left half written; the names. Raises OSError."""
        return drafts.sweep(self._root)

    def _put(self, file: Path, write: Callable[[BinaryIO], None]) -> None:
        drafts.put(self._root, file, write)

    def _folder(self, module: ModulePath) -> Path:
        return self._root / module.escaped

    def _file(self, module: ModulePath, version: Version, kind: str) -> Path:
        return self._folder(module) / "@v" / f"{version.escaped}.{kind}"


def _listed(info: Path) -> Version | None:
    """The version that a file is of; None for a pseudo-version, which list never names, and for strange files."""
    try:
        version = Version.unescape(info.name.removesuffix(".info"))
    except RuleBroken:
        return None
    return None if version.is_pseudo else version


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise _missing(file) from None


def _missing(file: Path) -> SyncError:
    return SyncError("not_cached_yet", f"the static proxy has no {file.parent.parent.name}/@v/{file.name}")


def _writing(data: bytes) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(data)

    return write
