"""go's settings as the doctor sees them, and go's rules for GOPROXY lists and module patterns (module.MatchPrefixPatterns)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.doctor.places import directory_of, is_server, parts_of

DEFAULTS: Mapping[str, str] = {
    "GOPROXY": "https://proxy.golang.org,direct",
    "GOSUMDB": "sum.golang.org",
    "GOAUTH": "netrc",
}
NAMES = (
    "GOPROXY",
    "GOPRIVATE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOSUMDB",
    "GOFLAGS",
    "GOINSECURE",
    "GOAUTH",
    "GOVCS",
    "GOVERSION",
    "GOTOOLCHAIN",
    "GOHOSTOS",
    "GOHOSTARCH",
    "GOMODCACHE",
)
# Anybody's proxies, by host, or by host and path where the host has other things, too.
PUBLIC_PROXIES = frozenset(
    {
        "proxy.golang.org",
        "proxy.golang.com.cn",
        "goproxy.cn",
        "goproxy.io",
        "mirrors.aliyun.com/goproxy",
        "athens.azurefd.net",
    }
)
PUBLIC_HOSTS = frozenset({"proxy.golang.org", "sum.golang.org", "go.dev", "golang.org"})

_USER = re.compile(r"^(\s*(?:[A-Za-z][A-Za-z0-9+.-]*://)?)[^/]*@")


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of GOPROXY: a URL, `direct` or `off`; `any_error`: the separator after it was a `|`.

    Of a URL that go cannot work with (`fault`) scheme and host are empty.
    """

    text: str
    any_error: bool = False

    @property
    def is_url(self) -> bool:
        """Neither `direct` nor `off`."""
        return self.text not in ("direct", "off")

    @property
    def url(self) -> str:
        """The URL go uses: https where no scheme was given, without a final slash."""
        return self._whole.rstrip("/")

    @property
    def _whole(self) -> str:
        bare = any(sign in self.text for sign in ".:/") and ":/" not in self.text and not self.text.startswith("/")
        return "https://" + self.text if bare else self.text

    @property
    def fault(self) -> str:
        """Why go can ask nothing there, in words; empty: it can."""
        scheme = parts_of(self._whole).scheme
        if directory_of(self._whole) is not None or is_server(self._whole):
            return ""
        if scheme == "file":
            return "after file:// only an absolute path may stand"
        if scheme in ("http", "https"):
            return "its host, its port or what stands beside them cannot be"
        return "it is no URL by http, https or file"

    @property
    def scheme(self) -> str:
        """`https`, `http` or `file`."""
        return "" if self.fault else parts_of(self._whole).scheme

    @property
    def host(self) -> str:
        """The host's name, lower case, without port."""
        return "" if self.fault else parts_of(self._whole).hostname or ""

    @property
    def directory(self) -> str | None:
        """What a `file` URL names."""
        return directory_of(self._whole)

    @property
    def is_public(self) -> bool:
        """Whether everybody's proxy is meant."""
        return bool({self.host, self.host + parts_of(self.url).path} & PUBLIC_PROXIES)

    @property
    def is_company(self) -> bool:
        """Any other proxy that is asked over the network."""
        return self.is_url and self.scheme in ("http", "https") and not self.is_public


@dataclass(frozen=True, slots=True)
class GoSettings:
    """`values`: NAMES as `go env` has them. `environment`: the process's variables. `private`: patterns the user named.

    `refused`: what go says of a GOFLAGS that it cannot work with, else "".
    """

    values: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    private: tuple[str, ...] = ()
    refused: str = ""

    def __getitem__(self, name: str) -> str:
        return self.values.get(name) or DEFAULTS.get(name, "")

    @property
    def entries(self) -> tuple[Entry, ...]:
        """GOPROXY up to and with the first `direct` or `off`, as go reads it; empty when it has no entries."""
        return parse_goproxy(self["GOPROXY"])

    @property
    def no_proxy(self) -> tuple[str, ...]:
        """The patterns that go fetches directly: GONOPROXY, else GOPRIVATE; empty for `none`."""
        return patterns(self.values.get("GONOPROXY") or self["GOPRIVATE"])

    @property
    def no_sumdb(self) -> tuple[str, ...]:
        """The patterns whose checksums go does not ask for: GONOSUMDB, else GOPRIVATE."""
        return patterns(self.values.get("GONOSUMDB") or self["GOPRIVATE"])

    @property
    def private_patterns(self) -> tuple[str, ...]:
        """Every pattern that some setting, or the user, calls private; not the ones that mean everything."""
        named = (*self.private, *bare((*patterns(self["GOPRIVATE"]), *self.no_proxy, *self.no_sumdb)))
        return tuple(dict.fromkeys(pattern for pattern in named if not is_too_wide(pattern)))

    def set_command(self, name: str, value: str) -> str:
        """The command that sets a variable: `go env -w` cannot override the environment, and with GOENV=off is not read."""
        text = f"{name}={shlex.quote(value)}"
        return f"export {text}" if self._is_exported(name) else f"go env -w {text}"

    def unset_command(self, name: str) -> str:
        """The command that takes a variable back to its default."""
        return f"unset {name}" if self._is_exported(name) else f"go env -u {name}"

    def _is_exported(self, name: str) -> bool:
        return bool(self.environment.get(name)) or self.environment.get("GOENV") == "off"


def parse_goproxy(text: str) -> tuple[Entry, ...]:
    """The entries of a GOPROXY value; go stops reading after `direct` and `off`."""
    entries: list[Entry] = []
    for found in re.finditer(r"([^,|]*)([,|]?)", text):
        name = found[1].strip()
        if name:
            entries.append(Entry(name, found[2] == "|"))
        if name in ("direct", "off"):
            break
    return tuple(entries)


def goproxy_text(entries: Iterable[Entry]) -> str:
    """A GOPROXY value of these entries without credentials, where each passes on what it does not have only."""
    return ",".join(_USER.sub(r"\1", entry.text) for entry in entries)


def shown_goproxy(text: str) -> str:
    """A GOPROXY value without the credentials in it, also of entries without a scheme."""
    return re.sub(r"[^,|]+", lambda found: _USER.sub(r"\1***@", found[0]), text)


def patterns(text: str) -> tuple[str, ...]:
    """The comma-separated patterns with their blanks, as go has them; without empty ones and `none`, which fit nothing."""
    return tuple(pattern for pattern in text.split(",") if pattern.strip() not in ("", "none"))


def bare(globs: Iterable[str]) -> tuple[str, ...]:
    """The patterns as they are meant: go takes a blank before or behind one for a part of the name."""
    return tuple(glob.strip() for glob in globs)


def matches(pattern: str, path: str) -> bool:
    """Whether the pattern fits a prefix of the module path, element by element."""
    glob = pattern.rstrip("/")
    elements = path.split("/")
    depth = glob.count("/") + 1
    return len(elements) >= depth and bool(_expression(glob).fullmatch("/".join(elements[:depth])))


def matches_any(globs: Iterable[str], path: str) -> bool:
    """Whether any pattern fits."""
    return any(matches(glob, path) for glob in globs)


def covered(pattern: str, by: Iterable[str]) -> bool:
    """Whether modules that `pattern` means are meant by one of the others, too."""
    others = tuple(by)
    return pattern in others or matches_any(others, re.sub(r"[*?]", "x", pattern))


# Hosts with modules of everybody, and paths there that are nobody's.
_OF_EVERYBODY = tuple(
    host + path
    for host in (
        "github.com",
        "gitlab.com",
        "bitbucket.org",
        "codeberg.org",
        "golang.org",
        "gopkg.in",
        "google.golang.org",
    )
    for path in ("", "/modsync-nobody/x")
)


def is_too_wide(pattern: str) -> bool:
    """Whether the pattern means modules of everybody: `*`, a whole code host, or a top-level domain of them."""
    return any(matches(pattern, path) for path in _OF_EVERYBODY)


def shown(url: str) -> str:
    """The URL, or text with URLs, without passwords; over http(s) a name alone may be a token, so names go, too."""
    hidden = re.sub(r"(?i)(https?://)[^/\s,|]*@", r"\1***@", url)
    return re.sub(r"(://[^/@:\s]*:)[^/\s,|]*@", r"\1***@", hidden)


def _expression(glob: str) -> re.Pattern[str]:
    """path.Match as a regular expression: `*` and `?` stop at slashes."""
    if glob.count("[") != glob.count("]"):
        return re.compile(r"(?!)")  # malformed: go takes it for a pattern that fits nothing
    parts = re.findall(r"\[[^\]]*\]|.", glob)
    said = {"*": "[^/]*", "?": "[^/]"}
    text = "".join(
        said.get(part) or (part if part.startswith("[") and len(part) > 2 else re.escape(part)) for part in parts
    )
    try:
        return re.compile(text)
    except re.error:
        return re.compile(r"(?!)")
