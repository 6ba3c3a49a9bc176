"""What the probes saw, as values: the rules decide from these alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.doctor.settings import Entry, GoSettings

Trouble = Literal[
    "dns",
    "refused",
    "timeout",
    "cut",
    "tls-authority",
    "tls-name",
    "tls-expired",
    "tls-plain",
    "tls-client-certificate",
    "tls-other",
    "egress-down",
    "egress-login",
    "egress-scheme",
    "egress-status",
    "redirect",
    "other",
]
MISSES = (404, 410)
"""What a proxy answers that does not have it: go asks the next one, and reads no body."""
BEGINNING = 64 * 1024
"""Bytes of a body that are read at most."""
_GIT_URLS = ("https://", "http://", "ssh://", "git://", "git+ssh://")
_SCP = re.compile(r"[^@/:]+@[^/:]+:")
Purpose = Literal["list", "latest", "info", "zip", "discovery", "sumdb-supported", "sumdb-latest"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself; names as `CN, O`, times aware (UTC)."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer at the end of `hops` redirects. Header names are lower case; `body` is its beginning."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    hops: tuple[str, ...] = ()

    @property
    def is_html(self) -> bool:
        """By its type, or by how it begins."""
        start = self.body.lstrip()[:15].lower()
        return "html" in self.headers.get("content-type", "") or start.startswith((b"<!doctype html", b"<html"))


@dataclass(frozen=True, slots=True)
class Failure:
    """No HTTP answer: the kind of trouble and its words. `server_time` is the server's own clock.

    `egress`: the web proxy, where it is what failed, its password masked.
    """

    url: str
    trouble: Trouble
    detail: str
    egress: str = ""
    certificate: Certificate | None = None
    server_time: datetime | None = None
    hops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked as go would, how it ended (after `seconds`), and the way there.

    `asked`: the module, as in Observed.modules, where one was asked for.
    `addresses`: what the host's name resolved to, empty behind an egress proxy; `with_credentials`: netrc or the URL had some.
    """

    purpose: Purpose
    url: str
    outcome: Answer | Failure
    seconds: float
    addresses: tuple[str, ...] = ()
    egress: str | None = None
    with_credentials: bool = False
    entry: Entry | None = None
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """git's `url.<to>.insteadOf <instead_of>`; `trouble` says why the host of `to` cannot be reached, if it cannot.

    `scope`: where the rule stands, as `git config --show-scope` calls it.
    """

    to: str
    instead_of: str
    trouble: str = ""
    scope: str = "global"

    @property
    def concerns_go(self) -> bool:
        """Whether a URL that go gives to git may begin so; shorthands like `github:` are people's alone."""
        begins = any(each.startswith(self.instead_of) or self.instead_of.startswith(each) for each in _GIT_URLS)
        return begins or bool(_SCP.match(self.instead_of))


@dataclass(frozen=True, slots=True)
class Netrc:
    """go's netrc file; `mode` its permission bits, None where they mean nothing; `problem` why it cannot be read."""

    path: str
    machines: tuple[str, ...] = ()
    mode: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AuthProblem:
    """A command of GOAUTH that gave no credentials, or the whole setting where `fatal`: go stops at it."""

    command: str
    problem: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class CaProblem:
    """A variable that names certificates go cannot read."""

    variable: str
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class NewerGo:
    """A go that is wanted (`go1.99.1`) and this one is not; `asked`: what go fetches it as. `kept_out`: by GOTOOLCHAIN.

    `wanted_by`: the go.mod here, else GOTOOLCHAIN itself.
    """

    name: str
    own: str
    asked: str
    kept_out: bool
    wanted_by: Literal["go.mod", "GOTOOLCHAIN"]


@dataclass(frozen=True, slots=True)
class Observed:
    """All that was seen. `now` is this machine's clock (aware); `slow_seconds` is when an answer counts as slow."""

    settings: GoSettings
    now: datetime
    requests: tuple[Request, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    netrc: Netrc | None = None
    lost: tuple[Entry, ...] = ()  # GOPROXY's directories that are not here
    ca_problems: tuple[CaProblem, ...] = ()
    auth_problems: tuple[AuthProblem, ...] = ()
    slow_seconds: float = 5.0
    modules: tuple[str, ...] = field(default_factory=tuple)
    named: tuple[str, ...] = ()  # of these, who asked names them, and not a go.mod
    newer_go: NewerGo | None = None
