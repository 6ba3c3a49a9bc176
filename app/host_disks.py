"""What is known of the hosts' disks: this one's is looked at, those with workers tell. Part of the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.adapters.cache_budget import disk
from app.bootstrap import Container
from app.bootstrap_doors import host
from app.bootstrap_sources import gigabytes
from app.services.standing import HostReport


def with_own(parts: Container, hosts: Mapping[str, HostReport]) -> dict[str, HostReport]:
    """This host's disk is looked at now; its workers, if it has any, told of its caches. Error: OSError."""
    settings, own = parts.settings, host()
    free, size = disk(settings.data_dir)
    limits = settings.limits
    floor, most = gigabytes(limits.min_free_gigabytes), gigabytes(limits.cache_gigabytes)
    told = hosts.get(own, HostReport(free, size, floor, most))
    return {**hosts, own: replace(told, free_bytes=free, disk_bytes=size)}
