"""modsync's processes under a process manager: what ended, whoever ended it, is started again after a moment."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil

from tests.chaos.health import Health
from tests.sandbox.looked_at import gone
from tests.sandbox.service import Service

_LOOK_SECONDS = 0.1


class Manager:
    """Watches the roles from a thread. Pauses are random; `ended` counts the roles that ended without our doing."""

    def __init__(self, service: Service, health: Health, chance: random.Random) -> None:
        self.service, self._health, self._chance = service, health, chance
        self.ended: list[str] = []
        self._expected: set[str] = set()
        self._paused: set[psutil.Process] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="manager", daemon=True)

    def start(self) -> None:
        """Begin to watch; the service runs already."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing any more; nothing stands still any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for process in list(self._paused):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def kill(self, role: str) -> None:
        """kill -9 of the role's first process alone; its children see to themselves."""
        self._expected.add(role)
        self._health.down(role)
        self._kill(self.service.processes[role].pid)

    def kill_process(self, process: psutil.Process) -> bool:
        """kill -9 of one process; False when it was gone already."""
        return self._kill(process.pid)

    def pause(self, process: psutil.Process, seconds: float, *, outage: bool = True) -> bool:
        """SIGSTOP now, SIGCONT later; False when it was gone already. `outage`: nobody can do its work meanwhile."""
        name = f"paused-{process.pid}"
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self._paused.add(process)
            if outage:
                self._health.down(name)
            timer = threading.Timer(seconds, self._go_on, (process, name))
            timer.daemon = True
            timer.start()
            return True
        return False

    def horses(self, role: str) -> list[psutil.Process]:
        """The processes that have a job in hand: the children of RQ's workers, which are the pool's children."""
        return [horse for worker in self.children(role) for horse in _children(worker)]

    def children(self, role: str) -> list[psutil.Process]:
        """The direct children of a role's first process."""
        with suppress(psutil.NoSuchProcess):
            return _children(psutil.Process(self.service.processes[role].pid))
        return []

    def all(self) -> Iterator[psutil.Process]:
        """All processes of the roles, as far as they can be found from above."""
        for process in list(self.service.processes.values()):
            with suppress(psutil.NoSuchProcess):
                first = psutil.Process(process.pid)
                yield from [first, *first.children(recursive=True)]

    def _go_on(self, process: psutil.Process, name: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.resume()
        self._paused.discard(process)
        self._health.up(name)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            for role, process in list(self.service.processes.items()):
                if process.poll() is not None and not self._stop.is_set():
                    self._start_again(role)

    def _start_again(self, role: str) -> None:
        self._health.down(role)
        if role in self._expected:
            self._expected.discard(role)
        else:
            self.ended.append(role)
        self._stop.wait(self._chance.uniform(0.1, 1.5))
        if not self._stop.is_set():
            self.service.start_role(role)
            threading.Thread(target=self._wait_up, args=(role,), daemon=True).start()

    def _wait_up(self, role: str) -> None:
        """Redis and the web server are up when they answer; workers and the sweeper from their start, so strictly."""
        ready: dict[str, Callable[[], bool]] = {"redis": self._health.redis_answers, "web": self._health.web_answers}
        process = self.service.processes[role]
        while role in ready and process.poll() is None and not ready[role]():
            time.sleep(0.05)
        if process.poll() is None:
            self._health.up(role)

    @staticmethod
    def _kill(pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [child for child in process.children() if not gone(child)]
    return []
