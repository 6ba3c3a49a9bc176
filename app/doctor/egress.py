"""Which web proxy go takes for a URL, and what it makes of it: the rules of golang.org/x/net/http/httpproxy and net/http."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

_PORTS = {"https": 443, "http": 80}  # NO_PROXY=host:443 fits https://host
_EGRESS_PORTS = _PORTS | {"socks5": 1080, "socks5h": 1080}
# What Go's url.Parse takes, as far as it matters here: escapes that are none and odd characters in a password it refuses.
_URL = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:(?:[\w.~!$&'()*+,;=:@-]|%[0-9a-f]{2})*@)?(?:\[([0-9a-f:.]+)\]|[^][\s:/?#@%<>\"\\^`{|}]*)(?::\d*)?"
    r"(?:/(?:[^%?#]|%[0-9a-f]{2})*)?(?:\?[^#]*)?(?:#(?:[^%]|%[0-9a-f]{2})*)?",
    re.IGNORECASE | re.ASCII,
)


def egress_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The web proxy's URL (http:// where no scheme is given), or None: go connects itself. Loopback never goes out."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = environment.get(name) or environment.get(name.lower()) or ""
    if not proxy or _is_loopback(host) or _exempt(host, parts.port or _PORTS.get(parts.scheme), _no_proxy(environment)):
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
    if _is_url(proxy) and urlsplit(proxy).netloc:
        return proxy
    return f"http://{proxy}" if _is_url(f"http://{proxy}") else None


def _is_url(text: str) -> bool:
    """With an address in its brackets, if any."""
    match = _URL.fullmatch(text)
    return match is not None and (match[1] is None or _address(match[1]) is not None)


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
