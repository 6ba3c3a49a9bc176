"""A real Athens on loopback; where one comes from: tests.sandbox.tools.

Settings: pkg/config/config.go and pkg/module/prepare_env.go of Athens.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Literal

import requests

from tests.sandbox.gofetch import git_headers
from tests.sandbox.gotool import NOWHERE, go_binary, go_environment
from tests.sandbox.processes import end_group

_START_SECONDS = 30.0
_POLL_SECONDS = 0.05
_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class Athens:
    """Stores below `root`, finds repositories through the web proxy `discovery_url`.

    `mode`, `storage` and `validator` (whom it asks before it hands out a version) count from the next start.
    `credentials`: URL prefix to Authorization header, for git.
    """

    def __init__(
        self, binary: Path, root: Path, port: int, discovery_url: str, credentials: Mapping[str, str]
    ) -> None:  # fmt: skip
        self.mode: Literal["sync", "async"] = "sync"
        self.storage: Literal["disk", "memory"] = "disk"
        self.validator = ""
        self._binary, self._root, self._port = binary, root, port
        self._discovery, self._credentials = discovery_url, dict(credentials)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """What GOPROXY is set to."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start and wait until it is ready. Raises TimeoutError with the log's end."""
        for name in ("storage", "fetch", "home"):
            (self._root / name).mkdir(parents=True, exist_ok=True)
        self._log = (self._root / "athens.log").open("ab")
        self._process = subprocess.Popen(
            [str(self._binary)], cwd=self._root, env=self._environment(), stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + _START_SECONDS
        while not self._ready():
            if time.monotonic() > end or self._process.poll() is not None:
                raise TimeoutError((self._root / "athens.log").read_text(errors="replace")[-2000:])
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Go down; what is stored stays."""
        if self._process is not None:
            end_group(self._process)
            self._process = None
        if self._log is not None:
            self._log.close()

    def close(self) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        own = go_environment(self._root / "home", web_proxy=self._discovery)
        return {
            **{name: own[name] for name in ("PATH", "HOME", "TMPDIR", *_PASSED_ON)},
            "ATHENS_PORT": f"127.0.0.1:{self._port}",
            "ATHENS_STORAGE_TYPE": self.storage,
            "ATHENS_DISK_STORAGE_ROOT": str(self._root / "storage"),
            "ATHENS_GOGET_DIR": str(self._root / "fetch"),
            "ATHENS_DOWNLOAD_MODE": self.mode,
            "ATHENS_PROXY_VALIDATOR": self.validator,
            "ATHENS_GONOSUM_PATTERNS": "*",
            "ATHENS_SUM_DBS": NOWHERE.replace("http:", "https:"),  # it insists
            "ATHENS_LOG_LEVEL": "info",
            "GO_BINARY_PATH": go_binary(),
            "ATHENS_GO_BINARY_ENV_VARS": ";".join(f"{key}={value}" for key, value in self._of_go().items()),
        }

    def _of_go(self) -> dict[str, str]:
        """What Athens hands to `go`: straight to the repositories, the checksum database left alone, git's credentials."""
        settings = {
            "GOPROXY": "direct", "GOPRIVATE": "*", "GOINSECURE": "*", "GOVCS": "*:git", "GOTOOLCHAIN": "local",
            "GOENV": "off", "GOFLAGS": "-modcacherw", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "http:https",
        }  # fmt: skip
        return {**settings, **git_headers(self._credentials)}

    def _ready(self) -> bool:
        with requests.Session() as session:
            session.trust_env = False
            try:
                return session.get(f"{self.url}/healthz", timeout=2).status_code == 200
            except requests.RequestException:
                return False
