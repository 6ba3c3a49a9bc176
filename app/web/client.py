"""Who asks, behind proxies: X-Forwarded-For is believed as far as [web] trusted_proxies wrote it, and no header else."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from flask import request

from app.web.context import container

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")
_PORT = re.compile(r"\[(.*)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
_SITE_BITS = 64  # what one customer is given of IPv6: whoever has one address there has them all


def address() -> str:
    """The address for records; "" where there is none."""
    return str(_client() or _peer() or "")


def counted() -> str:
    """What failures are counted by: the address, of IPv6 the /64 that it is in."""
    return _site(_client() or _peer())


def sure() -> str:
    """The same, but "" where a proxy that is not trusted stands between."""
    return _site(_client())


def _site(found: Address | None) -> str:
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found) >> _SITE_BITS << _SITE_BITS, _SITE_BITS)))
    return str(found or "")


def is_in(networks: Sequence[Network]) -> bool:
    """True when the address is known for sure and in one of the networks."""
    found = _client()
    return found is not None and any(found in network for network in networks)


def _client() -> Address | None:
    """None where a proxy that is not trusted passed the request on, or a trusted one wrote what is no address."""
    peer = _peer()
    if peer is None or not any(name in request.headers for name in _FORWARDED):
        return peer
    trusted = container().settings.web.trusted_proxies
    if not _among(peer, trusted):
        return None
    return _through([part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")], trusted)


def _through(entries: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The last entry that no trusted proxy has; each proxy writes behind what it was sent, which anybody may make up."""
    found: Address | None = None
    for entry in reversed(entries):
        found = parsed(entry)
        if found is None or not _among(found, trusted):
            return found
    return found


def _peer() -> Address | None:
    return parsed(request.remote_addr or "")


def _among(found: Address, networks: Sequence[Network]) -> bool:
    return any(found in network for network in networks)


def parsed(text: str) -> Address | None:
    """An address, with or without a port; an IPv4 address that came by an IPv6 socket is one of IPv4."""
    bare = _PORT.fullmatch(text)
    try:
        found = ipaddress.ip_address((bare[1] or bare[2]) if bare else text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
