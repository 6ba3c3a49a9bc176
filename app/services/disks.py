"""The disks of all hosts, fullest first, for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.services.standing import HostReport
from app.services.views import View
from app.services.words import size

_LEAST_FREE, _LEAST_SHARE = 2 << 30, 0.05
SHOWN = 3
"""Disks that are shown although they have room; those that fill are shown, however many."""


@dataclass(frozen=True, slots=True)
class HostDisk(View):
    """A host's disk, in bytes. `cache_bytes`: of its caches, None where no worker told of any; `full`: it wants room."""

    host: str
    free_bytes: int
    size_bytes: int
    floor_bytes: int
    cache_bytes: int | None
    full: bool

    @property
    def text(self) -> str:
        """`3.1 GB free of 40 GB on worker-1, caches take 1.2 GB`."""
        caches = "" if self.cache_bytes is None else f", caches take {size(self.cache_bytes)}"
        return f"{size(self.free_bytes)} free of {size(self.size_bytes)} on {self.host}{caches}"


def disks(hosts: Mapping[str, HostReport]) -> tuple[HostDisk, ...]:
    """Those that want room first, then by the share that is free."""
    return tuple(sorted((_disk(name, each) for name, each in hosts.items()), key=_fullest))


def shown(found: tuple[HostDisk, ...]) -> tuple[HostDisk, ...]:
    """The first of them: all that want room, and SHOWN in any case."""
    return found[: max(SHOWN, sum(each.full for each in found))]


def _disk(name: str, told: HostReport) -> HostDisk:
    least = max(_LEAST_FREE, told.floor_bytes, _LEAST_SHARE * told.disk_bytes)
    return HostDisk(
        name, told.free_bytes, told.disk_bytes, told.floor_bytes, told.cache_bytes, told.free_bytes < least
    )  # fmt: skip


def _fullest(disk: HostDisk) -> tuple[bool, float, str]:
    return not disk.full, disk.free_bytes / max(disk.size_bytes, 1), disk.host
