"""Runs git through GitPython, in a process group of its own, watched: by time, and by the caller's checkpoint.

GitPython's `kill_after_timeout` has no effect with `as_process`, and otherwise finds children through `pgrep`, so
processes that start meanwhile survive. A group of its own and `killpg` leave nothing behind. GitPython also passes
`os.environ` on and can only add to it; inherited GIT_* variables are dropped by `env -u`. A worker that is killed cannot
end its git: git is tied to it, and marked.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from app.adapters.git_env import inherited
from app.adapters.patient import Patient
from app.adapters.processes import OWNER_MARK, boot, owner_mark, tied
from app.domain.errors import SyncError
from app.services.ports import Checkpoint

_PIPE_TAKES = 4096  # bytes, everywhere
_NO_GIT = "git is not installed on this machine"


@dataclass(frozen=True, slots=True)
class Result:
    """How a git command ended; `err` is English (LC_ALL=C) and not yet redacted."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What bounds a command: its time in seconds, and a checkpoint that is asked every `beat` seconds."""

    timeout: float
    checkpoint: Checkpoint
    beat: float = 1.0


class GitProcess:
    """A running git: its Popen, and GitPython's wrapper that must live as long (it ends git when it is collected)."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], cwd: Path, *, tie: bool = True) -> None:
        """`tie` it to the thread that starts it, unless it ends anyway as soon as nobody asks it any more."""
        marked = {**env, OWNER_MARK: owner_mark()}
        self._wrapper = _execute([*(tied() if tie else ()), *_dropping(env), "git", *args], marked, cwd)
        process = self._wrapper.proc
        if process is None:  # GitPython's type allows it; it does not happen
            raise SyncError("git_failed", "git did not start")
        self.popen: subprocess.Popen[bytes] = process

    def ask(self, words: bytes) -> IO[bytes]:
        """Send `words` and return the stream with the answer. Raises OSError when git is gone."""
        if self.popen.stdin is None or self.popen.stdout is None:
            raise OSError("git has no pipes")
        self.popen.stdin.write(words)
        self.popen.stdin.flush()
        return self.popen.stdout

    def widen(self, size: int, seconds: float) -> None:
        """Let git write `size` bytes ahead of us, and take as many at once; wait so long for each. Before the first question."""
        if self.popen.stdout is None:
            return
        with suppress(OSError, AttributeError):  # not on every system, and not above its limit
            fcntl.fcntl(self.popen.stdout, fcntl.F_SETPIPE_SZ, size)
        raw: io.RawIOBase = self.popen.stdout.detach()  # type: ignore[attr-defined]
        self.popen.stdout = io.BufferedReader(Patient(raw, seconds), size)

    def end(self) -> None:
        """Kill the whole group: git's transport and pack helpers, too."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the whole group, reap it, and close its pipes."""
        self.end()
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            with suppress(OSError, ValueError):
                if pipe:
                    pipe.close()


def run(
    args: Sequence[str], env: Mapping[str, str], cwd: Path, watch: Watch, *, stdin: bytes = b"", where: str = "",
    meanwhile: Callable[[], None] | None = None,
) -> Result:  # fmt: skip
    """Run `git <args>` to its end; `where` names the repository in an error. `meanwhile`: done while it starts.

    Raises SyncError `git_timeout`, or whatever the checkpoint raises; then the whole process group is gone.
    """
    process = GitProcess(args, env, cwd)
    try:
        if meanwhile:
            stdin = _given(process.popen, stdin)
            meanwhile()
        out, err = _watched(process.popen, stdin, watch, f"git {args[0]} {where}".rstrip())
    except BaseException:  # also a job's time limit, or SystemExit from a signal handler
        process.kill()
        raise
    return Result(process.popen.returncode, out, err.decode("utf-8", "replace"))


def _given(process: subprocess.Popen[bytes], stdin: bytes) -> bytes:
    """Give git its words now, where its pipe takes them without waiting; what is still to be given."""
    if process.stdin is None or len(stdin) > _PIPE_TAKES:
        return stdin
    with suppress(BrokenPipeError):  # it has ended: its status says why
        process.stdin.write(stdin)
        process.stdin.close()
    process.stdin = None  # communicate() would use it again
    return b""


def warm() -> None:
    """Import GitPython (which runs `git version`) and look for setpriv now, so that forked processes need not."""
    tied()
    boot()
    with suppress(ImportError):
        import_module("git")


def _watched(process: subprocess.Popen[bytes], stdin: bytes, watch: Watch, what: str) -> tuple[bytes, bytes]:
    deadline = time.monotonic() + watch.timeout
    words: bytes | None = stdin  # given once; communicate() goes on where it was interrupted
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SyncError("git_timeout", f"{what} did not end within {watch.timeout:g} s")
        try:
            return process.communicate(words, timeout=min(watch.beat, left))
        except subprocess.TimeoutExpired:
            words = None
            watch.checkpoint()


def _execute(command: list[str], env: Mapping[str, str], cwd: Path) -> Any:
    if shutil.which("git") is None:  # before the import: one that breaks off leaves GitPython half there (no `git.cmd`)
        raise SyncError("git_failed", _NO_GIT)
    try:  # here, because the import itself runs `git version`
        from git.cmd import Git
        from git.exc import GitCommandNotFound
    except ImportError as error:
        raise SyncError("git_failed", _NO_GIT) from error
    try:
        return Git(cwd).execute(
            command, istream=subprocess.PIPE, as_process=True, env=dict(env), shell=False, start_new_session=True
        )
    except GitCommandNotFound as error:
        raise SyncError("git_failed", _NO_GIT) from error


def _dropping(env: Mapping[str, str]) -> list[str]:
    """`env -u NAME ...` for inherited variables; empty when there are none, as is usual."""
    names = inherited(env)
    return ["env", *(word for name in names for word in ("-u", name))] if names else []
