"""A systemd unit as a shell script: what systemd would do with its [Service], where none is booted.

Run by root, each script has a mount namespace of its own, then the unit's user, environment, working directory and limits.
A directive that nobody here knows is an error, so that none is believed to be tried that is not.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from pathlib import Path

# What only a booted systemd, or its seccomp filters, can do; `systemd-analyze verify` reads them.
_NOT_TRIED = frozenset({
    "Type", "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "SystemCallArchitectures",
    "SystemCallFilter", "SystemCallErrorNumber", "RestrictAddressFamilies", "RestrictNamespaces",
    "RestrictSUIDSGID", "RestrictRealtime", "LockPersonality", "PrivateDevices", "ProtectKernelTunables",
    "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock", "ProtectHostname",
    "ProtectProc",
})  # fmt: skip
_TRIED = frozenset({
    "ExecStart", "Environment", "EnvironmentFile", "User", "Group", "StateDirectory", "StateDirectoryMode",
    "WorkingDirectory", "UMask", "LimitNOFILE", "NoNewPrivileges", "PrivateTmp", "ProtectSystem",
    "ProtectHome", "CapabilityBoundingSet",
})  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def service(path: Path) -> dict[str, list[str]]:
    """The [Service] section: each directive's values in order. ValueError for one that is not known here."""
    found: dict[str, list[str]] = defaultdict(list)
    section = path.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    if unknown := found.keys() - _TRIED - _NOT_TRIED:
        raise ValueError(f"{path.name}: not known here: {', '.join(sorted(unknown))}")
    return found


def script(path: Path) -> str:
    """A shell script for `bash -c` as root: it becomes the unit's process."""
    unit = service(path)
    return "\n".join(["set -eu", *_state(unit), f"exec unshare --mount bash -euc {shlex.quote(_inside(unit))}"])


def _inside(unit: dict[str, list[str]]) -> str:
    umask, directory = unit["UMask"][0], unit["WorkingDirectory"][0]
    limit = unit["LimitNOFILE"][0]  # or what root may have here: in a container it may lack CAP_SYS_RESOURCE
    return "\n".join(
        [
            *_mounts(unit),
            *_environment(unit),
            f"ulimit -n {limit} || ulimit -n $(ulimit -Hn)",
            f"umask {umask}",
            f"cd {directory}",
            _command(unit),
        ]
    )


def _state(unit: dict[str, list[str]]) -> list[str]:
    user, group, mode = unit["User"][0], unit["Group"][0], unit["StateDirectoryMode"][0]
    return [f"install -d -o {user} -g {group} -m {mode} /var/lib/{name}" for name in unit["StateDirectory"]]


def _mounts(unit: dict[str, list[str]]) -> list[str]:
    lines = ["mount --make-rprivate /"]
    lines += [f"mount --bind /var/lib/{name} /var/lib/{name}" for name in unit["StateDirectory"]]
    if unit["PrivateTmp"] == ["yes"]:
        lines += [f"mount -t tmpfs -o mode=1777 tmp {place}" for place in ("/tmp", "/var/tmp")]
    if unit["ProtectHome"] == ["yes"]:
        lines += [f"mount -t tmpfs -o mode=000,ro home {place}" for place in ("/home", "/root")]
    if unit["ProtectSystem"] == ["strict"]:
        lines.append("mount -o remount,bind,ro /")
    return lines


def _environment(unit: dict[str, list[str]]) -> list[str]:
    """An empty environment, then systemd's own variables, the unit's, and its files'; a file that begins with - may lack."""
    user = unit["User"][0]
    own = {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "USER": user,
        "LOGNAME": user,
        "HOME": f"/var/lib/{user}",
        "SHELL": "/bin/sh",
    }
    lines = ["for name in $(compgen -e); do unset $name; done", "set -a"]
    lines += [f"{name}={value}" for name, value in own.items()] + unit["Environment"]
    for file in unit["EnvironmentFile"]:
        name = file.removeprefix("-")
        lines.append(f"if [ -e {name} ]; then . {name}; fi" if file.startswith("-") else f". {name}")
    return [*lines, "set +a"]


def _command(unit: dict[str, list[str]]) -> str:
    words = ["exec", "setpriv", f"--reuid={unit['User'][0]}", f"--regid={unit['Group'][0]}", "--init-groups"]
    if unit["NoNewPrivileges"] == ["yes"]:
        words.append("--no-new-privs")
    if unit["CapabilityBoundingSet"] == [""]:
        words += ["--bounding-set=-all", "--inh-caps=-all"]
    return shlex.join(words) + " -- " + unit["ExecStart"][0]
