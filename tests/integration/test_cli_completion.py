"""Shell completion in a real, interactive bash, zsh and fish: what the Tab key makes of a line."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cli_world import MODSYNC, TIMEOUT

SHELLS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
# As the epilog of `modsync completion` and the shells' own manuals have it.
LOAD = {
    "bash": 'eval "$(modsync completion bash)"\n',
    "zsh": 'fpath=("$HOME" $fpath); modsync completion zsh > "${fpath[1]}/_modsync"; autoload -Uz compinit; compinit -u\n',
    "fish": "modsync completion fish | source\n",
}


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._seen = descriptor, ""

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, words: str) -> str:
        """All that was shown, once `words` are in what came since the last wait."""
        end, seen = time.monotonic() + TIMEOUT, ""
        while words not in seen:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {words!r} in {seen!r}"
            seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self._descriptor, 4096).decode(errors="replace"))
        return seen


@contextmanager
def terminal(home: Path, shell: str) -> Iterator[Terminal]:
    """An interactive shell that knows `modsync` and nothing else of ours."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 200))
    environment = {
        "PATH": f"{MODSYNC.parent}:/usr/bin:/bin", "HOME": str(home), "TERM": "xterm", "PS1": "$ ", "LC_ALL": "C.UTF-8",
        "HISTFILE": "/dev/null", "fish_history": "",
    }  # fmt: skip
    # fish wants the terminal to be its session's own
    process = subprocess.Popen(
        ["setsid", "-c", shell, *SHELLS[shell]], stdin=its, stdout=its, stderr=its, cwd=home, env=environment
    )
    os.close(its)
    try:
        yield Terminal(ours)
    finally:
        process.kill()
        process.wait(TIMEOUT)
        os.close(ours)


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_and_values(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "load").write_text(LOAD[shell])
    with terminal(tmp_path, shell) as keys:
        keys.type("source ./load; echo re'ad'y\n")
        keys.wait_for("ready")
        for typed, completed in (
            ("modsync rede\t", "liver"), ("modsync replay --fai\t", "led"), ("modsync replay --from pi\t", "peline"),
            ("modsync db back\t", "up"), ("modsync --ser\t", "ver"),
        ):  # fmt: skip
            keys.type(typed)
            keys.wait_for(typed.split()[-1] + completed)
            keys.type("\x15")  # Ctrl+U: an empty line again


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell_without_any_configuration(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        [MODSYNC, "completion", shell], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert f"_MODSYNC_COMPLETE={shell}_complete" in done.stdout
    # See app.cli_completion: loaded from fpath, the script must work more than once.
    assert ("if [[ ${funcstack[1]} == _modsync ]]" in done.stdout) == (shell == "zsh")


def test_completing_a_command_imports_no_command(tmp_path: Path) -> None:
    """A key press must not wait for the database's libraries."""
    program = (
        "import sys, click; from app.cli import cli; from click.shell_completion import BashComplete\n"
        "found = BashComplete(cli, {}, 'modsync', '_X').get_completions([], 'd')\n"
        "print(*(each.value for each in found)); print('sqlalchemy' in sys.modules, 'rich' in sys.modules)"
    )
    python = MODSYNC.with_name("python")
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stdout.splitlines() == ["deliveries doctor db", "False False"]
