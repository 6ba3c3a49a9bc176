"""Which web proxy go takes for a URL, and what it makes of it: the rules of golang.org/x/net/http/httpproxy and net/http."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from app.doctor.places import Address, address_of, has_place, is_url, parts_of, port_in

_PORTS = {"https": 443, "http": 80}  # NO_PROXY=host:443 fits https://host
_EGRESS_PORTS = _PORTS | {"socks5": 1080, "socks5h": 1080}
# net.SplitHostPort: an address of IPv6 has a port only behind brackets.
_HOST_PORT = re.compile(r"\[([^][]*)\]:([^][:]*)|([^][:]*):([^][:]*)")


def egress_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The web proxy's URL (http:// where no scheme is given), or None: go connects itself, as always to loopback."""
    parts = parts_of(url)
    host = parts.hostname or ""
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = environment.get(name) or environment.get(name.lower()) or ""
    port = str(port_in(url) or _PORTS.get(parts.scheme) or "")
    if not proxy or not has_place(url) or _is_loopback(host) or _exempt(host, port, _no_proxy(environment)):
        return None
    return _as_go_reads(proxy)


def is_socks(egress: str) -> bool:
    """Whether it speaks SOCKS5; go treats both schemes alike, and any that it does not know as http."""
    return urlsplit(egress).scheme in ("socks5", "socks5h")


def reads_requests(url: str, egress: str | None) -> bool:
    """Whether the web proxy takes the request itself, and may answer in the server's place: plain http, but by SOCKS."""
    return egress is not None and urlsplit(url).scheme == "http" and not is_socks(egress)


def place_of(egress: str) -> tuple[str, int]:
    """Host and port that go connects to. The port may be none that there is."""
    parts = urlsplit(egress)
    _, _, port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")
    return parts.hostname or "", int(port) if port else _EGRESS_PORTS.get(parts.scheme, 0)


def joined(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def login_of(egress: str) -> tuple[str, str] | None:
    """User and password; either may be empty."""
    parts = urlsplit(egress)
    return None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


def masked(egress: str, scheme: str = "", *, login: bool = False) -> str:
    """Its URL to show, with USER:PASSWORD for what is secret, or in any case (`login`); with another scheme, if one is given."""
    pair = "USER:PASSWORD@" if login or "@" in urlsplit(egress).netloc else ""
    return f"{scheme or urlsplit(egress).scheme}://{pair}{joined(*place_of(egress))}"


def _as_go_reads(proxy: str) -> str | None:
    """None where go can make no URL of it, and so uses no proxy. `http://u:p#w@host` is a host named http, for go."""
    if is_url(proxy) and urlsplit(proxy).netloc:
        return proxy
    return f"http://{proxy}" if is_url(f"http://{proxy}") else None


def _no_proxy(environment: Mapping[str, str]) -> str:
    return environment.get("NO_PROXY") or environment.get("no_proxy") or ""


def _is_loopback(host: str) -> bool:
    address = _ip(host.partition("%")[0])
    return host == "localhost" or (address is not None and address.is_loopback)


def _exempt(host: str, port: str, no_proxy: str) -> bool:
    address = _ip(host.partition("%")[0])
    return any(_fits(host, address, port, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _fits(host: str, address: Address | None, port: str, entry: str) -> bool:
    """`*`, a CIDR block, an address, or a domain with everything below it; a leading `.` or `*.` means what is below alone.

    In Go's order: what is no block and no address is a domain, which fits no address.
    """
    if entry == "*":
        return True
    if block := _block(entry):
        return address is not None and address in block
    split = _HOST_PORT.fullmatch(entry)
    name, wanted = (split[1] or split[3] or "", split[2] or split[4] or "") if split else (entry, "")
    if not name or wanted not in ("", port):
        return False
    named = None if "%" in name else _ip(name)
    return address == named if address or named else _is_below(host, name)


def _is_below(host: str, name: str) -> bool:
    domain = name.removeprefix("*") if name.startswith("*.") else name
    return host.endswith(domain) if domain.startswith(".") else f".{host}".endswith(f".{domain}")


def _block(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Of a CIDR block; its size is a number of bits, and no mask."""
    if not re.fullmatch(r"[^/]+/\d+", entry, re.ASCII):
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _ip(text: str) -> Address | None:
    """An IPv4 address written as one of IPv6 is the same one, for Go."""
    address = address_of(text)
    return getattr(address, "ipv4_mapped", None) or address
