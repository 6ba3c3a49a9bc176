"""Shell completion in a real, interactive bash: what the Tab key makes of a line."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cli_world import MODSYNC, TIMEOUT


class Terminal:
    """A bash on a terminal of its own."""

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
def bash(home: Path) -> Iterator[Terminal]:
    """An interactive bash that knows `modsync` and nothing else of ours."""
    ours, its = pty.openpty()
    environment = {
        "PATH": f"{MODSYNC.parent}:/usr/bin:/bin", "HOME": str(home), "TERM": "dumb", "PS1": "$ ", "LC_ALL": "C.UTF-8",
        "HISTFILE": "/dev/null", "COLUMNS": "200",
    }  # fmt: skip
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=its, stdout=its, stderr=its, cwd=home, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(its)
    try:
        yield Terminal(ours)
    finally:
        process.kill()
        process.wait(TIMEOUT)
        os.close(ours)


def test_tab_completes_commands_options_and_values(tmp_path: Path) -> None:
    with bash(tmp_path) as terminal:
        terminal.type('eval "$(modsync completion bash)"; echo re"ad"y\n')
        terminal.wait_for("\nready")
        for typed, completed in (
            ("modsync rede\t", "liver "), ("modsync replay --fai\t", "led "), ("modsync replay --from pi\t", "peline "),
            ("modsync db back\t", "up "), ("modsync --ser\t", "ver "),
        ):  # fmt: skip
            terminal.type(typed)
            terminal.wait_for(typed.rstrip("\t") + completed)
            terminal.type("\x15")  # Ctrl+U: an empty line again


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
