"""A machine to throw away: this one's files under a layer in memory, with processes, network and hostname of its own.

Whoever is root on it may install, make users and mount as he likes; when it ends, its processes are killed by the kernel and
nothing of it is left. It needs root (and so CAP_SYS_ADMIN); nothing outside loopback is reached from it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_NETWORK = 0x40000000  # CLONE_NEWNET
_SECONDS = 600.0  # of a command that hangs: on a crowded machine each takes as long as it takes
# The layer's directories lie in a memory file system at $1; the pairs behind it are directories to show, and where.
_BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=8g machine "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" machine "$1/root"
cd "$1/root"
shift
mount -t proc proc proc
mount --rbind /dev dev
for place in tmp var/tmp run; do mount -t tmpfs -o mode=1777 memory "$place"; done
while [ $# -gt 0 ]; do
    mkdir -p "./$2"
    mount --bind "$1" "./$2"
    mount -o remount,bind,ro "./$2"
    shift 2
done
exec chroot . bash -c 'echo up; sleep infinity & while :; do wait; done'
"""
# A host beside others on one machine: what each host has for itself lies below $1.
_HOST = """
set -eu
mount --make-rprivate /
hostname "$2"
rm -rf "$1"
while read -r place; do
    mkdir -p "$1$place"
    cp -a "$place/." "$1$place"
    chown --reference="$place" "$1$place"
    chmod --reference="$place" "$1$place"
    mount --bind "$1$place" "$place"
done <<< "$3"
mount -t proc proc /proc
exec bash -c 'echo up; sleep infinity & while :; do wait; done'
"""
_PATH = "/srv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A context manager. `root` is its file system as seen from here; `pid` is its first process."""

    def __init__(self, place: Path, shown: dict[Path, str], *, path: str = _PATH) -> None:
        """`place` is an empty directory, `shown` maps directories of this machine to places there; they are read-only."""
        self._place, self._shown, self._path = place, shown, path
        self._hosts: list[Machine] = []
        self._process: subprocess.Popen[str]

    def start(self) -> None:
        pairs = [word for here, there in self._shown.items() for word in (str(here), there.lstrip("/"))]
        spaces = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"]
        self._begin([*spaces, "bash", "-c", _BOOT, "boot", str(self._place), *pairs])
        with self.network():
            _loopback_up()

    def host(self, name: str, *own: str) -> Machine:
        """A host beside this one on its network, which has processes, a name and copies of these directories for itself."""
        host = Machine(self._place, {}, path=self._path)
        spaces = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
        host._begin([*self._enter(), *spaces, "bash", "-c", _HOST, "boot", f"/srv/hosts/{name}", name, "\n".join(own)])
        self._hosts.append(host)
        return host

    @property
    def pid(self) -> int:
        """RuntimeError when it has ended: the number may be another process's by now, with this machine's own files."""
        if not self._first.is_running() or Path(f"/proc/{self._first.pid}/root").samefile("/"):
            raise RuntimeError("the machine does not run")
        return self._first.pid

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root")

    def run(self, script: str, *, stdin: str = "", check: bool = True, **environment: str) -> str:
        """What a shell script prints, as root with an environment of its own. AssertionError with it, when it fails."""
        command = [*self._enter(), *self._shell(environment), script]
        done = subprocess.run(
            command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_SECONDS, check=False,
            start_new_session=True,  # whoever asks for a password asks there, and not at our terminal
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{script}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def network(self) -> Iterator[None]:
        """What this thread does, and what it starts, has this machine's network."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _set_network(there)
            yield
        finally:
            _set_network(here)
            os.close(here)
            os.close(there)

    def stop(self) -> None:
        """End everything on it, hosts beside it too; a machine's files go with its last process."""
        for host in self._hosts:
            host.stop()
        with suppress(psutil.NoSuchProcess):
            self._first.kill()  # by psutil, which never takes a later process of the same number for it
        self._process.wait(_SECONDS)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _begin(self, command: list[str]) -> None:
        # However this process ends, the machine ends with it.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"the machine did not start: {self._process.stderr.read()}")
        self._first = _first_within(psutil.Process(self._process.pid))

    def _enter(self) -> list[str]:
        spaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd"]
        return ["nsenter", "--target", str(self.pid), *spaces]

    def _shell(self, environment: dict[str, str]) -> list[str]:
        given = {"PATH": self._path, "HOME": "/root", "LANG": "C.UTF-8", **environment}
        return ["env", "-i", *(f"{name}={value}" for name, value in given.items()), "bash", "-euo", "pipefail", "-c"]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def possible() -> bool:
    """Whether this user may have such a machine here."""
    command = ["unshare", "--mount", "--pid", "--net", "--fork", "mount", "-t", "tmpfs", "try", "/tmp"]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _first_within(process: psutil.Process) -> psutil.Process:
    """The first process of the namespaces that nsenter and unshare made, as it is numbered out here."""
    while process.name() in ("nsenter", "unshare"):
        (process,) = process.children()
    return process


def _set_network(handle: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(handle, _NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _loopback_up() -> None:
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # up and running
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS
