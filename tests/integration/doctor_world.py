"""A developer's machine for the doctor's tests: `go` and `modsync doctor` in the same environment."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.gotool import go_binary, go_environment
from tests.sandbox.processes import run

MODULE = "go.corp.example/misc"
QUERY = f"{MODULE}@v1.0.0"
TREE = "go.sum database tree\n1\nroot\n\n— sum.golang.org signature\n"
_DOCTOR = "from app.cli_doctor import doctor; doctor(prog_name='modsync doctor')"


@dataclass
class Machine:
    """Runs commands with `environment`; with `hosts` in a mount namespace of their own, where only these names resolve."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    hosts: str | None = None

    @classmethod
    def of(cls, root: Path, **settings: str) -> "Machine":
        """A healthy developer's settings, but for what `settings` says; `go` is on its PATH."""
        healthy = {"GONOSUMDB": "go.corp.example", "GOAUTH": "netrc", "SSL_CERT_DIR": "", "SSL_CERT_FILE": ""}
        environment = go_environment(root) | healthy | settings
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            if name not in settings:
                environment.pop(name)
        if "PATH" not in settings:
            environment["PATH"] = f"{Path(go_binary()).parent}{os.pathsep}{environment['PATH']}"
        return cls(root, environment)

    def go(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[bytes]:
        """`go` with these arguments, in an empty directory, with an empty module cache."""
        shutil.rmtree(self.root / "gopath", ignore_errors=True)
        return self._run([go_binary(), *arguments], timeout=timeout)

    def download(self, query: str = QUERY) -> str:
        """What `go mod download` prints when it fails; the test fails when it does not."""
        done = self.go("mod", "download", query)
        assert done.returncode != 0, "go was expected to fail"
        return done.stderr.decode()

    def doctor(self, *arguments: str, stdin: str = "") -> tuple[int, dict[str, Any]]:
        """Exit status and JSON of `modsync doctor`."""
        done = self._run([sys.executable, "-c", _DOCTOR, *arguments, "--json"], stdin=stdin)
        assert done.returncode in (0, 1), done.stderr.decode()
        return done.returncode, json.loads(done.stdout)

    def codes(self, *arguments: str, stdin: str = "") -> list[str]:
        """The codes found; checks that the exit status says whether there are any."""
        status, found = self.doctor(*arguments, stdin=stdin)
        assert status == (1 if found["findings"] else 0)
        return [finding["code"] for finding in found["findings"]]

    def explained(self, output: str) -> list[str]:
        """The codes that `explain` finds in go's output; nothing may stay unexplained."""
        _, found = self.doctor("explain", stdin=output)
        assert found["unexplained"] == []
        return [finding["code"] for finding in found["findings"]]

    def _run(self, command: list[str], *, stdin: str = "", timeout: float = 60.0) -> subprocess.CompletedProcess[bytes]:
        place = self.root / "empty"
        place.mkdir(exist_ok=True)
        environment = {**self.environment, "PYTHONPATH": str(Path(__file__).parents[2]), **_coverage()}
        return run(self._jailed(command), env=environment, cwd=place, stdin=stdin.encode(), timeout=timeout)

    def _jailed(self, command: list[str]) -> list[str]:
        if self.hosts is None:
            return command
        (self.root / "hosts").write_text(f"127.0.0.1 localhost\n{self.hosts}\n")
        (self.root / "nsswitch").write_text("hosts: files\n")
        mounts = f"mount --bind {self.root}/hosts /etc/hosts && mount --bind {self.root}/nsswitch /etc/nsswitch.conf"
        return [*_UNSHARE, "sh", "-c", f'{mounts} && exec "$@"', "sh", *command]


_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


@cache
def has_namespaces() -> bool:
    """Whether this machine lets a test have its own /etc/hosts."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run([*_UNSHARE, "mount", "--bind", "/etc/hosts", "/etc/hosts"], capture_output=True, check=False)
    return done.returncode == 0


needs_namespaces = pytest.mark.skipif(not has_namespaces(), reason="no user and mount namespaces (util-linux unshare)")


def _coverage() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
