"""netrc: what go knows of users and passwords."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.doctor.observed import Netrc

Credentials = dict[str, tuple[str, str]]


def read_netrc(environment: Mapping[str, str]) -> tuple[Netrc | None, Credentials]:
    """go's netrc file and its (user, password) by host; (None, {}) where there is none."""
    path = Path(environment.get("NETRC") or Path(environment.get("HOME") or "~").expanduser() / _file_name())
    try:
        # go reads bytes: one that is no UTF-8, in a comment perhaps, breaks nothing
        text, mode = path.read_text("utf-8", "surrogateescape"), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None, {}
    except OSError as error:
        return Netrc(str(path), problem=error.strerror or str(error)), {}
    credentials = parse_netrc(text)
    problem = "no complete entry: machine, login and password" if not credentials and _names_machine(text) else ""
    return Netrc(str(path), tuple(credentials), mode if os.name == "posix" else None, problem), credentials


def parse_netrc(text: str) -> Credentials:
    """As cmd/go/internal/auth reads it: the first complete entry of a machine counts, macros are skipped."""
    found: Credentials = {}
    entry: dict[str, str] = {}
    for line in _without_macros(text):
        words = line.split()
        for name, value in zip(words[::2], words[1::2], strict=False):
            entry = {"machine": value} if name == "machine" else entry | {name: value}
            if {"machine", "login", "password"} <= entry.keys():
                found.setdefault(entry["machine"], (entry["login"], entry["password"]))
                entry = {}
    return found


def _names_machine(text: str) -> bool:
    """Whether anything is meant for a host: a file of comments, or of a default for other programs, is no broken one."""
    lines = (line.split() for line in _without_macros(text) if not line.lstrip().startswith("#"))
    return any(words and words[0] != "default" for words in lines)


def _file_name() -> str:
    return "_netrc" if os.name == "nt" else ".netrc"


def _without_macros(text: str) -> Iterator[str]:
    in_macro = False
    for line in text.splitlines():
        in_macro = bool(line.strip()) if in_macro else line.strip().startswith("macdef")
        if not in_macro:
            yield line
