"""docs/deployment.md, followed word by word on one machine: its commands, the units' processes, nginx, backup, restore, upgrade.

systemd is not booted: tests/sandbox/systemctl.py starts each unit as it says. Redis and nginx are real.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.deploy_world import (
    NAME,
    edit,
    front,
    journal,
    needs_root,
    nothing_bad_in_the_journal,
    release,
    start_redis,
)
from tests.integration.databases import wait_until
from tests.sandbox import guide
from tests.sandbox.bad_servers import Authority
from tests.sandbox.machine import Machine
from tests.sandbox.world import World

pytestmark = [needs_root, pytest.mark.slow, pytest.mark.timeout(1200)]
_INSTALL, BEGIN, _NGINX = guide.blocks("### With systemd")
SAVE_SQLITE, _SAVE_POSTGRES, RESTORE_SQLITE, _RESTORE_POSTGRES, AFTER = guide.blocks("## Backups")
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
PROBE = """#!/bin/sh
echo $(id -un) $(umask) $PWD
grep -E 'CapBnd|NoNewPrivs' /proc/self/status
for place in /etc /opt/modsync /usr /root /home /srv; do (: > $place/probe) 2> /dev/null && echo wrote $place; done
(: > probe) && (: > /tmp/probe) && echo own
ls /tmp/of-others 2> /dev/null
echo end
"""
UPGRADE, ANSWERS = guide.blocks("## Upgrades")


def test_what_is_installed_says_what_is_missing(machine: Machine) -> None:
    names = re.findall(r"^(MODSYNC_\w+)=''$", (machine.root / "etc/modsync/modsync.env").read_text(), re.M)
    said = machine.run("modsync config check", check=False)
    assert said.count("names an empty secret") == len(names) == 3
    assert said.endswith("3 problems\n")
    filled = " ".join(f"-e \"s/^{name}=''/{name}='$(openssl rand -hex 32)'/\"" for name in names)
    machine.run(f"sed {filled} -i /etc/modsync/modsync.env")
    forgotten = machine.run("modsync config check", check=False)
    assert forgotten.startswith("problem: data_dir: can be neither written nor made: Permission denied."), forgotten
    machine.run("""sed -E 's|^# data_dir = "var" .*|data_dir = "/var/lib/modsync"|' -i /etc/modsync/modsync.toml""")
    assert "modsync.toml: good" in machine.run("modsync config check")
    others = machine.run(f"{NOBODY} /opt/modsync/bin/modsync config check", check=False)
    assert others.startswith("problem: modsync.toml: cannot be read: Permission denied."), others
    listed = machine.run("stat -c '%U %G %a %n' /etc/modsync /etc/modsync/* /var/lib/modsync").splitlines()
    assert listed == [
        "root modsync 750 /etc/modsync",
        "root root 600 /etc/modsync/modsync.env",
        "root modsync 640 /etc/modsync/modsync.toml",
        "modsync modsync 750 /var/lib/modsync",
    ]


def test_the_stand_in_keeps_what_a_unit_promises(machine: Machine) -> None:
    """Else the others would prove nothing of users and places."""
    unit = machine.root / "etc/systemd/system/modsync-web.service"
    unit.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/srv/bin/probe", unit.read_text()))
    guide.put(machine, "/srv/bin/probe", PROBE)
    guide.put(machine, "/tmp/of-others", "", 0o666)
    machine.run("systemctl start modsync-web")
    said = machine.root / "run/journal/modsync-web"
    wait_until(lambda: "end\n" in said.read_text())
    lines = [line for line in said.read_text().splitlines() if "ulimit" not in line]
    assert lines == ["modsync 0027 /var/lib/modsync", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "own", "end"]


def test_one_machine(machine: Machine, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with machine.network(), World(tmp_path / "world", port=8080, give_up=120, patience=120) as world:
        edit(machine, world, authority.ca_file)
        start_redis(machine)
        began = guide.follow(machine, BEGIN)
        assert "modsync.toml: good" in began
        assert '{"status":"ready"' in began
        _in_front(machine, authority)
        release(machine, world, "first")
        _backup_and_restore(machine, world)
        _upgrade(machine, world)
        machine.run("systemctl stop modsync.target")
        assert machine.run("ps -u modsync -o args=", check=False) == ""
        nothing_bad_in_the_journal(machine, world)


def _in_front(machine: Machine, authority: Authority) -> None:
    """nginx at modsync's own address, whose word for the client's address is taken."""
    front(machine, authority)
    asked = ("/readyz", "/metrics", "/athens/validate/x", "/webhooks/platform")
    assert [_status(machine, path) for path in asked] == ["200", "404", "404", "401"]
    refused = next(line for line in reversed(journal(machine, "modsync-web")) if line["event"] == "delivery_refused")
    assert refused["address"] == "127.0.0.7"


def _status(machine: Machine, path: str) -> str:
    """nginx' answer to another address than the loopback's usual one."""
    body = "--data {}" if path.startswith("/webhooks") else ""
    ask = f"curl -sS -o /dev/null -w '%{{http_code}}' --interface 127.0.0.7 --cacert /etc/modsync/corp-ca.crt {body}"
    return machine.run(f"{ask} https://{NAME}{path}")


def _backup_and_restore(machine: Machine, world: World) -> None:
    guide.follow(machine, SAVE_SQLITE)
    since = release(machine, world, "since")
    guide.follow(machine, RESTORE_SQLITE)
    assert since.module_path not in machine.run("modsync runs")
    assert re.search(rf"adopted +{since.query}", guide.follow(machine, AFTER))


def _upgrade(machine: Machine, world: World) -> None:
    """What runs keeps its own files until its restart; then all run the new version's."""
    old = _programs(machine)
    guide.follow(machine, UPGRADE)
    assert '{"status":"ready"' in guide.follow(machine, ANSWERS)
    new = _programs(machine)
    assert {path.split("/")[2] for path in old} == {"modsync-0.1.0"}
    assert {path.split("/")[2] for path in new} == {"modsync-0.2.0"}
    release(machine, world, "upgraded")


def _programs(machine: Machine) -> set[str]:
    """What each unit's main process has opened as its program."""
    return set(
        machine.run("for f in /run/units/*; do tr '\\0' '\\n' < /proc/$(cat $f)/cmdline | head -1; done").split()
    )
