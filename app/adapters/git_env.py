"""Everything git learns from its environment: settings, limits, and credentials; nothing is inherited but the PATH.

Settings travel as GIT_CONFIG_COUNT/KEY/VALUE, so neither argv nor a config file ever holds a credential.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from app.adapters.git_resolve import Pin, Resolver
from app.adapters.git_resolve import pin as pin_of
from app.domain.errors import SyncError
from app.domain.outgoing import proxy_for
from app.services.measuring import Tally

CACHE_MARK = "MODSYNC_CACHE"  # in the environment of every git that works in a cache: names its directory
_NOWHERE = "/nonexistent"
_LOW_SPEED_BYTES = 1000
_LOW_SPEED_SHARE = 4  # a quarter of the time limit without progress: big packs take a server long to prepare
_SCP_LIKE = re.compile(r"^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!//)[^\s]+$")

_PROXY = re.compile(r"(?:https?|all|no)_proxy", re.IGNORECASE)

Pairs = list[tuple[str, str]]


class Secret(Protocol):
    """A value that does not show itself (pydantic's SecretStr)."""

    def get_secret_value(self) -> str:
        """The value itself."""
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a password (or token) for HTTP Basic."""

    username: str
    password: Secret

    def header(self) -> str:
        """The value of the Authorization header."""
        pair = f"{self.username}:{self.password.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def fingerprint(self, host: str) -> str:
        """32 hex digits that stand for this login at `host`, and do not give it away."""
        return hashlib.sha256(f"{host}\0{self.header()}".encode()).hexdigest()[:32]


Credentials = Callable[[str], Credential | None]
"""Chooses the credential for a URL; None: ask without one."""


def _unchanged(_url: str, error: SyncError) -> SyncError:
    return error


def _free(_url: str, _code: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class GitOptions:
    """How git runs on this machine. `timeout_seconds` bounds each command.

    `cache_wait_seconds`: how long a cache's lock is waited for before `cache_busy`; short, for who waits holds a worker.

    `refused` hears of each login that a URL's host did not take, and says which error that is; `limited` the same of
    "too many requests", and of what looks like a ban of this address (with `retry_after`). `held` is asked before each
    request, and raises the code it is given while a host is left alone.

    `resolver`: looks sources' names up and pins them; None: git does it (sandbox).
    """

    cache_dir: Path
    timeout_seconds: float = 600.0
    ca_file: Path | None = None
    http_proxy: str | None = None
    no_proxy: str = ""
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    protocols: tuple[str, ...] = ("https", "ssh")
    tagger_name: str = "modsync"
    tagger_email: str = "modsync@localhost"
    beat_seconds: float = 1.0  # how often the checkpoint is asked while git runs
    resolver: Resolver | None = None
    cache_wait_seconds: float = 0.1
    min_free_bytes: int = 0  # less on the caches' disk, and nothing is fetched
    tally: Tally = field(default_factory=Tally, compare=False)
    refused: Callable[[str, SyncError], SyncError] = field(default=_unchanged, compare=False)
    limited: Callable[[str, SyncError], SyncError] = field(default=_unchanged, compare=False)
    held: Callable[[str, str], None] = field(default=_free, compare=False)

    def pinned(self, url: str) -> Pin | None:
        """The pin of a source's URL; errors as git_resolve.pin says.

        None in the sandbox, and behind an HTTP proxy: it looks names up, and often nobody else can. ssh goes past it.
        """
        if self.resolver is None or (self.proxy_for(url) and not url.startswith("ssh:")):
            return None
        return pin_of(url, self.resolver)

    def proxy_for(self, url: str) -> str | None:
        """The HTTP proxy that a request to this URL goes to; None: none."""
        return proxy_for(url, self.http_proxy, self.no_proxy)


_SETTINGS: Pairs = [
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", str(_LOW_SPEED_BYTES)),
    ("transfer.fsckObjects", "true"),
    # Old honest histories break these three; Gitaly ignores them, too.
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fetch.unpackLimit", "1"),  # one pack per fetch: half a fetch is one tmp_pack file, not hundreds of loose ones
    ("push.followTags", "false"),
    ("push.gpgSign", "false"),
    ("push.useForceIfIncludes", "false"),
]


def environment(
    options: GitOptions, *, git_dir: Path | None = None, url: str | None = None, credential: Credential | None = None,
    pin: Pin | None = None,
) -> dict[str, str]:  # fmt: skip
    """The environment of one git command on `git_dir` (None: no repository) that talks to `url` (None: to nobody).

    `pin`: the only addresses that the URL's host may stand for.
    """
    pairs = [*_SETTINGS, *_network(options, url), *(_authorization(url, credential) if url and credential else [])]
    if pin and pin.scheme != "ssh" and ":" not in pin.host:  # curl cannot read IPv6 there, and looks no literal up
        pairs.append(("http.curloptResolve", pin.curl))
    return {
        "HOME": _NOWHERE,
        "XDG_CONFIG_HOME": _NOWHERE,
        "LC_ALL": "C",
        "LANGUAGE": "C",
        "TZ": "UTC",
        "GIT_DIR": str(git_dir or os.devnull),  # never discovered from a directory above
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",  # empty also keeps git from SSH_ASKPASS
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(options.protocols),
        "GIT_SSH_COMMAND": _ssh(options, pin),
        "GIT_SSH_VARIANT": "ssh",
        **({CACHE_MARK: str(git_dir)} if git_dir else {}),
        **_as_environment(pairs),
    }


def inherited(ours: Iterable[str], present: Mapping[str, str] = os.environ) -> list[str]:
    """Names of git's own variables, and of HTTP proxies, in `present` that `ours` does not set and that must not reach git."""
    mine = set(ours)
    return sorted(name for name in present if (name.startswith("GIT_") or _PROXY.fullmatch(name)) and name not in mine)


def check_url(url: str, protocols: Iterable[str], code: str) -> str:
    """`url` when git may be given it. Raises SyncError(`code`) for options, credentials in it, or another protocol."""
    if not url or url.startswith("-") or not url.isprintable() or re.search(r"\s", url):
        raise SyncError(code, "this is no URL that git may be given")
    parts = urlsplit(url)
    if parts.password is not None or (parts.username and parts.scheme.startswith("http")):
        raise SyncError(code, f"the URL for {parts.hostname} holds a credential: configure it instead")
    if _protocol(url) not in set(protocols):
        raise SyncError(code, f"the protocol {_protocol(url) or 'of this address'!r} is not allowed")
    return url


def _protocol(url: str) -> str:
    """The URL's protocol as git sees it; "" for remote helpers (`ext::`) and what is not understood."""
    head = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*)://", url)
    if head:
        return head[1].lower()
    if url.startswith("/"):
        return "file"
    return "ssh" if _SCP_LIKE.match(url) and "::" not in url else ""


def _network(options: GitOptions, url: str | None) -> Pairs:
    pairs = [("http.lowSpeedTime", str(max(1, int(options.timeout_seconds / _LOW_SPEED_SHARE))))]
    if options.ca_file:
        pairs.append(("http.sslCAInfo", str(options.ca_file)))
    # Empty: none, also where the environment names one. It would look the name up again, past what was checked.
    pairs.append(("http.proxy", options.proxy_for(url or "") or ""))
    return pairs


def _authorization(url: str, credential: Credential) -> Pairs:
    """The credential, for this URL's scheme, host and port alone."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return []
    host = parts.netloc.rpartition("@")[2]
    return [(f"http.{parts.scheme}://{host}/.extraHeader", f"Authorization: {credential.header()}")]


def _ssh(options: GitOptions, pin: Pin | None) -> str:
    words = ["ssh", "-F", os.devnull, "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=30"]
    words += ["-oServerAliveInterval=15", "-oServerAliveCountMax=4"]
    if options.ssh_key_file:
        words += ["-oIdentitiesOnly=yes", "-i", str(options.ssh_key_file)]
    if options.known_hosts_file:
        words += [f'-oUserKnownHostsFile="{options.known_hosts_file}"']  # ssh itself splits it at spaces
    if pin and pin.scheme == "ssh":
        words += pin.ssh
    return shlex.join(words)


def _as_environment(pairs: Pairs) -> dict[str, str]:
    numbered = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        numbered |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return numbered
