"""GOAUTH on this machine: what its commands are, and how they are run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.doctor.goauth import GoAuth, Login, Methods, Ran, Run, parse_methods

_SECONDS = 10.0


def go_auth(setting: str, netrc: Mapping[str, Login], environment: Mapping[str, str]) -> GoAuth:
    """The credentials that go would find here; nothing is run before a request asks for them."""
    methods = parse_methods(setting)
    if trouble := methods.fatal or broken_directory(methods):
        methods = replace(methods, commands=(), fatal=trouble)
    return GoAuth(methods, netrc, running(environment))


def broken_directory(methods: Methods) -> str:
    """What go stops at in a `git DIR` command; empty when there is nothing."""
    for command in methods.commands:
        name, *rest = command.split()
        if name != "git":
            continue
        if len(rest) != 1 or not Path(rest[0]).is_absolute():
            return f"`{command}` needs one absolute path of a git working directory"
        if not Path(rest[0]).is_dir():
            return f"`{command}` names no directory"
    return ""


def running(environment: Mapping[str, str]) -> Run:
    """Runs commands with this environment; git asks nobody at a terminal, for the doctor is to end by itself."""
    quiet = {**environment, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": ""}

    def run(command: Sequence[str], directory: str, stdin: str) -> Ran:
        try:
            done = subprocess.run(
                command, cwd=directory or None, env=quiet, input=stdin, capture_output=True, text=True,
                timeout=_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError, ValueError):
            return Ran(None)
        return Ran(done.returncode, done.stdout)

    return run
