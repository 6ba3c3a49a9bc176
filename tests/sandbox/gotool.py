"""The `go` command beside the running Python, held to loopback and to one directory."""

import os
import shutil
import sys
from pathlib import Path

from tests.sandbox.processes import git_environment

NOWHERE = "http://127.0.0.1:9"  # the discard port: a proxy that refuses every connection


def go_binary() -> str:
    """Where `go` is; raises FileNotFoundError when the virtual environment has none."""
    found = shutil.which("go", path=os.fspath(Path(sys.executable).parent))
    if found is None:
        raise FileNotFoundError("no go command beside " + sys.executable)
    return found


def go_environment(root: Path, *, web_proxy: str = NOWHERE, cache: Path | None = None, **more: str) -> dict[str, str]:
    """`go`'s environment: home, temporary files and caches below `root` (or a shared build `cache`).

    Whatever is not on loopback goes through `web_proxy`; `more` sets or replaces variables. Makes the directories.
    """
    home, temporary = root / "home", root / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    _switch_telemetry_off(home)
    settings = {
        "TMPDIR": str(temporary),
        "GOPATH": str(root / "gopath"),
        "GOMODCACHE": str(root / "gopath/pkg/mod"),
        "GOCACHE": str(cache or root / "gocache"),
        "GOENV": "off",
        "GOWORK": "off",
        "GOAUTH": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    return git_environment(home, **settings, **_web_proxy(web_proxy)) | more


def _web_proxy(url: str) -> dict[str, str]:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    loopback = "127.0.0.1,localhost,::1"
    return dict.fromkeys(names, url) | {"NO_PROXY": loopback, "no_proxy": loopback}


def _switch_telemetry_off(home: Path) -> None:
    """There is no variable for it; switched on, `go` may leave a process behind."""
    mode = home / ".config/go/telemetry/mode"
    mode.parent.mkdir(parents=True, exist_ok=True)
    mode.write_text("off")
