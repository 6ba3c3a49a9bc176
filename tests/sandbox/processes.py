"""Child processes of the sandbox: each in a group of its own, with a time limit, and gone afterwards."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_WAIT_SECONDS = 10.0


class ClosedError(Exception):
    """No more children are wanted."""


class Children:
    """Runs commands, from any thread, and can end all of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end and return status and output.

        Raises CalledProcessError (with `check`), TimeoutExpired after `timeout` seconds, or ClosedError; no child is left
        in any case.
        """
        process = self._spawn(command, env, cwd)
        try:
            out, err = process.communicate(stdin, timeout)
        finally:
            end_group(process)
            with self._lock:
                self._processes.discard(process)
        result = subprocess.CompletedProcess(list(command), process.returncode, out, err)
        if check:
            result.check_returncode()
        return result

    def open(self) -> None:
        """Let commands run (again)."""
        self._closed = False

    def close(self) -> None:
        """End every running command, and refuse to start others until `open()`."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                _kill_group(process)

    def _spawn(self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        with self._lock:
            if self._closed:
                raise ClosedError
            process = subprocess.Popen(
                command, env=dict(env), cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
            self._processes.add(process)
        return process


run = Children().run
"""Runs one command for whoever has no need to end it from elsewhere."""


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process's whole group and reap it; nothing happens when it has been reaped already."""
    _kill_group(process)
    process.wait(_WAIT_SECONDS)


def ask_group_to_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGTERM to the whole group, and so long for the process to end by it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


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
