"""Programs that some tests run for real and that no lock file brings: built or installed once, outside the repository.

They come through this machine's own `go` and `npm`, with whatever registries those are set up for.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from tests.sandbox.gotool import go_binary

ATHENS = "github.com/gomods/athens/cmd/proxy@v0.19.0"
OWN_ATHENS = "MODSYNC_ATHENS_BINARY"
CI_LOCAL = "gitlab-ci-local@4.70.1"  # newer ones fail on Node 20
_SECONDS = 900.0
# The registry's answer that it does not give this out, and not a network or a program that is broken.
_REFUSED = re.compile(r"\b(?:403 Forbidden|404 Not Found|410 Gone|E404|E403)\b")


class NotToBeHadError(Exception):
    """The registry that this machine is set up for does not give it out: nothing that a person here could install."""


class MissingProgramError(Exception):
    """A program of the operating system is not installed."""


def cache_directory() -> Path:
    """$XDG_CACHE_HOME/modsync-tests, made when it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(base) / "modsync-tests"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def athens_binary() -> Path:
    """The Athens proxy: the one that $MODSYNC_ATHENS_BINARY names, else built where that was not done before.

    Errors: NotToBeHadError; MissingProgramError for a wrong name; RuntimeError with the build's last lines otherwise.
    """
    own = os.environ.get(OWN_ATHENS)
    if own:
        return _program(own)
    place = cache_directory() / "athens-v0.19.0"
    with FileLock(f"{place}.lock"):
        if not (place / "proxy").exists():
            _build_athens(place)
    return place / "proxy"


def ci_local_command() -> list[str]:
    """What starts gitlab-ci-local, installed where that was not done before; it needs git and rsync, too.

    Errors: as athens_binary(); MissingProgramError for node, npm and rsync.
    """
    for program in ("node", "npm", "rsync"):
        if shutil.which(program) is None:
            raise MissingProgramError(f"{program} is not installed")
    place = cache_directory() / "gitlab-ci-local-4.70.1"
    with FileLock(f"{place}.lock"):
        if not (place / ".complete").exists():
            _install_ci_local(place)
    return ["node", str(place / "node_modules/.bin/gitlab-ci-local")]


def _program(name: str) -> Path:
    if not os.access(name, os.X_OK):
        raise MissingProgramError(f"{OWN_ATHENS}: {name} is no program")
    return Path(name).resolve()


def _build_athens(place: Path) -> None:
    work = place / "work"
    settings = {
        "GOBIN": str(place / "new"), "GOMODCACHE": str(work / "mod"), "GOCACHE": str(work / "cache"),
        "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0",
    }  # fmt: skip
    try:
        _run([go_binary(), "install", ATHENS], settings, place)
        (place / "new/proxy").replace(place / "proxy")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install_ci_local(place: Path) -> None:
    options = ["--prefix", str(place), "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
    _run(["npm", "install", *options, CI_LOCAL], {}, place)
    (place / ".complete").touch()


def _run(command: Sequence[str], settings: Mapping[str, str], place: Path) -> None:
    """Run with the machine's own environment, for it says where registries are."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, env={**os.environ, **settings}, cwd=place, capture_output=True, timeout=_SECONDS)
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).decode(errors="replace")
    if _REFUSED.search(said):
        raise NotToBeHadError(f"the registry does not give out {command[-1]}")
    raise RuntimeError(f"{' '.join(command[:2])} {command[-1]} failed:\n{said[-2000:]}")


def main() -> int:
    """`python -m tests.sandbox.tools`: 0 when a real Athens is here or could be built, 3 when the registry does not give it out.

    Whatever else goes wrong is an error: CI must not go on without.
    """
    try:
        print(f"a real Athens: {athens_binary().name}")
    except NotToBeHadError as error:
        print(f"no real Athens in this run: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
