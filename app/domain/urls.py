"""Clone URLs: one strict parser, and the allow-list that every clone URL must pass.

The parser takes less than git does on purpose: what it takes means the same to git, to curl and to us.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.domain.errors import SyncError
from app.domain.wildcards import PathPattern

LONGEST = 1000
_PORTS = {"https": 443, "http": 80, "ssh": 22, "file": None}
_SAFE = frozenset({"https", "ssh"})
_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>[^@/]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/@\[\]]*)(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?"
)
_SCP_LIKE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~+@,=!-]|%[0-9A-Fa-f]{2})+")
_ENCODED = re.compile(r"%(?:2[ef5]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)  # . / % \ and control characters
# Whose last 32 bits are an IPv4 address: NAT64's own prefix, its local ones, and IPv4-translated addresses.
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
_LOCAL_NAMES = re.compile(r"(?:.*\.)?localhost(?:\.localdomain)?")


def refused(why: str) -> SyncError:
    """The error for a clone URL; `why` never holds the URL, which may carry credentials."""
    return SyncError("clone_url_refused", f"the clone URL {why}", field="repo_url")


@dataclass(frozen=True, slots=True)
class CloneUrl:
    """A clone URL in its one form: lower-case scheme and host, `port` None where it is the scheme's, path from `/`.

    `user` is the login of ssh (usually "git"), else "". A password never gets here.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    user: str = ""

    @classmethod
    def parse(cls, text: str, *, sandbox: bool = False) -> CloneUrl:
        """Parse, or raise SyncError("clone_url_refused"); `sandbox` also takes http, file and loopback."""
        shape = _shape(text)
        scheme = shape["scheme"].lower()
        if scheme not in (_PORTS if sandbox else _SAFE):
            raise refused("is neither https:// nor ssh://")
        host = _host(shape["host"], scheme)
        if not sandbox and is_local(host):
            raise refused("names an address inside the machine or the private network")
        return cls(scheme, host, _port(shape["port"], scheme), _path(shape["path"]), _user(shape["user"], scheme))

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{self.host}{port}{self.path}"


def allowed(url: CloneUrl | str, allow_list: Sequence[str], *, sandbox: bool = False) -> bool:
    """True when a pattern of the list permits the URL; an empty list permits nothing. Never raises for the URL.

    Patterns are clone URLs in whose host a leading `*.` stands for exactly one label, and in whose path `*` stands for
    anything within a segment and `**` (a whole segment) for any number of segments.
    """
    try:
        parsed = CloneUrl.parse(url, sandbox=sandbox) if isinstance(url, str) else url
    except SyncError:
        return False
    return any(AllowPattern.parse(pattern).permits(parsed) for pattern in allow_list)


def whose(url: str, lists: Mapping[str, Sequence[str]], *, sandbox: bool = False) -> str | None:
    """The name of the allow-list that is meant for this URL: the first that permits it, else the first with its host."""
    try:
        parsed = CloneUrl.parse(url, sandbox=sandbox)
    except SyncError:
        return None
    patterns = {name: [AllowPattern.parse(pattern) for pattern in patterns] for name, patterns in lists.items()}
    exact = (name for name, found in patterns.items() if any(each.permits(parsed) for each in found))
    near = (name for name, found in patterns.items() if any(each.covers_host(parsed) for each in found))
    return next(exact, None) or next(near, None)


@dataclass(frozen=True, slots=True)
class AllowPattern:
    """One entry of an allow-list; `host` is a full-match expression, `user` "" permits any login."""

    scheme: str
    host: re.Pattern[str]
    port: int | None
    path: PathPattern
    user: str

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> AllowPattern:
        """Parse a pattern. ValueError: what is wrong with it."""
        try:
            return _pattern(text)
        except SyncError as error:
            raise ValueError(error.message.removeprefix("the clone URL ")) from None

    def permits(self, url: CloneUrl) -> bool:
        """True when the URL is covered."""
        return self.covers_host(url) and self.path.matches(url.path)

    def covers_host(self, url: CloneUrl) -> bool:
        """True when all but the path is covered."""
        same = (self.scheme, self.port) == (url.scheme, url.port) and self.user in ("", url.user)
        return same and self.host.fullmatch(url.host) is not None


def is_local(host: str) -> bool:
    """True for loopback, link-local, private and other not public literal addresses, and for names of this machine."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "" or _LOCAL_NAMES.fullmatch(host) is not None
    inner = embedded(address)
    return any(not each.is_global or each.is_multicast for each in (address, *inner))


def embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for (mapped, compatible, translated, 6to4, Teredo, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in each for each in _TRANSLATED) or int(address) < 1 << 32:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


def _shape(text: str) -> dict[str, str]:
    """The parts as they are written."""
    if len(text) > LONGEST or not text.isascii() or not text.isprintable() or re.search(r"[\s\\?#\"'<>`|^]", text):
        raise refused("is too long, or holds characters, a query or a fragment that do not belong there")
    if _SCP_LIKE.match(text):
        raise refused("has the short form of ssh: write ssh://git@host/path instead")
    if (match := _SHAPE.fullmatch(text)) is None:
        raise refused("is not a URL")
    return {name: value or "" for name, value in match.groupdict().items()}


def _host(text: str, scheme: str) -> str:
    host = text.lower()
    if scheme == "file":
        if host:
            raise refused("is a file:// URL with a host")
        return host
    if host.startswith("["):
        return _address(ipaddress.IPv6Address, host.strip("[]"), "[{}]")
    if _NUMERIC_END.fullmatch(host):  # 127.1, 0x7f000001 and 017700000001 are addresses to curl
        return _address(ipaddress.IPv4Address, host, "{}")
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise refused("has no legal host name")
    return host


def _address(kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address], text: str, form: str) -> str:
    try:
        return form.format(kind(text))
    except ValueError:
        raise refused("has no legal host address") from None


def _port(text: str, scheme: str) -> int | None:
    if not text:
        return None
    port = int(text)
    if scheme == "file" or not 0 < port < 65536:
        raise refused("has no legal port")
    return None if port == _PORTS[scheme] else port


def _user(text: str, scheme: str) -> str:
    if not text:
        return ""
    if scheme != "ssh" or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise refused("carries a user name or a password: leave them out")
    return text


def _path(text: str) -> str:
    segments = text.removesuffix("/").split("/")[1:]
    if not segments:
        raise refused("has no path")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or _ENCODED.search(segment):
            raise refused("has an empty path segment, or characters that do not belong in one")
        if segment in (".", "..") or segment.startswith("-"):
            raise refused("has a path segment that is . or .. or starts with a dash")
    return "/" + "/".join(segments)


def _pattern(text: str) -> AllowPattern:
    """The parsed pattern, read as a URL with plain words in place of its wildcards."""
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    wild = authority.startswith("*.")
    plain = f"{scheme}{separator}{authority.removeprefix('*.')}{slash}"
    base = CloneUrl.parse(f"{plain}{path.replace('*', 'x') or 'x'}", sandbox=True)
    if wild and is_local(base.host):
        raise ValueError("has a wildcard before an address")
    if not path:
        raise ValueError("has no path: end it with /** to permit all of them")
    host = re.compile((rf"{_LABEL}\." if wild else "") + re.escape(base.host))
    return AllowPattern(base.scheme, host, base.port, _path_pattern(path), base.user)


def _path_pattern(path: str) -> PathPattern:
    segments = path.removesuffix("/").split("/")
    if any("**" in segment and segment != "**" for segment in segments):
        raise ValueError("has ** beside other characters: it stands for whole segments")
    return PathPattern.parse(path)
