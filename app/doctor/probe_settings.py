"""go's settings: from `go env` where go is there, else from the environment and go's own file of settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from app.doctor.settings import DEFAULTS, NAMES, GoSettings

_SECONDS = 30.0


def read_settings(environment: Mapping[str, str], private: tuple[str, ...] = ()) -> GoSettings:
    """The settings that go would work with here; never raises."""
    values = _from_go(environment)
    return GoSettings(_from_environment(environment) if values is None else values, dict(environment), private)


def _from_go(environment: Mapping[str, str]) -> dict[str, str] | None:
    go = shutil.which("go", path=environment.get("PATH"))
    if go is None:
        return None
    command = [go, "env", "-json", *NAMES]
    try:
        # Outside any module: a go.mod's toolchain line would make go download one, which is what may be broken.
        done = subprocess.run(
            command, capture_output=True, env=dict(environment), cwd="/", timeout=_SECONDS, check=True
        )
        values: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return values


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
