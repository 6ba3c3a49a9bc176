"""docs/deployment.md's many machines: two web hosts behind nginx, two hosts of workers, PostgreSQL and a Redis with a password.

Each host has files, processes and a name of its own; they share a loopback network, so their addresses differ instead of hosts.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.e2e.deploy_world import (
    edit,
    front,
    needs_root,
    nothing_bad_in_the_journal,
    release,
    start_postgres,
    start_redis,
)  # fmt: skip
from tests.integration.databases import wait_until
from tests.sandbox import guide
from tests.sandbox.bad_servers import Authority
from tests.sandbox.machine import Machine
from tests.sandbox.world import World

pytestmark = [needs_root, pytest.mark.slow, pytest.mark.timeout(1200)]
_MAKE_DATABASE, FILES, WEB, WORKERS, KEY = guide.blocks("## Many machines")
_SAVE_SQLITE, SAVE, _RESTORE_SQLITE, RESTORE, AFTER = guide.blocks("## Backups")
(RESTART,) = [line for line in guide.blocks("## Upgrades")[0].splitlines() if "try-restart" in line]
ADDRESSES = {"web1": "127.0.0.11", "web2": "127.0.0.12", "work1": "127.0.0.21", "work2": "127.0.0.22"}


@dataclass
class Site:
    """The hosts by name, and the machine that the servers around them run on."""

    world: World
    servers: Machine
    hosts: dict[str, Machine]

    def all(self, script: str) -> dict[str, str]:
        return {name: host.run(script) for name, host in self.hosts.items()}


@contextmanager
def site(installed: Machine, servers: Machine, tmp_path: Path) -> Iterator[Site]:
    """Everything installed and configured, nothing of modsync's started."""
    authority, password = Authority(tmp_path / "ca"), secrets.token_hex(16)
    web1, web2, *_ = ADDRESSES.values()
    with World(tmp_path / "world", port=8080, give_up=120, patience=120) as world:
        start_postgres(servers, password)
        start_redis(servers, f"requirepass {password}")
        hosts = {name: installed.host(name, *guide.OWN) for name in ADDRESSES}
        for name, host in hosts.items():
            edit(host, world, authority.ca_file, address=ADDRESSES[name], **_urls(password))
        front(
            servers,
            authority,
            **{"server 127.0.0.1:8080": f"server {web1}:8080", "# server web2.corp.example": f"server {web2}"},
        )
        try:
            yield Site(world, servers, hosts)
        finally:
            for host in hosts.values():
                host.stop()


def _urls(password: str) -> dict[str, str]:
    """The guide's two addresses, for servers on loopback and without TLS."""
    urls = dict(re.findall(r"^(\w+_URL)='(.*)'$", FILES, re.M))
    assert urls.keys() == {"DATABASE_URL", "REDIS_URL"}
    database = urls["DATABASE_URL"].partition("?")[0].replace("db.corp.example", "127.0.0.1")
    redis = urls["REDIS_URL"].replace("rediss", "redis").replace("redis.corp.example", "127.0.0.1")
    return {"DATABASE_URL": database.replace("PASSWORD", password), "REDIS_URL": redis.replace("PASSWORD", password)}


def test_many_machines(installed: Machine, machine: Machine, tmp_path: Path) -> None:
    with installed.network(), site(installed, machine, tmp_path) as many:
        assert all("good" in said for said in many.all("modsync config check").values())
        _begin(many)
        _one_session_for_both(many)
        release(many.hosts["web1"], many.world, "first")
        _drain(many)
        _no_webhook_is_refused_while_hosts_restart(many)
        _restore(many)
        many.all("systemctl stop modsync.target; ! ps -u modsync -o args=")
        for host in many.hosts.values():
            nothing_bad_in_the_journal(host, many.world)


def _begin(many: Site) -> None:
    """Each host what it is for; the second web host gets the first one's key before."""
    guide.follow(many.hosts["web1"], WEB)
    wait_until(lambda: _ready("web1"), 300)
    guide.put(many.servers, "/srv/bin/ssh", '#!/bin/sh\nexec "$2" "/srv/hosts/$1$3"\n')
    guide.follow(many.hosts["web2"], KEY)
    guide.follow(many.hosts["web2"], WEB)
    for name in ("work1", "work2"):
        guide.follow(many.hosts[name], WORKERS)
    wait_until(lambda: _ready("web2"), 300)
    started = many.all("ls /run/units")
    assert {name: said.split() for name, said in started.items()} == {
        "web1": ["modsync-sweeper", "modsync-web"], "web2": ["modsync-sweeper", "modsync-web"],
        "work1": ["modsync-backfill", "modsync-worker"], "work2": ["modsync-backfill", "modsync-worker"],
    }  # fmt: skip


def _ready(name: str) -> bool:
    try:
        return requests.get(f"http://{ADDRESSES[name]}:8080/readyz", timeout=5).ok
    except requests.RequestException:
        return False


def _one_session_for_both(many: Site) -> None:
    form, own = {"token": many.world.admin_token}, {"Sec-Fetch-Site": "same-origin"}
    url = f"http://{ADDRESSES['web1']}:8080/login"
    cookie = (
        requests.post(url, form, headers=own, timeout=20, allow_redirects=False).headers["set-cookie"].partition(";")[0]
    )
    for name in ("web1", "web2"):
        page = f"http://{ADDRESSES[name]}:8080/releases"
        assert requests.get(page, headers={"Cookie": cookie}, timeout=20, allow_redirects=False).status_code == 200, (
            name
        )


def _drain(many: Site) -> None:
    """One host of workers goes; the other one brings what comes."""
    many.hosts["work1"].run("systemctl stop modsync-worker modsync-backfill; ! ps -u modsync -o args=")
    release(many.hosts["web2"], many.world, "drained")
    many.hosts["work1"].run("systemctl start modsync.target")


def _no_webhook_is_refused_while_hosts_restart(many: Site) -> None:
    """The load balancer asks the other web host meanwhile: a platform sees nothing of it."""
    release_ = release(many.hosts["web1"], many.world, "rolling")
    dry = f"modsync send platform --module {release_.module_path} --version v1.0.0 --commit {release_.commit} --dry-run"
    curl = many.hosts["web1"].run(dry).strip().replace("curl ", "curl -sS -o /dev/null -w '%{http_code}\\n' ", 1)
    send = f"while [ ! -e /tmp/enough ]; do {curl} --cacert /etc/modsync/corp-ca.crt || true; done > /tmp/answers 2>&1"
    many.servers.run(
        f"cp /srv/hosts/web1/etc/modsync/corp-ca.crt /etc/modsync/; (bash -c {shlex.quote(send)} &) < /dev/null > /dev/null 2>&1"
    )
    for name in ("web1", "web2"):
        before = _answers(many)
        wait_until(lambda before=before: _answers(many) > before, 300)  # type: ignore[misc]
        guide.follow(many.hosts[name], RESTART)
        wait_until(lambda name=name: _ready(name), 300)  # type: ignore[misc]
    many.servers.run("touch /tmp/enough")
    answers = set((many.servers.root / "tmp/answers").read_text().split())
    assert answers <= {"200", "202"}, answers


def _answers(many: Site) -> int:
    path = many.servers.root / "tmp/answers"
    return len(path.read_text().split()) if path.exists() else 0


def _restore(many: Site) -> None:
    guide.follow(many.servers, SAVE)
    since = release(many.hosts["web1"], many.world, "since")
    many.all("systemctl stop modsync.target")
    guide.follow(many.servers, RESTORE)
    many.all("systemctl start modsync.target")
    web = many.hosts["web1"]
    assert since.module_path not in web.run("modsync runs")
    assert re.search(rf"adopted +{since.query}", guide.follow(web, AFTER))
