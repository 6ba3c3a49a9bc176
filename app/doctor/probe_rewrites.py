"""git's URL rewriting (insteadOf), and whether the hosts that it leads to can be reached as git would."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace

from app.doctor.egress import egress_for
from app.doctor.observed import Rewrite
from app.doctor.places import has_place, parts_of

_SECONDS = 10.0
_PORTS = {"https": 443, "http": 80, "git": 9418}
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/:]+):(?!//)")
_SSH = ("ssh", "git+ssh", "ssh+git")
_LIST = ["git", "config", "--show-scope", "--get-regexp", "--null", r"^url\..*\.insteadof$"]
# They lead git to a repository, whose own rules are none of go's: it works in its module cache.
_OF_A_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")
# Then git connects by a program of the user's, and only that one knows where to.
_OWN_SSH = ("GIT_SSH_COMMAND", "GIT_SSH")
_DETOURS = ("proxyjump", "proxycommand")


def read_rewrites(environment: Mapping[str, str]) -> tuple[Rewrite, ...]:
    """git's insteadOf rules, with the trouble of reaching each new host that go may be led to; empty without git."""
    outside = {name: value for name, value in environment.items() if name not in _OF_A_REPOSITORY}
    rules = _rules(_printed(_LIST, outside))
    return tuple(replace(rule, trouble=_trouble(rule.to, environment)) if rule.concerns_go else rule for rule in rules)


def _rules(printed: str) -> Iterator[Rewrite]:
    """Of `scope NUL name LF value NUL`, again and again."""
    items = printed.split("\0")
    for scope, item in zip(items[::2], items[1::2], strict=False):
        name, _, prefix = item.partition("\n")
        yield Rewrite(name[len("url.") : -len(".insteadof")], prefix, scope=scope)


def _trouble(to: str, environment: Mapping[str, str]) -> str:
    """Why the host of a rewritten URL cannot be reached; empty when it can, or when that cannot be told from here."""
    parts = parts_of(to)
    if "://" in to and parts.scheme in (*_PORTS, *_SSH, "") and not has_place(to):
        return f"{parts.netloc.rpartition('@')[2] or 'its host'} is no address"
    place = _place(to, environment)
    if place is None:
        return ""
    try:
        socket.create_connection(place, _SECONDS).close()
    except (OSError, UnicodeError) as error:
        return f"{place[0]} port {place[1]}: {getattr(error, 'strerror', None) or error}"
    return ""


def _place(to: str, environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Host and port that git would connect to itself; None: there is no host in it, or a proxy does that for git."""
    parts, scp = parts_of(to), _SCP.match(to)
    if scp and not parts.netloc:
        return _by_ssh(scp["host"], None, environment)
    if not parts.hostname or parts.scheme not in (*_PORTS, *_SSH):
        return None
    if parts.scheme in _SSH:
        return _by_ssh(parts.hostname, parts.port, environment)
    if parts.scheme in ("http", "https") and egress_for(to, environment):
        return None
    return parts.hostname, parts.port or _PORTS[parts.scheme]


def _by_ssh(host: str, port: int | None, environment: Mapping[str, str]) -> tuple[str, int] | None:
    """What ssh makes of a name, which may be an alias of ~/.ssh/config (ssh_config(5), `ssh -G`)."""
    if any(environment.get(name) for name in _OWN_SSH):
        return None
    given = ["-p", str(port)] if port else []
    printed = _printed(["ssh", "-G", *given, "--", host], environment)
    said = dict(line.partition(" ")[::2] for line in printed.splitlines())
    if any(said.get(name, "none") != "none" for name in _DETOURS):
        return None
    return said.get("hostname", host), int(said.get("port", port or 22))


def _printed(command: list[str], environment: Mapping[str, str]) -> str:
    """What a command printed, outside any repository; nothing where it is not there or fails."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, env=dict(environment), cwd="/", timeout=_SECONDS, check=False
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
