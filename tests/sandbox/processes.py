"""Child processes of the sandbox: each in a group of its own, with a time limit, and gone afterwards."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_WAIT_SECONDS = 10.0


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 60.0,
    check: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end and return status and output.

    Raises CalledProcessError (with `check`) or TimeoutExpired; either way no child is left.
    """
    process = subprocess.Popen(
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout)
    finally:
        end_group(process)
    result = subprocess.CompletedProcess(list(command), process.returncode, out, err)
    if check:
        result.check_returncode()
    return result


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process's whole group and reap it; nothing happens when it has been reaped already."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_WAIT_SECONDS)


def git_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which git reads no configuration of the machine's, asks nobody and always talks English."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        **more,
    }
