"""What is not worked on now: everything, or a source, a module, a host. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken
from app.domain.run import Run


class PauseKind(StrEnum):
    """What a pause is about."""

    ALL = "all"
    SOURCE = "source"
    MODULE = "module"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Pause:
    """`value`: a source's name; a module path, with `*` at its end all that begin so; a host of clone URLs; "" for all."""

    kind: PauseKind
    value: str
    actor: str
    reason: str
    created_at: datetime

    @property
    def name(self) -> str:
        """`module go.corp.example/x`, or `all`."""
        return f"{self.kind} {self.value}".strip()

    def __str__(self) -> str:
        return f"paused: {self.name}, by {self.actor}" + (f": {self.reason}" if self.reason else "")

    def covers(self, run: Run) -> bool:
        """True when the run has to wait."""
        return self.covers_all(run.source, run.target.clone_url, [run.module])

    def covers_all(self, source: str, clone_url: str, modules: Collection[str]) -> bool:
        """True when nothing of a repository with these modules is to be worked on."""
        if self.kind is PauseKind.ALL:
            return True
        if self.kind is PauseKind.SOURCE:
            return source == self.value
        if self.kind is PauseKind.HOST:
            return self.value in hosts_of(clone_url)
        return bool(modules) and all(map(self._names, modules))

    def _names(self, module: str) -> bool:
        beginning = self.value.removesuffix("*")
        return module.startswith(beginning) if self.value.endswith("*") else module == self.value


@dataclass(frozen=True, slots=True)
class Parked:
    """A run that waits for the end of a pause, and what pauses are about."""

    id: str
    source: str
    module: str
    clone_url: str

    def is_held(self, pause: Pause) -> bool:
        """True while it has to wait for this one."""
        return pause.covers_all(self.source, self.clone_url, [self.module])


def covering(pauses: Iterable[Pause], run: Run) -> Pause | None:
    """The first pause that the run has to wait for; None when it may go on."""
    return next((pause for pause in pauses if pause.covers(run)), None)


def kept_value(kind: PauseKind, value: str) -> str:
    """The value as it is kept. Error: bad_request when the kind needs one, or has none."""
    value = value.strip()
    if (kind is PauseKind.ALL) == bool(value):
        raise SyncError(
            "bad_request", f"a pause of kind {kind} {'has no' if value else 'needs a'} value", field="value"
        )
    if len(value) > 500 or not value.isprintable():
        raise SyncError("bad_request", "the value is too long, or not printable", field="value")
    return value.lower() if kind is PauseKind.HOST else value


def check_value(kind: PauseKind, value: str) -> str:
    """As kept_value(), for a new pause. Error: bad_request also for one that would hold nothing."""
    return _CHECKED.get(kind, str)(kept_value(kind, value))


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise SyncError(
            "bad_request", "name the host alone, as git.corp.example or git.corp.example:8443", field="value"
        )
    return value


def _module(value: str) -> str:
    if value.endswith("/"):
        said = f"no module's path ends with a slash: {value}* are all below it"
        raise SyncError("bad_request", said, field="value")
    if "*" in value[:-1]:
        raise SyncError("bad_request", "a * stands at the end of a module's path, or nowhere", field="value")
    if not value.endswith("*"):
        _check_path(value)
    return value


def _check_path(value: str) -> None:
    try:
        ModulePath.parse(value)
    except RuleBroken as broken:
        raise SyncError("bad_request", f"no module can have this path: {broken}", field="value") from None


_HOST = re.compile(r"[^\s/@]+")
_CHECKED: Mapping[PauseKind, Callable[[str], str]] = {PauseKind.HOST: _host, PauseKind.MODULE: _module}


def hosts_of(url: str) -> tuple[str, ...]:
    """The host of a clone URL, and with its port where it has one; of `user@host:path`, too."""
    if "://" not in url:
        return (url.partition(":")[0].rpartition("@")[2].lower(),)
    parts = urlsplit(url)
    return (parts.hostname or "", parts.netloc.rpartition("@")[2].lower())
