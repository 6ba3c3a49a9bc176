"""Which web proxy go takes for a URL: the rules of golang.org/x/net/http/httpproxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}  # NO_PROXY=host:443 fits https://host


def egress_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The web proxy's URL (http:// where no scheme is given), or None: go connects itself. Loopback never goes out."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = environment.get(name) or environment.get(name.lower()) or ""
    if not proxy or _is_loopback(host) or _exempt(host, parts.port or _PORTS.get(parts.scheme), _no_proxy(environment)):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _no_proxy(environment: Mapping[str, str]) -> str:
    return environment.get("NO_PROXY") or environment.get("no_proxy") or ""


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _exempt(host: str, port: int | None, no_proxy: str) -> bool:
    return any(_fits(host, port, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _fits(host: str, port: int | None, entry: str) -> bool:
    """`*`, a CIDR block, an address, or a domain with everything below it; a leading dot means only what is below."""
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        return address is not None and _in_block(address, entry)
    name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    if wanted and wanted != str(port or ""):
        return False
    if address is not None:
        return address == _address(name)
    domain = name.removeprefix("*").lstrip(".")
    return host.endswith("." + domain) or (host == domain and not name.startswith((".", "*")))


def _in_block(address: ipaddress.IPv4Address | ipaddress.IPv6Address, block: str) -> bool:
    try:
        return address in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
