"""deploy/compose.yaml without an engine: the guide's preparation, and modsync's four services as processes.

A process has what the service has: its user, its environment, its files, a read-only system, no capability.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.deploy_world import needs_root, start_postgres
from tests.integration.databases import wait_until
from tests.sandbox import guide
from tests.sandbox.machine import Machine
from tests.sandbox.world import PROJECT

pytestmark = [needs_root, pytest.mark.slow, pytest.mark.timeout(1200)]
PREPARE, OWNERS, ENGINE = guide.blocks("### With Compose")
DEPLOY = f"{guide.CHECKOUT}/deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "deploy/compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("web", "worker", "backfill", "sweeper")
# What the guide leaves to whoever installs.
GIVEN = (
    "secrets/gitlab-token", "secrets/clone-token", "secrets/athens-netrc",
    "tls/goproxy.crt", "tls/goproxy.key", "tls/modsync.crt", "tls/modsync.key",
)  # fmt: skip


def test_the_services_run_with_what_the_guide_prepares(machine: Machine) -> None:
    _prepare(machine)
    _everybody_reads_their_files_and_nobody_else(machine)
    _servers(machine)
    checked = next(line for line in ENGINE.splitlines() if line.startswith("docker compose run"))
    assert "modsync.toml: good" in machine.run(process("web", shlex.split(checked.partition(" web ")[2])))
    for name in OURS:
        _begin(machine, name)
    with machine.network():
        wait_until(_ready, 300)
    for name in OURS:
        machine.run(process(name, SERVICES[name]["healthcheck"]["test"][1:], entry=()))
    machine.run("for each in /run/ours/*.pid; do kill -TERM $(cat $each); done")
    wait_until(lambda: machine.run("ps -u 10001 -o args=", check=False) == "", 300)
    assert "Traceback" not in machine.run("cat /run/ours/*.log")


def _prepare(machine: Machine) -> None:
    there = machine.root / DEPLOY.lstrip("/")
    (there / "corp-ca.crt").write_text("")
    guide.follow(machine, f"cd deploy\n{PREPARE}")
    for name in GIVEN:
        (there / name).write_text("a secret of the installation's")
    guide.follow(machine, f"cd deploy\n{OWNERS}")


def _everybody_reads_their_files_and_nobody_else(machine: Machine) -> None:
    for name, service in SERVICES.items():
        user = int(str(service.get("user", "0")).partition(":")[0])
        for source, _ in _files(service):
            top = machine.root / source.lstrip("/")
            paths = [top, *top.rglob("*")] if top.is_dir() else [top]
            assert [path for path in paths if not _reads(path, user)] == [], name
    there = machine.root / DEPLOY.lstrip("/")
    secret = [*(there / "secrets").iterdir(), *(there / "tls").glob("*.key"), *there.glob("*.env")]
    assert len(secret) == 12
    assert [path for path in secret if path.stat().st_mode & 0o077] == []


def _reads(path: Path, user: int) -> bool:
    """Whether it is open to this user: by what is its own, or everybody's. Directories have to be entered, too."""
    found = path.stat()
    wanted = 0o5 if path.is_dir() else 0o4
    return (found.st_mode >> (6 if found.st_uid == user else 0)) & wanted == wanted


def _files(service: dict[str, Any]) -> list[tuple[str, str]]:
    """What it finds of deploy/: where it lies, and where the service has it."""
    volumes = [volume.split(":")[:2] for volume in service.get("volumes", []) if volume.startswith("./")]
    secrets = [(COMPOSE["secrets"][name]["file"], f"/run/secrets/{name}") for name in service.get("secrets", [])]
    return [(f"{DEPLOY}/{Path(source)}", target) for source, target in [*volumes, *secrets]]


def process(name: str, words: list[str], *, entry: tuple[str, ...] = ("modsync",)) -> str:
    """A shell script that becomes what a service's container would run."""
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    lines = ["mount --make-rprivate /", "mount --bind /srv/volumes/modsync-data /var/lib/modsync"]
    lines += [
        f"mount -t tmpfs -o {options} tmp {place}"
        for place, _, options in (each.partition(":") for each in service["tmpfs"])
    ]
    lines += [f"mount --bind {source} {target}" for source, target in _files(service)]
    lines += ["mount -o remount,bind,ro /", *_variables(service), "cd /var/lib/modsync"]
    drop = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    lines.append(shlex.join(["exec", "setpriv", f"--reuid={user}", f"--regid={group}", *drop, "--", *entry, *words]))
    return "exec unshare --mount bash -euc " + shlex.quote("\n".join(lines))


def _variables(service: dict[str, Any]) -> list[str]:
    """The image's, the service's and its env_file's, and none else."""
    image = re.findall(r"^ENV (.*)$", (PROJECT / "deploy/Dockerfile").read_text(), re.M)[-1].replace(
        "$PATH", "/usr/bin:/bin"
    )
    said = [f"{key}={value}" for key, value in service["environment"].items()]
    files = [f". {DEPLOY}/{name}" for name in service["env_file"]]
    return ["for name in $(compgen -e); do unset $name; done", "set -a", *image.split(), *files, *said]


def _servers(machine: Machine) -> None:
    """PostgreSQL and Redis by their services' names, and the places that the image or the engine makes."""
    guide.put(machine, "/etc/hosts", "127.0.0.1 localhost postgres redis web\n", 0o644)
    start_postgres(machine, (machine.root / DEPLOY.lstrip("/") / "secrets/postgres-password").read_text().strip())
    machine.run(shlex.join([*SERVICES["redis"]["command"], "--daemonize", "yes", "--dir", "/tmp"]))
    machine.run("install -d -o 10001 -g 10001 -m 0750 /srv/volumes/modsync-data; mkdir -p /run/secrets /run/ours")
    machine.run("chmod 755 /etc/modsync")  # the engine makes it
    targets = [target for name in OURS for _, target in _files(SERVICES[name])]
    machine.run("touch " + shlex.join(targets))


def _begin(machine: Machine, name: str) -> None:
    script = process(name, SERVICES[name]["command"])
    log = f"/run/ours/{name}"
    machine.run(f"setsid bash -c {shlex.quote(script)} > {log}.log 2>&1 < /dev/null & echo $! > {log}.pid")


def _ready() -> bool:
    try:
        return requests.get("http://127.0.0.1:8080/readyz", timeout=5).ok
    except requests.RequestException:
        return False
