"""Credentials as go has them: GOAUTH's commands, of which netrc is the usual one (cmd/go/internal/auth).

go runs all of them before its first request over https, and again, with the URL, when the answer is a 4xx.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from urllib.parse import urlsplit

from app.doctor.observed import Answer, AuthProblem

# A field may be in quotes, without anything to escape (cmd/internal/quoted).
_FIELD = re.compile(r"\s*(?:'([^']*)'|\"([^\"]*)\"|(\S+))")

Headers = Mapping[str, str]
Login = tuple[str, str]
Run = Callable[[Sequence[str], str, str], "Ran"]
"""Runs a command in a directory ("": here) with this standard input."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended (None: it could not be run) and what it printed."""

    status: int | None
    out: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Methods:
    """GOAUTH's commands in its order; `fatal` is what go stops at, before it asks for anything."""

    commands: tuple[str, ...] = ()
    fatal: str = ""


def parse_methods(setting: str) -> Methods:
    """`setting` as GOAUTH has it; unset means netrc."""
    commands = tuple(each.strip() for each in (setting or "netrc").split(";"))
    if not all(commands):
        return Methods(fatal="it has an empty command")
    if "off" in (each.split()[0] for each in commands):
        return Methods(fatal="off cannot be combined with other commands") if len(commands) > 1 else Methods()
    return Methods(commands)


def parse_user_auth(text: str) -> dict[str, Headers]:
    """What a command of the user's printed: URL prefixes (without https://) and their headers; ValueError if malformed.

    Blocks of URLs, an empty line, headers, an empty line (`go help goauth`).
    """
    lines, found = text.split("\n"), dict[str, Headers]()
    if lines.pop():
        raise ValueError("the last line has no end")
    while lines:
        urls, lines = _until_empty(lines)
        headers, lines = _until_empty(lines)
        pairs = [each.partition(": ") for each in headers]
        if not all(sign and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name, sign, _ in pairs):
            raise ValueError("a line is no header")
        found |= {url.removeprefix("https://"): {name: value.strip() for name, _, value in pairs} for url in urls}
    return found


def parse_git_credential(text: str, url: str) -> tuple[str, Headers]:
    """What `git credential fill` printed for `url`: the prefix it is for, and its header; ValueError for another URL."""
    said = dict(line.strip().partition("=")[::2] for line in text.splitlines())
    path = f"/{said['path']}" if said.get("path") else ""
    prefix = said.get("url") or f"{said.get('protocol')}://{said.get('host')}{path}"
    if not url.startswith(prefix):
        raise ValueError("it answered for another URL")
    return prefix.removeprefix("https://"), basic((said.get("username", ""), said.get("password", "")))


def basic(login: Login) -> Headers:
    """The header of a user and a password."""
    return {"Authorization": "Basic " + base64.b64encode(":".join(login).encode(errors="surrogateescape")).decode()}


@dataclass
class GoAuth:
    """Asks the commands when go would, and keeps what they gave. `failed`: those that gave nothing, and why."""

    methods: Methods = Methods()
    netrc: Mapping[str, Login] = field(default_factory=dict, repr=False)
    run: Run = lambda *_: Ran(None)
    failed: dict[str, str] = field(default_factory=dict)
    _known: dict[str, Headers] | None = field(default=None, repr=False)

    def headers(self, url: str) -> Headers:
        """What go sends to `url`; over TLS only. Prefixes are of host, port and path: `h` is not `https://h:8443`."""
        parts = urlsplit(url)
        if parts.scheme != "https":
            return {}
        if self._known is None:
            self._known = {}
            self._ask("", None)
        prefixes = accumulate(f"{parts.netloc}{parts.path}".rstrip("/").split("/"), "{}/{}".format)
        known = [self._known[prefix] for prefix in prefixes if prefix in self._known]
        return known[-1] if known else {}

    def again(self, url: str, answer: Answer) -> bool:
        """Ask the commands for `url`, which was answered so; True when there is something else to send now."""
        if not 400 <= answer.status < 500 or urlsplit(url).scheme != "https":
            return False
        before = self.headers(url)
        self._ask(url, answer)
        return self.headers(url) != before

    def problems(self) -> tuple[AuthProblem, ...]:
        """What is wrong with GOAUTH, as far as was seen until now."""
        whole = (AuthProblem("", self.methods.fatal, fatal=True),) if self.methods.fatal else ()
        return whole + tuple(AuthProblem(command, why) for command, why in self.failed.items())

    def _ask(self, url: str, answer: Answer | None) -> None:
        found: dict[str, Headers] = {}
        for command in reversed(self.methods.commands):  # the first one in GOAUTH counts
            try:
                found |= self._of(command, url, answer)
                self.failed.pop(command, None)
            except ValueError as error:
                self.failed[command] = str(error)
        self._known = {**(self._known or {}), **found}

    def _of(self, command: str, url: str, answer: Answer | None) -> Mapping[str, Headers]:
        words = [next(filter(None, match.groups()), "") for match in _FIELD.finditer(command)]
        if words[0] == "netrc":
            return {machine: basic(login) for machine, login in self.netrc.items()}
        if words[0] == "git":
            return dict([self._of_git(words[1], url)]) if url else {}
        out = self._said([*words, *([url] if url else [])], "", _as_text(answer) if answer else "")
        return parse_user_auth(out)

    def _of_git(self, directory: str, url: str) -> tuple[str, Headers]:
        return parse_git_credential(self._said(["git", "credential", "fill"], directory, f"url={url}\n"), url)

    def _said(self, command: Sequence[str], directory: str, stdin: str) -> str:
        ran = self.run(command, directory, stdin)
        if ran.status is None:
            raise ValueError("it cannot be run")
        if ran.status:
            raise ValueError(f"it ended with status {ran.status}")
        return ran.out


def _until_empty(lines: list[str]) -> tuple[list[str], list[str]]:
    if "" not in lines:
        raise ValueError("an empty line is missing")
    end = lines.index("")
    return lines[:end], lines[end + 1 :]


def _as_text(answer: Answer) -> str:
    """An answer as go writes it to a command's standard input."""
    return (
        f"HTTP/1.1 {answer.status}\n" + "".join(f"{name}: {value}\n" for name, value in answer.headers.items()) + "\n"
    )
