"""git's URL rewriting (insteadOf), and whether the hosts that it leads to can be reached as git would."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.doctor.egress import egress_for
from app.doctor.observed import Rewrite

_SECONDS = 10.0
_PORTS = {"https": 443, "http": 80, "git": 9418}
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/:]+):(?!//)")
# Then git connects by a program of the user's, and only that one knows where to.
_OWN_SSH = ("GIT_SSH_COMMAND", "GIT_SSH")
_DETOURS = ("proxyjump", "proxycommand")


def read_rewrites(environment: Mapping[str, str]) -> tuple[Rewrite, ...]:
    """git's insteadOf rules, with the trouble of reaching each new host; empty without git."""
    printed = _printed(["git", "config", "--get-regexp", "--null", r"^url\..*\.insteadof$"], environment)
    pairs = (item.partition("\n") for item in printed.split("\0") if item)
    rules = ((name[len("url.") : -len(".insteadof")], prefix) for name, _, prefix in pairs)
    return tuple(Rewrite(to, prefix, _trouble(to, environment)) for to, prefix in rules)


def _trouble(to: str, environment: Mapping[str, str]) -> str:
    """Why the host of a rewritten URL cannot be reached; empty when it can, or when that cannot be told from here."""
    place = _place(to, environment)
    if place is None:
        return ""
    try:
        socket.create_connection(place, _SECONDS).close()
    except OSError as error:
        return f"{place[0]} port {place[1]}: {error.strerror or error}"
    return ""


def _place(to: str, environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Host and port that git would connect to itself; None: there is no host in it, or a proxy does that for git."""
    parts, scp = urlsplit(to), _SCP.match(to)
    if scp and not parts.netloc:
        return _by_ssh(scp["host"], None, environment)
    if not parts.hostname:
        return None
    if parts.scheme == "ssh":
        return _by_ssh(parts.hostname, parts.port, environment)
    if parts.scheme in ("http", "https") and egress_for(to, environment):
        return None
    return parts.hostname, parts.port or _PORTS.get(parts.scheme, 443)


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
    """What a command printed; nothing where it is not there or fails."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, env=dict(environment), timeout=_SECONDS, check=False
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
