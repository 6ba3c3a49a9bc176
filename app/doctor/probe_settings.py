"""go's settings: from `go env` where go is there, else from the environment and go's own file of settings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from app.doctor.settings import DEFAULTS, NAMES, Entry, GoSettings

_SECONDS = 30.0
_LOCAL = {"GOTOOLCHAIN": "local"}


def read_settings(environment: Mapping[str, str], private: tuple[str, ...] = ()) -> GoSettings:
    """The settings that go would work with here; never raises."""
    go = shutil.which("go", path=environment.get("PATH"))
    values = (_told(go, environment) if go else None) or _from_environment(environment)
    refused = _refusal(go, environment) if go else _first_non_flag(values["GOFLAGS"])
    return GoSettings(values, dict(environment), private, refused)


def lost_directories(settings: GoSettings) -> tuple[Entry, ...]:
    """GOPROXY's `file` entries whose directory is not here, or not to be reached."""
    return tuple(entry for entry in settings.entries if entry.directory and not _is_directory(entry.directory))


def _is_directory(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # nobody may look
        return False


def _told(go: str, environment: Mapping[str, str]) -> dict[str, str] | None:
    """What `go env` says; by this go itself where GOTOOLCHAIN names another one that cannot be had."""
    values = _values(_asked(go, environment, "env", "-json", *NAMES))
    if values is None and (values := _values(_asked(go, {**environment, **_LOCAL}, "env", "-json", *NAMES))):
        values["GOTOOLCHAIN"] = environment.get("GOTOOLCHAIN") or _written(environment).get("GOTOOLCHAIN", "")
    return values


def _asked(go: str, environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Outside any module: a go.mod's toolchain line would make go download one, which is what may be broken."""
    try:
        return subprocess.run(
            [go, *arguments],
            capture_output=True,
            text=True,
            env=dict(environment),
            cwd="/",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _values(answer: subprocess.CompletedProcess[str] | None) -> dict[str, str] | None:
    try:
        values: dict[str, str] | None = json.loads(answer.stdout) if answer and not answer.returncode else None
    except ValueError:
        return None
    return values


def _refusal(go: str, environment: Mapping[str, str]) -> str:
    """What go says of GOFLAGS: only `go env` works with flags that no command has."""
    answer = _asked(go, {**environment, **_LOCAL}, "version")
    said = answer.stderr.strip() if answer and answer.returncode else ""
    return said.removeprefix("go: ") if "$GOFLAGS" in said else ""


def _first_non_flag(flags: str) -> str:
    """Without go to ask: the word that is no flag, as go would say it. Quoted values may hold blanks."""
    words = [] if "'" in flags or '"' in flags else flags.split()
    wrong = next((word for word in words if not re.match(r"--?[^-=]", word)), "")
    return f'non-flag "{wrong}"' if wrong else ""


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    written = _written(environment)
    values = {name: environment.get(name) or written.get(name) or DEFAULTS.get(name, "") for name in NAMES}
    for name in ("GONOPROXY", "GONOSUMDB"):
        values[name] = values[name] or values["GOPRIVATE"]
    return values


def _written(environment: Mapping[str, str]) -> dict[str, str]:
    """What `go env -w` wrote."""
    try:
        lines = _settings_file(environment).read_text().splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _settings_file(environment: Mapping[str, str]) -> Path:
    named = environment.get("GOENV")
    if named:
        return Path(named)  # "off" names no file, which is what it means
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library/Application Support/go/env"
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "go/env"
