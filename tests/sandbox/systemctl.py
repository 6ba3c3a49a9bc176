"""systemctl's stand-in on a machine where systemd is not booted: starts units as tests/sandbox/units.py says, and ends them.

It knows the commands that docs/deployment.md gives, and no others. For the machine itself: `python -m tests.sandbox.systemctl`.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.sandbox import units

_UNITS = Path("/etc/systemd/system")
_WANTED = _UNITS / "modsync.target.wants"
_RUN = Path("/run/units")
_LOGS = Path("/run/journal")
# Of the distribution, whose units are not run here: what starts them, and what lets them read their configuration again.
_OTHERS = {"nginx": ("nginx", "nginx -s reload"), "redis-server": ("/srv/bin/redis-server /etc/redis/redis.conf", "")}


def main(command: str, *words: str) -> None:
    """One command of systemctl's. Its errors are AssertionErrors and ValueErrors, with status 1."""
    names = [name for word in words if word != "--now" for name in _named(word)]
    if command == "daemon-reload":
        return
    if command == "enable":
        _enable(names)
        names, command = (_named("modsync.target") if "--now" in words else []), "start"
    acts = {
        "restart": (_stop, _start),
        "try-restart": (_try,),
        "start": (_start,),
        "stop": (_stop,),
        "reload": (_reload,),
    }
    for act in acts[command]:
        for name in names:
            act(name)


def _named(word: str) -> list[str]:
    """The services that a word means: a pattern's, the target's that are enabled, or one."""
    services = sorted(path.stem for path in _UNITS.glob("modsync-*.service"))
    if word == "modsync.target":
        return [name for name in services if (_WANTED / f"{name}.service").exists()]
    if word in _OTHERS:
        return [word]
    found = fnmatch.filter(services, word)
    assert found, f"Unit {word}.service not found."
    return found


def _enable(names: list[str]) -> None:
    _WANTED.mkdir(exist_ok=True)
    for name in names:
        with suppress(FileExistsError):
            (_WANTED / f"{name}.service").symlink_to(_UNITS / f"{name}.service")


def _pid(name: str) -> int:
    """The unit's main process; 0 for none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((_RUN / name).read_text())
        os.kill(pid, 0)
        return pid
    return 0


def _start(name: str) -> None:
    if _pid(name):
        return
    if name in _OTHERS:
        subprocess.run(_OTHERS[name][0].split(), check=True)
        return
    for directory in (_RUN, _LOGS):
        directory.mkdir(exist_ok=True)
    command = ["bash", "-c", units.script(_UNITS / f"{name}.service")]
    with (_LOGS / name).open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (_RUN / name).write_text(str(process.pid))


def _stop(name: str) -> None:
    """SIGTERM to the main process, and then ten times the unit's own time, for a crowded machine, until its group is gone."""
    if not (pid := _pid(name)):
        return
    unit = units.service(_UNITS / f"{name}.service")
    end = time.monotonic() + 10 * float(unit["TimeoutStopSec"][0])
    os.kill(pid, signal.SIGTERM)
    while _lives(pid):
        assert time.monotonic() < end, f"{name}: State 'stop-sigterm' timed out. Killing."
        time.sleep(0.02)


def _lives(group: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


def _try(name: str) -> None:
    if _pid(name):
        _stop(name)
        _start(name)


def _reload(name: str) -> None:
    start, again = _OTHERS[name]
    if subprocess.run(again.split(), capture_output=True, check=False).returncode != 0:
        subprocess.run(start.split(), check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
