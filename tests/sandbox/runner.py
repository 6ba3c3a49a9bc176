"""A stand-in for GitLab's runner: runs the jobs of the stand-in GitLab with a real `sh -e`, shell-executor style.

Each job has an empty working directory (as with GIT_STRATEGY none) and a process group of its own; when it ends, for
whatever reason, the whole group is killed. Nothing of it is left but its log, which GitLab keeps.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import psutil

from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.jobs import Assignment
from tests.sandbox.gitlab.model import Variable

_POLL_SECONDS = 0.05
_JOIN_SECONDS = 10.0
_KILL_SECONDS = 2.0
_KILL_POLL_SECONDS = 0.002
_BLOCK = 64 * 1024


class Runner:
    """Takes jobs from a GitLab, `concurrent` at a time. A context manager: entering starts, leaving stops.

    `path` replaces the PATH that jobs get, so that tests choose their tools.
    """

    def __init__(self, gitlab: GitLab, *, concurrent: int = 2, path: str = "") -> None:
        self._jobs = gitlab.jobs
        self._path = path or os.environ.get("PATH", os.defpath)
        self._concurrent = concurrent
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take jobs from background threads; nothing happens when it already does."""
        if self._threads:
            return
        self._stopping.clear()
        for number in range(self._concurrent):
            thread = threading.Thread(target=self._work, name=f"runner-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Kill running jobs (they end `failed`, `runner_system_failure`) and take no more."""
        self._stopping.set()
        self._jobs.wake()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        self._threads.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _work(self) -> None:
        while (job := self._jobs.take(self._stopping.is_set)) is not None:
            folder = self._jobs.folder / str(job.job_id)
            try:
                self._run(job, folder)
            except OSError as error:
                self._say(job, f"ERROR: Job failed (system failure): {error}")
                self._jobs.finish(job.job_id, "failed", "runner_system_failure")
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self, job: Assignment, folder: Path) -> None:
        build = folder / "build"
        build.mkdir(parents=True)
        process = subprocess.Popen(
            self._command(job, folder),
            env=self._environment(job.variables, folder),
            cwd=build,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log = threading.Thread(target=self._copy_log, args=(job, process), daemon=True)
        log.start()
        reason = self._watch(job, process)
        log.join(_JOIN_SECONDS)
        self._conclude(job, process.returncode, reason)

    def _command(self, job: Assignment, folder: Path) -> list[str]:
        """What runs the job's script; what it needs is put into `folder`, of which only `build` is the job's."""
        script = folder / "script.sh"
        script.write_text(_script(job.script))
        return ["/bin/sh", "-e", str(script)]

    def _watch(self, job: Assignment, process: "subprocess.Popen[bytes]") -> str | None:
        """Wait for the end of the job or of our patience; says GitLab's failure reason when we ended it."""
        waited, reason = 0.0, None
        while reason is None and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
            waited += _POLL_SECONDS
            reason = self._why_end(job, waited)
        _end_group(process)
        return reason

    def _why_end(self, job: Assignment, waited: float) -> str | None:
        if self._stopping.is_set():
            return "runner_system_failure"
        if not self._jobs.is_running(job.job_id):
            return "canceled"
        return "job_execution_timeout" if waited > job.timeout else None

    def _copy_log(self, job: Assignment, process: "subprocess.Popen[bytes]") -> None:
        """Hand the output to GitLab line by line, without masked values."""
        secrets = [one.value.encode() for one in job.variables if one.masked and one.value]
        with cast("IO[bytes]", process.stdout) as output:
            for line in iter(lambda: output.readline(_BLOCK), b""):
                for secret in secrets:
                    line = line.replace(secret, b"[MASKED]")
                self._jobs.append(job.job_id, line)

    def _conclude(self, job: Assignment, code: int, reason: str | None) -> None:
        if reason == "job_execution_timeout":
            self._say(job, f"ERROR: Job failed: execution took longer than {job.timeout:g}s seconds")
        elif code == 0 and reason is None:
            self._say(job, "Job succeeded")
            return self._jobs.finish(job.job_id, "success")
        else:
            self._say(job, f"ERROR: Job failed: {reason or f'exit status {code}'}")
        return self._jobs.finish(job.job_id, "failed", reason or "script_failure")

    def _environment(self, variables: Iterable[Variable], folder: Path) -> dict[str, str]:
        """The job's variables (files are written, and named), over the little that a process needs."""
        environment = {"PATH": self._path, "HOME": str(folder / "build"), "LANG": "C.UTF-8"}
        for one in variables:
            environment[one.key] = _file(folder, one) if one.kind == "file" else one.value.replace("\0", "")
        return {**environment, "CI_PROJECT_DIR": str(folder / "build"), "CI_BUILDS_DIR": str(folder)}

    def _say(self, job: Assignment, text: str) -> None:
        self._jobs.append(job.job_id, text.encode() + b"\n")


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the job and wait until none of it runs; orphans may stay as zombies until init looks."""
    deadline = time.monotonic() + _KILL_SECONDS
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_JOIN_SECONDS)
    while _runs(process.pid) and time.monotonic() < deadline:
        time.sleep(_KILL_POLL_SECONDS)


def _runs(group: int) -> bool:
    """Whether a process group has a member that is more than a zombie."""
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        members = [one for one in psutil.process_iter(["status"]) if _group(one.pid) == group]
        return any(one.info["status"] != psutil.STATUS_ZOMBIE for one in members)
    return False


def _group(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return -1


def _script(lines: Iterable[str]) -> str:
    """The script as GitLab's runner makes it: each entry is announced, then run."""
    parts = []
    for line in lines:
        first = line.strip().partition("\n")
        shown = f"$ {first[0]}{' # collapsed multi-line command' if first[2] else ''}"
        parts.append(f"printf '%s\\n' '{shown.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'\n{line}\n")
    return "".join(parts)


def _file(folder: Path, one: Variable) -> str:
    path = folder / "variables" / one.key
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(one.value)
    return str(path)
