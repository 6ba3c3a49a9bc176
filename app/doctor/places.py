"""URLs that people typed: parts of them that are safe to ask for, and whether go can make anything of the whole."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NOWHERE = SplitResult("", "", "", "", "")
# What Go's url.Parse takes, as far as it matters here: escapes that are none and odd characters in a password it refuses.
_URL = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:(?:[\w.~!$&'()*+,;=:@-]|%[0-9a-f]{2})*@)?"
    r"(?:\[([0-9a-f:.]+)(?:%25[^][\s/%]+)?\]|[^][\s:/?#@%<>\"\\^`{|}]*)(?::\d*)?"
    r"(?:/(?:[^%?#]|%[0-9a-f]{2})*)?(?:\?[^#]*)?(?:#(?:[^%]|%[0-9a-f]{2})*)?",
    re.IGNORECASE | re.ASCII,
)
_FILE = re.compile(r"file://((?:/(?:[^%?#]|%[0-9a-f]{2})*)?)", re.IGNORECASE | re.ASCII)


def parts_of(url: str) -> SplitResult:
    """urlsplit, with nothing in any part of what cannot be split, as with half a pair of brackets."""
    try:
        return urlsplit(url)
    except ValueError:
        return _NOWHERE


def port_in(url: str) -> int | None:
    """The port that is named; None for none, and for what is no port."""
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def is_url(text: str) -> bool:
    """Whether url.Parse takes it; with an address in its brackets, if any. The host may be empty, the port above 65535."""
    match = _URL.fullmatch(text)
    readable = match is not None and (match[1] is None or address_of(match[1]) is not None)
    return readable and parts_of(text) is not _NOWHERE


def is_server(url: str) -> bool:
    """Whether there is a host in it that go can connect to by http or https, and no port that cannot be."""
    return is_url(url) and parts_of(url).scheme in ("http", "https") and has_place(url)


def has_place(url: str) -> bool:
    """Whether host and port can be told, by whatever scheme."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return bool(parts_of(url).hostname)


def directory_of(url: str) -> str | None:
    """The directory of a `file://` URL as go takes them, with a path and nothing else; None of any other."""
    match = _FILE.fullmatch(url)
    return (unquote(match[1]) or "/") if match else None


def address_of(text: str) -> Address | None:
    """The IP address that a host is; None of a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
