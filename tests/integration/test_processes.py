"""What a killed process leaves behind: its children end, its temporary directories go, its locks hold nobody up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.adapters.holder import SILENT_SECONDS, end_silent_holder
from app.adapters.processes import OWNER_MARK, end_orphans, owner_is_gone, owner_mark, tied
from app.adapters.scratch import remove_stale, scratch_directory
from tests.integration.databases import wait_until
from tests.sandbox.looked_at import gone

_GIT = """
import sys, time
from pathlib import Path
from app.adapters.git_process import GitProcess
made = GitProcess(["cat-file", "--batch"], {"GIT_DIR": sys.argv[1]}, Path(sys.argv[1]))
print(made.popen.pid, flush=True)
time.sleep(60)
"""
_HOLDER = """
import sys, time
from filelock import FileLock
from pathlib import Path
from app.adapters.holder import holding
lock = FileLock(sys.argv[1])
with lock, holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def _python(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_git_ends_with_a_killed_worker(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path)], check=True)
    with _python(_GIT, str(tmp_path)) as worker:
        git = psutil.Process(int(_line(worker)))
        # Its process is there before it is git: until then the environment is its parent's.
        wait_until(lambda: git.environ().get(OWNER_MARK, "").endswith(f"-{worker.pid}"))
        assert not gone(git)
        worker.kill()
        wait_until(lambda: gone(git))


def test_without_such_means_a_command_has_no_words_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    tied.cache_clear()
    try:
        assert tied() == ()
    finally:
        tied.cache_clear()


def test_marked_processes_of_a_dead_owner_are_ended_and_no_others() -> None:
    namespace, _, _ = owner_mark().rpartition("-")
    with _python("") as dead:
        dead.wait()
        marks = {"orphan": f"{namespace}-{dead.pid}", "ours": owner_mark(), "neighbour": f"1{namespace}-{dead.pid}"}
        assert owner_is_gone(marks["orphan"])
        made = {name: subprocess.Popen(["sleep", "60"], env={OWNER_MARK: mark}) for name, mark in marks.items()}
        try:
            wait_until(lambda: made["orphan"].pid in end_orphans() or made["orphan"].poll() is not None)
            assert made["orphan"].wait(5) == -signal.SIGKILL
            assert made["ours"].poll() is None
            assert made["neighbour"].poll() is None
        finally:
            for process in made.values():
                process.kill()
                process.wait()


def test_temporary_directories_of_dead_owners_go(tmp_path: Path) -> None:
    namespace, _, _ = owner_mark().rpartition("-")
    with _python("") as dead:
        dead.wait()
        left = tmp_path / f"modsync-{namespace}-{dead.pid}-abc"
        (left / "objects").mkdir(parents=True)
        old = tmp_path / f"modsync-1{namespace}-{dead.pid}-abc"
        young = tmp_path / f"modsync-1{namespace}-{dead.pid}-def"
        old.mkdir()
        young.mkdir()
        os.utime(old, (1, 1))
        with scratch_directory(tmp_path) as mine:
            assert sorted(remove_stale(tmp_path)) == sorted([left.name, old.name])
            assert {path.name for path in tmp_path.iterdir()} == {mine.name, young.name}


def test_a_silent_holder_of_a_lock_is_ended_a_lively_one_is_not(tmp_path: Path) -> None:
    lock, note = tmp_path / "cache.lock", tmp_path / "cache.holder"
    with _python(_HOLDER, str(lock)) as holder:
        assert _line(holder) == "held"
        assert end_silent_holder(lock) is None
        os.kill(holder.pid, signal.SIGSTOP)
        long_ago = time.time() - SILENT_SECONDS - 1
        os.utime(note, (long_ago, long_ago))
        assert end_silent_holder(lock) == holder.pid
        assert holder.wait(5) == -signal.SIGKILL


def test_a_note_that_a_dead_holder_left_ends_nobody(tmp_path: Path) -> None:
    lock, note = tmp_path / "cache.lock", tmp_path / "cache.holder"
    lock.touch()
    namespace, _, _ = owner_mark().rpartition("-")
    with _python("import time; print('up', flush=True); time.sleep(60)") as other:  # has the dead one's number
        _line(other)
        note.write_text(f"{namespace}-{other.pid}")
        os.utime(note, (1, 1))
        assert end_silent_holder(lock) is None
        assert other.poll() is None
