"""A Go developer inside the company: everything comes through the private proxy, nothing from anywhere else."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.sandbox.gotool import go_binary, go_environment
from tests.sandbox.modules import HOST
from tests.sandbox.processes import run

_TIMEOUT_SECONDS = 170.0


class GoClient:
    """Runs `go` with caches below `root`; `build_cache` may be shared between clients to build faster.

    Checksums of modules below `private` are not asked of the public database (GONOSUMDB); for others it is asked, and
    cannot be reached from here.
    """

    def __init__(self, root: Path, goproxy_url: str, *, private: str = HOST, build_cache: Path | None = None) -> None:
        self._root = root
        self.environment = go_environment(root, cache=build_cache, GOPROXY=goproxy_url, GONOSUMDB=private)

    @property
    def binary(self) -> Path:
        """The program that the last successful `build` made."""
        return self._root / "bin/program"

    def download(self, query: str) -> dict[str, Any]:
        """`go mod download -json path@version`: Version, Info, GoMod, Zip (files), Sum, GoModSum; or Error, its text.

        What was downloaded before comes from the module cache; see `forget`.
        """
        done = self._go(self._root, "mod", "download", "-json", query)
        answer: dict[str, Any] = json.loads(done.stdout or b"{}")
        if done.returncode:
            answer.setdefault("Error", done.stderr.decode(errors="replace"))
        return answer

    def versions(self, module: str) -> list[str]:
        """`go list -m -versions MODULE`: what `go` lists of it; nothing where it knows none."""
        done = self._go(self._root, "list", "-m", "-versions", module)
        return done.stdout.decode().split()[1:]

    def build(self, program_files: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Write the files (name to text) into an empty module, complete its go.sum and build `binary`."""
        program = self._root / "program"
        shutil.rmtree(program, ignore_errors=True)
        for name, text in program_files.items():
            (program / name).parent.mkdir(parents=True, exist_ok=True)
            (program / name).write_text(text)
        return self._go(program, "build", "-mod=mod", "-o", str(self.binary), ".")

    def run_program(self) -> subprocess.CompletedProcess[bytes]:
        return run([str(self.binary)], env=self.environment)

    def forget(self) -> None:
        """Empty the module cache, so that the proxy is asked again."""
        shutil.rmtree(self._root / "gopath", ignore_errors=True)

    def _go(self, place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return run([go_binary(), *arguments], env=self.environment, cwd=place, timeout=_TIMEOUT_SECONDS)
