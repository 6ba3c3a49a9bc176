"""Which addresses a source's host name may stand for, and the pin that makes git use exactly those.

A name on the allow-list that resolves to this machine or to a cloud's metadata service would let whoever answers for the
name read what only this machine may read. Private networks are where a company's git hosts are: they are allowed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from app.domain.errors import SyncError
from app.domain.urls import embedded

_PORTS = {"https": 443, "http": 80, "ssh": 22}
# Metadata services outside the link-local networks: of AWS, Google, Oracle and Scaleway over IPv6; Alibaba, Oracle, Azure.
_METADATA = frozenset(map(ipaddress.ip_address, (
    "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "100.100.100.200", "192.0.0.192", "168.63.129.16",
)))  # fmt: skip
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Resolver(Protocol):
    """Finds a name's addresses."""

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """IP addresses in the order in which they should be tried. Raises OSError when there is none."""
        ...


class SystemResolver:
    """The machine's own resolver (/etc/hosts, DNS)."""

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """See Resolver."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


@dataclass(frozen=True, slots=True)
class Pin:
    """A host and the addresses that it stands for, during one git command."""

    host: str
    port: int
    addresses: tuple[str, ...]
    scheme: str

    @property
    def curl(self) -> str:
        """The value of http.curloptResolve."""
        return f"{self.host}:{self.port}:{','.join(_bracketed(each) for each in self.addresses)}"

    @property
    def ssh(self) -> list[str]:
        """Options for ssh: the address to connect to, and the name that its key is known by."""
        alias = self.host if self.port == _PORTS["ssh"] else f"[{self.host}]:{self.port}"
        return [f"-oHostName={self.addresses[0]}", f"-oHostKeyAlias={alias}"]


def pin(url: str, resolver: Resolver) -> Pin | None:
    """The pin for a URL; None where there is nothing to resolve (file://).

    Errors: clone_url_refused when one of the addresses is this machine's, link-local or a metadata service's;
    source_unreachable when the name has none.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    port = parts.port or _PORTS[parts.scheme]
    try:
        found = tuple(resolver.addresses(parts.hostname, port))
    except (OSError, UnicodeError) as error:
        raise SyncError("source_unreachable", f"the name {parts.hostname} is not known: {_why(error)}") from error
    if not found:
        raise SyncError("source_unreachable", f"the name {parts.hostname} has no address")
    if any(map(is_inside, found)):
        raise SyncError(
            "clone_url_refused", f"{parts.hostname} stands for this machine or a metadata service", field="repo_url"
        )
    return Pin(parts.hostname, port, found, parts.scheme)


def checked_addresses(url: str, resolver: Resolver) -> tuple[str, ...]:
    """Those of an http or https URL's host. Errors: as pin()."""
    found = pin(url, resolver)
    return found.addresses if found else ()


def is_inside(text: str) -> bool:
    """True for loopback, link-local, unspecified, multicast and metadata addresses, however they are written."""
    address = ipaddress.ip_address(text)
    return any(_is_inside(each) for each in (address, *embedded(address)))


def _is_inside(address: Address) -> bool:
    return (
        address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
        or address in _METADATA or (address.version == 4 and int(address) >> 24 == 0)
    )  # fmt: skip


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__) if isinstance(error, OSError) else "not a name"
